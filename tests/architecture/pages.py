"""The pages for people, read: their links, tables and blocks of commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.architecture.source import CHECKOUT

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """One page in Markdown."""

    path: Path

    def __str__(self) -> str:
        return self.path.relative_to(CHECKOUT).as_posix()

    @cached_property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text()

    @cached_property
    def prose(self) -> str:
        """What is not in a block."""
        return _FENCE.sub("", self.text)

    def blocks(self, language: str) -> list[str]:
        """The blocks of one language, without the indentation of a list that they stand in."""
        return [
            "".join(line.removeprefix(indent) for line in text.splitlines(keepends=True))
            for indent, told, text in _FENCE.findall(self.text)
            if told == language
        ]

    def links(self) -> list[str]:
        """The targets of its links."""
        return _LINK.findall(self.prose)

    def anchors(self) -> set[str]:
        """The names that its headings have in links."""
        return {anchor(heading) for heading in _HEADING.findall(self.prose)}

    def rows(self, first: str) -> list[list[str]]:
        """The cells of the table whose first heading is that; code marks are taken off."""
        _, found, rest = self.prose.partition(f"\n| {first} |")
        assert found, f"{self} has no table that begins with {first}"
        lines = rest.splitlines()[2:]
        return [_cells(line) for line in _while_a_row(lines)]


def pages() -> list[Page]:
    """Every page of the project."""
    return [Page(path) for path in [*sorted(CHECKOUT.glob("*.md")), *sorted(CHECKOUT.glob("docs/**/*.md"))]]


def page(name: str) -> Page:
    """One page by its path."""
    return Page(CHECKOUT / name)


def anchor(heading: str) -> str:
    """What a heading is called in links: lower case, blanks as dashes, punctuation left out."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _while_a_row(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("|"):
            return
        yield line


def _cells(line: str) -> list[str]:
    return [cell.strip().strip("`") for cell in line.strip().strip("|").split(" | ")]
