"""Versions: tags that are semantic versions (semver.org), their order, and ranges of them."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import total_ordering
from typing import Any

from registry.model.quoting import quoted

_NUMBER = r"(0|[1-9][0-9]{0,17})"
_IDENTIFIER = r"(?:0|[1-9][0-9]{0,17}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
# A tag cannot have a `+`: Helm writes `_` for it.
_VERSION = re.compile(
    rf"v?{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?(?:[+_][0-9A-Za-z.-]+)?"
)
_COMPARATOR = re.compile(r"(>=|<=|>|<|=)(.+)")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """A semantic version; of two that differ in what is built alone, neither is the greater."""

    numbers: tuple[int, int, int]
    prerelease: tuple[str, ...] = ()

    @classmethod
    def parse(cls, tag: str) -> Version | None:
        """The version that a tag is, with a `v` before it or without; None when it is none, such as `1.2`."""
        match = _VERSION.fullmatch(tag)
        if match is None:
            return None
        numbers = int(match[1]), int(match[2]), int(match[3])
        return cls(numbers, tuple(match[4].split(".")) if match[4] else ())

    def __lt__(self, other: Version) -> bool:
        return self._key < other._key

    @property
    def _key(self) -> tuple[object, ...]:
        # Numbers before words, and whoever has less to say first; a release comes behind all that precede it.
        identifiers = tuple((0, int(one), "") if one.isdigit() else (1, 0, one) for one in self.prerelease)
        return self.numbers, not self.prerelease, identifiers


@dataclass(frozen=True, slots=True)
class VersionRange:
    """A range such as `>=1.2.0 <2.0.0`: what all of it says holds. Raises ValueError."""

    text: str

    def __post_init__(self) -> None:
        if not self._comparators():
            raise ValueError("a range of versions must not be empty; for example '>=1.2.0 <2.0.0'")

    def matches(self, tag: str) -> bool:
        """Whether the tag is a version within the range."""
        version = Version.parse(tag)
        return version is not None and all(holds(version, bound) for holds, bound in self._comparators())

    def _comparators(self) -> list[tuple[Callable[[Any, Any], bool], Version]]:
        found = []
        for part in self.text.split():
            match = _COMPARATOR.fullmatch(part)
            bound = Version.parse(match[2]) if match else None
            if match is None or bound is None:
                raise ValueError(
                    f"{quoted(part)} is no bound of versions: one of >= <= > < = and a whole version, as in"
                    " '>=1.2.0 <2.0.0'"
                )
            found.append((_COMPARE[match[1]], bound))
        return found
