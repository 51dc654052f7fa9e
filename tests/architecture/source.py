"""The source as the tests of its shape see it: modules, what they import, what they define."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PACKAGES = ("registry", "storage")


@dataclass(frozen=True)
class Module:
    """One file of the program."""

    name: str
    path: Path
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.text, self.path.name)

    @cached_property
    def imported(self) -> frozenset[str]:
        """The full names of what it imports anywhere; `from a import b` is `a.b`, since b may be a module."""
        return frozenset(_imported(self.tree))

    def is_in(self, package: str) -> bool:
        """Whether the module is that package or lies in it."""
        return within(self.name, package)


def modules() -> list[Module]:
    """All modules of the program, by name."""
    return [
        module(path.relative_to(CHECKOUT).with_suffix("").parts, path)
        for package in PACKAGES
        for path in sorted((CHECKOUT / package).rglob("*.py"))
    ]


def module(parts: tuple[str, ...], path: Path) -> Module:
    """The module of a file."""
    return Module(".".join(parts).removesuffix(".__init__"), path, path.read_text())


def within(name: str, package: str) -> bool:
    """Whether a dotted name is that package or something in it."""
    return name == package or name.startswith(f"{package}.")


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "imports are absolute, so that they can be read"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
