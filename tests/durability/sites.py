"""Where in the program something is made durable: each call of the driver that says so, or says nothing."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from storage.contract import Driver

REGISTRY = Path(__file__).parents[2] / "registry"
# The rooms that write content; the crash test is no part of a registry, a copy is made by no server, and
# what is recorded of pulls is no content. They, and how what waits of a bundle goes, have their own tests.
ROOMS = ("store", "work", "removal", "core", "upkeep")
ELSEWHERE = ("copying.py", "pull_records.py", "waiting.py")
CALLS = ("put", "write", "delete")  # `copy` and `compose` leave no choice


@dataclass(frozen=True)
class Site:
    """One durable call, by its text."""

    path: str
    first: int
    last: int
    text: str

    def __str__(self) -> str:
        return f"{Path(self.path).relative_to(REGISTRY)}: {self.text}"


@cache
def sites(rooms: tuple[str, ...] = ROOMS) -> list[Site]:
    """All of some rooms."""
    paths = [path for room in rooms for path in sorted((REGISTRY / room).rglob("*.py"))]
    here = (path for path in paths if path.parent.name != "crash" and path.name not in ELSEWHERE)
    return [site for path in here for site in _in(path)]


@cache
def sites_of(path: Path) -> list[Site]:
    """All of one module."""
    return list(_in(path))


def _in(path: Path) -> Iterator[Site]:
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in CALLS
            and ast.unparse(node.func.value).endswith("driver")
            and not any(one.arg == "durable" and ast.unparse(one.value) == "False" for one in node.keywords)
        ):
            text = f"{node.func.attr}({', '.join(map(ast.unparse, node.args))})"
            yield Site(str(path), node.lineno, node.end_lineno or node.lineno, text)


class Weakened:
    """A driver to which the calls from one place are not durable; it adds to `seen` the places of all."""

    def __init__(self, inner: Driver, weak: Site | None, seen: set[Site]) -> None:
        self._inner = inner
        self._weak = weak
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name not in CALLS:
            return method

        def call(*arguments: Any, durable: bool = True, **options: Any) -> Any:
            site = _calling() if durable else None
            if site is not None:
                self._seen.add(site)
                durable = site != self._weak
            return method(*arguments, durable=durable, **options)

        return call


def _calling() -> Site | None:
    """The place in the program that the present call of the driver comes from."""
    frame = sys._getframe(2)
    while not frame.f_code.co_filename.startswith(str(REGISTRY)):
        if frame.f_back is None:
            return None
        frame = frame.f_back
    path, line = frame.f_code.co_filename, frame.f_lineno
    known = sites_of(Path(path)) if Path(path).name in ELSEWHERE else sites((*ROOMS, "access"))
    return next((one for one in known if one.path == path and one.first <= line <= one.last), None)
