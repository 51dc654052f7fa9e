"""Modules stay small, and what is public says what it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source import Module, modules

MOST_LINES = 400
# A program that people copy to where there is nothing else, so that it is one file.
STANDS_ALONE = "registry.bundles.verify_bundle"
NO_NOUNS = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc", "tools"}


def undocumented(module: Module) -> list[str]:
    """The public names of a module that have no docstring."""
    found = [] if ast.get_docstring(module.tree) else ["the module"]
    return found + [name for name, node in public(module.tree) if not ast.get_docstring(node)]


def public(
    tree: ast.Module | ast.ClassDef, above: str = ""
) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Public classes and functions, and those in public classes."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("_") or _is_overload(node):
                continue
            yield above + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{above}{node.name}.")


def _is_overload(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(decorator) in ("overload", "override") for decorator in node.decorator_list)


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
class TestEachModule:
    def test_can_be_read_at_a_sitting(self, module: Module) -> None:
        assert len(module.text.splitlines()) <= MOST_LINES or module.name == STANDS_ALONE

    def test_says_what_its_public_names_are(self, module: Module) -> None:
        assert undocumented(module) == []

    def test_is_named_by_a_noun_that_a_reader_would_look_up(self, module: Module) -> None:
        assert not NO_NOUNS & set(module.name.split("."))


def test_a_missing_docstring_is_seen() -> None:
    text = '"""M."""\nclass A:\n    """A."""\n    def f(self): ...\n    def _g(self): ...\ndef h(): ...\n'
    assert undocumented(Module("m", Path("m.py"), text)) == ["A.f", "h"]
    assert undocumented(Module("m", Path("m.py"), "x = 1\n")) == ["the module"]
