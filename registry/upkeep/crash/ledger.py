"""What must be so and what may be so, by what clients asked for and what they were told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from registry.model.names import RepositoryName


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that a client can look at: a `kind` of thing, where it is, and which of them."""

    kind: str  # blob, manifest, tag, history, referrer, listed, trash, upload; of the whole STORE:
    # format, read-only, complete (the catalog), blocked, data (the bytes under a digest, linked or not),
    # quarantine
    repository: RepositoryName
    which: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.repository} {self.which}".rstrip()


STORE = RepositoryName("store")
"""Stands for the whole store in the facts about it."""

Value = str | None
"""A digest, or None for what is not there."""

Tell = Callable[[Fact, Value, bool], None]
"""Called with what a client asks for (False), and again when it was told that it is so (True)."""


@dataclass(slots=True)
class Ledger:
    """What each thing may be, by what clients were told; a single value must be."""

    may_be: dict[Fact, frozenset[Value]] = field(default_factory=dict)

    def note(self, fact: Fact, value: Value, told: bool) -> None:
        """One thing more that a client has asked for or was told."""
        before = frozenset() if told else self.may_be.get(fact, frozenset([None]))
        self.may_be[fact] = before | {value}

    def hurt(self) -> frozenset[str]:
        """The digests under which other bytes, or none, may lie: those that were damaged on purpose."""
        data = [(fact.which, may_be) for fact, may_be in self.may_be.items() if fact.kind == "data"]
        return frozenset(digest for digest, may_be in data if may_be != {digest})
