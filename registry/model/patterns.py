"""Patterns over repository names and tags, as access rules, mirrors and retention use them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from registry.model.quoting import quoted

_SEGMENT = re.compile(r"[a-z0-9._*-]+")
_TAG_PATTERN = re.compile(r"[A-Za-z0-9._*-]{1,128}")
_LONGEST = 255


@dataclass(frozen=True, slots=True)
class RepositoryPattern:
    """A pattern such as `team-a/*`: `*` is one segment or a part of it, `**` any number of whole segments.

    `team-a/**` is everything below `team-a`: neither `team-a` itself nor anything of `team-a-x`. A bare `**`
    is every repository. Matching takes time in proportion to pattern and name, whatever they are.

    Raises ValueError.
    """

    text: str
    _expression: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_expression", re.compile(_translate(_segments(self.text))))

    def __str__(self) -> str:
        return self.text

    def matches(self, name: str) -> bool:
        """Whether the pattern covers the repository."""
        return self._expression.fullmatch(name) is not None


def _segments(text: str) -> list[str]:
    if not text:
        raise ValueError("a repository pattern must not be empty; '**' is every repository")
    if len(text) > _LONGEST:
        raise ValueError(f"a repository pattern has at most {_LONGEST} characters, not {len(text)}")
    segments = text.split("/")
    for segment in segments:
        if not segment:
            raise ValueError(
                f"the pattern {quoted(text)} has an empty segment: a '/' at an end, or two in a row"
            )
        if _SEGMENT.fullmatch(segment) is None:
            raise ValueError(
                f"the pattern {quoted(text)} has other characters than lowercase letters, digits,"
                " '.', '_', '-', '/' and '*'"
            )
        if "**" in segment and segment != "**":
            raise ValueError(
                f"in the pattern {quoted(text)} '**' must stand alone between slashes, like 'team-a/**'"
            )
    return segments


def _translate(segments: list[str]) -> str:
    """A regular expression that goes back over at most one star of each kind.

    What stands between two stars may be looked for from the left once and for all: a later find never
    leaves more to the rest. So all but the last are atomic groups.
    """
    runs: list[list[str]] = [[]]
    for segment in segments:
        if segment == "**":
            runs.append([])
        else:
            runs[-1].append(_translate_segment(segment))
    first, *rest = runs
    if not rest:
        return "/".join(first)
    *middle, last = rest
    beginning = "".join(f"{segment}/" for segment in first)
    between = "".join(f"(?>(?:[^/]+/)*?{''.join(f'{segment}/' for segment in run)})" for run in middle)
    return f"{beginning}{between}(?:[^/]+/)*{'/'.join(last) or '[^/]+'}"


def _translate_segment(segment: str) -> str:
    return "[^/]+" if segment == "*" else _globbed(segment, "[^/]")


def _globbed(text: str, any_character: str) -> str:
    """A regular expression for `text`, whose stars stand for runs of `any_character`."""
    first, *rest = (re.escape(part) for part in text.split("*"))
    if not rest:
        return first
    *middle, last = rest
    return f"{first}{''.join(f'(?>{any_character}*?{part})' for part in middle)}{any_character}*{last}"


@dataclass(frozen=True, slots=True)
class TagPattern:
    """A pattern such as `v1.*` or `pr-*`: `*` is any run of characters, none too. Raises ValueError."""

    text: str
    _expression: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.text or _TAG_PATTERN.fullmatch(self.text) is None:
            raise ValueError(
                f"{quoted(self.text)} is no pattern of tags: letters, digits, '_', '.', '-' and '*', at most"
                " 128 of them"
            )
        object.__setattr__(self, "_expression", re.compile(_globbed(self.text, ".")))

    def __str__(self) -> str:
        return self.text

    def matches(self, tag: str) -> bool:
        """Whether the pattern covers the tag."""
        return self._expression.fullmatch(tag) is not None
