"""`config.example.yaml` is the reference of all settings; these tests keep it complete and true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from registry.config import Config, resolve
from registry.config.environment import variable
from registry.config.tree import leaves
from registry.settings import Node, read_document

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
KEY = re.compile(r"( *)(?:# )?( *)([a-z_]+):( |$)")


def uncommented() -> str:
    """The example with the section of TLS, which is null by default, put in place."""
    text = EXAMPLE.read_text()
    assert "  tls: null\n" in text
    return re.sub(r"(?m)^  # (tls:|  .*)", r"  \1", text.replace("  tls: null\n", ""))


def named(node: Node, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of all leaves in a document."""
    if not isinstance(node.value, dict):
        return [above]
    return [path for key, inner in node.value.items() for path in named(inner, (*above, key))]


def test_every_value_is_the_default() -> None:
    assert resolve(EXAMPLE, {}, {}).config == Config()


def test_every_setting_is_there_and_nothing_else() -> None:
    root = read_document(uncommented().encode(), "example").root
    assert sorted(named(root)) == sorted(leaf.path for leaf in leaves(Config))


def test_the_settings_of_an_absent_section_show_their_defaults(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(uncommented())
    tls = resolve(path, {}, {}).config.registry.tls
    assert tls is not None
    assert tls == type(tls)(certificate=tls.certificate, key=tls.key)


def test_every_value_is_written_in_the_file_rather_than_left_out() -> None:
    written = resolve(EXAMPLE, {}, {}).sources
    optional = {name for name in written if name.startswith("registry.tls.")}
    assert {name for name, source in written.items() if source.kind == "default"} == optional


def test_every_key_has_a_comment_above_it() -> None:
    lines = EXAMPLE.read_text().splitlines()
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if KEY.match(line) and not before.lstrip(" #").strip() and "tls:" not in line
    ]
    assert bare == []


@pytest.mark.parametrize("leaf", list(leaves(Config)), ids=lambda leaf: leaf.name)
def test_the_variable_of_every_setting_sets_it(leaf: object) -> None:
    from registry.config.tree import Leaf

    assert isinstance(leaf, Leaf)
    node = read_document(uncommented().encode(), "example").root.at(leaf.path).plain()
    text = ",".join(map(str, node)) if isinstance(node, list) else "" if node is None else str(node)
    environ = {variable(leaf.path): text}
    if leaf.path[:2] == ("registry", "tls"):
        environ |= {"MOORAGE_REGISTRY_TLS_CERTIFICATE": "c", "MOORAGE_REGISTRY_TLS_KEY": "k"} | environ
    source = resolve(None, environ, {}).sources[leaf.name]
    assert str(source) == (variable(leaf.path) if text else "default")
