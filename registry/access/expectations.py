"""Tables of expectations: what teams expect of their rules, so that a change of the rules can be tested.

- {who: user:alice, groups: [group:team-a], action: push, repository: team-a/app, expect: allow}
- {who: anonymous, action: pull, repository: team-a/app, expect: deny}
"""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import BeforeValidator, ValidationError

from registry.access.rules import AUTHENTICATED, EVERYBODY, subject_of
from registry.errors import RegistryError, RequestInvalid
from registry.model.names import RepositoryName, Tag
from registry.model.quoting import quoted
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


_GROUPS = ("group:", "ldap-group:")


def _who(value: object) -> object:
    """Somebody who asks: a slip would be somebody whom no rule knows, and who is refused as expected."""
    found = subject_of(value)
    if found == AUTHENTICATED or str(found).startswith(_GROUPS):
        raise ValueError(
            f"must be somebody who asks, like user:alice or {EVERYBODY}, whose groups stand in `groups`"
        )
    return found


def _group(value: object) -> object:
    found = subject_of(value)
    if not str(found).startswith(_GROUPS):
        raise ValueError("must be a group with its source, like group:team-a or ldap-group:team-a")
    return found


class Expectation(Settings):
    """One line of a table of expectations."""

    who: Annotated[str, BeforeValidator(_who)]
    groups: tuple[Annotated[str, BeforeValidator(_group)], ...] = ()
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
    if not written:
        # A check that checks nothing would pass for good.
        raise RequestInvalid(f"{name} holds no expectations; each begins with `- `")
    found = []
    for index, one in enumerate(written):
        line = document.root.at((index,)).line
        try:
            expectation = Expectation.model_validate(one)
            called, colon, tag = expectation.repository.partition(":")
            if colon:
                raise RequestInvalid(
                    f"a tag has a key of its own: repository: {quoted(called)}, tag: {quoted(tag)}"
                )
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
