"""Tables of expectations: what teams expect of their rules, so that a change of the rules can be tested.

- {who: user:alice, groups: [group:team-a], action: push, repository: team-a/app, expect: allow}
- {who: anonymous, action: pull, repository: team-a/app, expect: deny}
"""

from __future__ import annotations

import os
from typing import Literal

from pydantic import ValidationError

from registry.errors import RegistryError, RequestInvalid
from registry.model.names import RepositoryName, Tag
from registry.settings import (
    MAXIMUM_BYTES,
    NotADocument,
    Problem,
    Settings,
    Source,
    in_order,
    problems_of,
    read_document,
)

Action = Literal["pull", "push", "create", "overwrite", "delete", "list", "approve", "admin"]


class Expectation(Settings):
    """One line of a table of expectations."""

    who: str
    groups: tuple[str, ...] = ()
    claims: dict[str, str] = {}
    action: Action
    repository: str
    tag: str | None = None
    expect: Literal["allow", "deny"]


def read_expectations(path: str) -> list[tuple[int, Expectation]]:
    """The expectations in a file, each with its line. Raises RequestInvalid, which names all problems."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            document = read_document(file.read(MAXIMUM_BYTES + 1), name)
    except OSError as error:
        raise RequestInvalid(f"{name} cannot be read: {error.strerror}") from error
    except NotADocument as error:
        raise RequestInvalid(str(error.problem)) from error
    written = document.root.plain()
    problems = list(document.problems)
    if not isinstance(written, list):
        raise RequestInvalid(f"{name} must be a list of expectations, each beginning with `- `")
    found = []
    for index, one in enumerate(written):
        line = document.root.at((index,)).line
        try:
            expectation = Expectation.model_validate(one)
            RepositoryName(expectation.repository)
            if expectation.tag is not None:
                Tag(expectation.tag)
            found.append((line, expectation))
        except ValidationError as error:
            place = document.root.at((index,))
            problems += problems_of(
                error,
                source=lambda location, place=place: Source.file(name, place.at(location).line),  # type: ignore[misc]
                value=lambda location, place=place: place.at(location).plain(),  # type: ignore[misc]
                known=list(Expectation.model_fields),
            )
        except RegistryError as error:
            problems.append(Problem("", str(error), Source.file(name, line)))
    if problems:
        raise RequestInvalid("\n  ".join(["the expectations cannot be used:", *map(str, in_order(problems))]))
    return found
