"""Keys of a store are built and parsed where they are drawn, and nowhere else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.architecture.source import Module, modules

AT_HOME = ("registry.store.layout", "registry.store.parsing")
# Words of keys that stand nowhere else; sentences for people may name our own directory.
OF_KEYS = re.compile(r"(?:^|/)_(?:layers|manifests|uploads)\b|/link\b|/_/|docker/registry/")


def keys(module: Module) -> list[str]:
    """The texts of a module that are pieces of keys."""
    texts = [node for node in ast.walk(module.tree) if isinstance(node, ast.Constant)]
    told = {id(node.value) for node in ast.walk(module.tree) if isinstance(node, ast.Expr)}
    return [
        f"line {text.lineno}: {text.value!r}"
        for text in texts
        if id(text) not in told and isinstance(text.value, str) and OF_KEYS.search(text.value)
    ]


@pytest.mark.parametrize(
    "module", [one for one in modules() if one.name not in AT_HOME], ids=lambda module: module.name
)
def test_builds_and_parses_no_key(module: Module) -> None:
    assert keys(module) == []


def test_a_key_is_seen() -> None:
    text = '"""Of /link."""\nkey = f"{one}/_layers/{two}/link"\nif key.endswith("/link"): ...\n'
    found = keys(Module("m", Path("m.py"), text))
    assert found == ["line 2: '/_layers/'", "line 2: '/link'", "line 3: '/link'"]
    for module in modules():
        assert bool(keys(module)) == (module.name in AT_HOME), module.name
