"""Sources of people: whoever logs in by name and password is known to one of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from registry.access.errors import Unfit
from registry.access.principals import Principal

_LONGEST_NAME = 256


class SourceUnavailable(Unfit):
    """The source cannot be asked now; the text says why, for the log."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom a source knows, as it knows them now.

    `stamp` changes when the password does, or when the name passes to somebody else: what was believed of
    the old one is not of the new one. `since` is when the name came to be theirs, aware, UTC, and outlives a
    password; None where the source cannot tell.
    """

    principal: Principal
    stamp: str
    enabled: bool = True
    since: datetime | None = None


class PeopleSource(Protocol):
    """A source of people, asked in the order of the configuration: the first that knows a name decides.

    Names are known in whatever case.
    """

    async def find(self, name: str) -> Person | None:
        """Whom the source calls so; None when nobody. Raises SourceUnavailable."""

    async def verify(self, name: str, password: str) -> Person | None:
        """The person, if the password is theirs; takes as long when there is nobody of that name.

        Somebody disabled is given too, with `enabled` false. Raises SourceUnavailable.
        """


def folded(name: str) -> str:
    """A name as sources compare it: `Alice` and `ALICE` are one person, who gets in by either."""
    return name.casefold()


def is_name(text: str) -> bool:
    """Whether somebody can be called so: not empty, at most 256 characters, none that steers a terminal."""
    return 0 < len(text) <= _LONGEST_NAME and text.isprintable() and text == text.strip()
