"""Access rules, read from a file of their own, and the policy that they make.

A rules file is a list; what no rule grants is refused:

    - {who: anonymous, repositories: ['**'], may: [pull, push, list]}
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, InstanceOf, ValidationError

from registry.model.names import RepositoryName
from registry.model.patterns import RepositoryPattern
from registry.settings import (
    MAXIMUM_BYTES,
    Document,
    Location,
    NotADocument,
    Problem,
    Settings,
    Source,
    in_order,
    problems_of,
    read_document,
)

Action = Literal["pull", "push", "delete", "list"]
_GRANTED = ("pull", "push", "list")
_NEVER_ANONYMOUS = ("delete", "admin")


class RulesError(Exception):
    """The rules file cannot be used; `problems` has all that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = in_order(problems)
        super().__init__("the access rules cannot be used:" + "".join(f"\n  {one}" for one in self.problems))


def _who(value: object) -> object:
    if value != "anonymous":
        raise ValueError("must be anonymous, the only one that rules can name so far")
    return value


def _action(value: object) -> object:
    if value in _NEVER_ANONYMOUS:
        raise ValueError(
            f"{value} cannot be granted to anonymous: whoever reaches the registry could take content away;"
            " the command line on the server may do it"
        )
    if value not in _GRANTED:
        raise ValueError(f"must be one of {', '.join(_GRANTED)}")
    return value


def _some(value: object) -> object:
    if value == []:
        raise ValueError("must not be empty")
    return value


def _pattern(value: object) -> object:
    return RepositoryPattern(value) if isinstance(value, str) else value


class Rule(Settings):
    """What one rule grants."""

    who: Annotated[Literal["anonymous"], BeforeValidator(_who)]
    repositories: Annotated[
        tuple[Annotated[InstanceOf[RepositoryPattern], BeforeValidator(_pattern)], ...],
        BeforeValidator(_some),
    ]
    may: Annotated[
        tuple[Annotated[Literal["pull", "push", "list"], BeforeValidator(_action)], ...],
        BeforeValidator(_some),
    ]

    def grants(self, action: Action, repository: RepositoryName | None) -> bool:
        """Whether the rule grants the action, on a repository or (None) on any at all."""
        if action not in self.may:
            return False
        return repository is None or any(pattern.matches(repository) for pattern in self.repositories)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether something is allowed, and why or why not, in words for the one who asked."""

    allowed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Policy:
    """What is allowed to whom; without rules (None) everything is."""

    rules: tuple[Rule, ...] | None

    @classmethod
    def open(cls) -> Policy:
        """Everything is allowed, as on loopback without rules."""
        return cls(None)

    def allows(self, action: Action, repository: RepositoryName | None) -> Decision:
        """Whether anonymous may do it to a repository; with None, to any at all."""
        if self.rules is None:
            return Decision(True, "there are no access rules, so everything is allowed")
        for number, rule in enumerate(self.rules, 1):
            if rule.grants(action, repository):
                return Decision(True, f"access rule {number} grants it")
        place = "any repository" if repository is None else repository
        return Decision(False, f"no access rule grants anonymous to {action} {_PREPOSITIONS[action]}{place}")


_PREPOSITIONS = {"pull": "from ", "push": "to ", "delete": "from ", "list": ""}


def read_rules(path: str | os.PathLike[str]) -> Policy:
    """The policy that a rules file holds. Raises RulesError."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            document = read_document(file.read(MAXIMUM_BYTES + 1), name)
    except OSError as error:
        raise RulesError(
            [Problem("", f"the file cannot be read: {error.strerror}", Source.file(name))]
        ) from error
    except NotADocument as error:
        raise RulesError([error.problem]) from error
    return Policy(_rules(document))


def _rules(document: Document) -> tuple[Rule, ...]:
    written = document.root.plain()
    problems = list(document.problems)
    if not isinstance(written, list):
        what = "the file is empty; it" if written is None else "the file"
        message = f"{what} must be a list of rules, each beginning with `- `; `[]` grants nothing"
        raise RulesError([*problems, Problem("", message, Source.file(document.name, document.root.line))])
    rules = []
    for index, one in enumerate(written):
        try:
            rules.append(Rule.model_validate(one))
        except ValidationError as error:
            problems.extend(_problems(error, document, index))
    if problems:
        raise RulesError(problems)
    return tuple(rules)


def _problems(error: ValidationError, document: Document, index: int) -> list[Problem]:
    def source(location: Location) -> Source:
        return Source.file(document.name, document.root.at((index, *location)).line)

    def value(location: Location) -> object:
        return document.root.at((index, *location)).plain()

    return problems_of(error, source=source, value=value, known=list(Rule.model_fields))
