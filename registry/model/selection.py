"""Selections: which repositories and which tags something is about."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from registry.model.names import Tag
from registry.model.patterns import RepositoryPattern, TagPattern
from registry.model.versions import Version, VersionRange

_EXPRESSION = "re:"
_VERSIONS = "semver:"
_LONGEST = 1024
# One character of an expression, whatever stands for it; what repeats a group; and what repeats without end.
_SIMPLE = re.compile(r"\\.|\[\^?\]?[^\]]*\]")
_REPEATED = re.compile(r"\)(?:[*+]|\{)")
_MANY = re.compile(r"[*+]|\{[0-9]*,[0-9]*\}")


@dataclass(frozen=True, slots=True)
class TagSelector:
    """Tags by a pattern (`v1.*`), by a regular expression (`re:v[0-9]+`) or by version (`semver:>=1.2.0`).

    Each has to match the whole tag. Raises ValueError.
    """

    text: str
    matches: Callable[[str], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "matches", _matching(self.text))

    def __str__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[type[TagSelector], tuple[str]]:
        return TagSelector, (self.text,)


def _matching(text: str) -> Callable[[str], bool]:
    if len(text) > _LONGEST:
        raise ValueError(f"what selects tags has at most {_LONGEST} characters, not {len(text)}")
    if text.startswith(_VERSIONS):
        return VersionRange(text.removeprefix(_VERSIONS)).matches
    if not text.startswith(_EXPRESSION):
        return TagPattern(text).matches
    if _REPEATED.search(_SIMPLE.sub("x", text)) or len(_MANY.findall(_SIMPLE.sub("x", text))) > 3:
        # Whoever may push chooses the tags that it is tried on.
        raise ValueError(
            "a regular expression of tags repeats no group, and has at most three of * + {n,}; others may"
            " take for ever"
        )
    try:
        expression = re.compile(text.removeprefix(_EXPRESSION))
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"the regular expression cannot be read: {error}") from None
    return lambda tag: expression.fullmatch(tag) is not None


@dataclass(frozen=True, slots=True)
class Selection:
    """Repositories, and tags in them."""

    repositories: tuple[RepositoryPattern, ...]
    tags: tuple[TagSelector, ...]

    def has_repository(self, name: str) -> bool:
        """Whether the repository is meant."""
        return any(pattern.matches(name) for pattern in self.repositories)

    def has(self, tag: str) -> bool:
        """Whether the tag is meant, in a repository that is."""
        return matches_any(self.tags, tag)


def matches_any(selectors: Iterable[TagSelector], tag: str) -> bool:
    """Whether one of the selectors matches the tag."""
    return any(selector.matches(tag) for selector in selectors)


def newest(tags: Iterable[Tag], count: int | None) -> list[Tag]:
    """The tags, or of those that are versions the newest, and no others."""
    if count is None:
        return sorted(tags)
    versions = [(version, tag) for tag in tags if (version := Version.parse(tag)) is not None]
    return [tag for _, tag in sorted(versions, reverse=True)[:count]]
