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
KEY = re.compile(r"( *)(?:# )?( *)([a-z0-9_]+):( |$)")


# Sections that may be absent, and what has to be there of each.
OPTIONAL: dict[tuple[str, ...], dict[str, str]] = {
    ("storage", "s3"): {"bucket": "registry"},
    ("registry", "tls"): {"certificate": "c", "key": "k"},
    ("access", "token_server"): {
        "realm": "https://r.example",
        "service": "s",
        "issuer": "i",
        "certificates": "c",
    },
    ("access", "ldap"): {"url": "ldaps://ldap.example.com", "user_base": "dc=example"},
}


def uncommented() -> str:
    """The example with what is null or empty by default, and shown as a comment, put in place."""
    text = EXAMPLE.read_text()
    for name, absent in [*((path[-1], "null") for path in OPTIONAL), ("issuers", "[]")]:
        assert f"  {name}: {absent}\n" in text
        text = text.replace(f"  {name}: {absent}\n", "")
        text = re.sub(rf"(?m)^  # ({name}:)", r"  \1", text)
    return re.sub(r"(?m)^  # (  .*)", r"  \1", text)


def named(node: Node, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of all leaves in a document."""
    if not isinstance(node.value, dict):
        return [above]
    return [path for key, inner in node.value.items() for path in named(inner, (*above, key))]


def test_every_value_is_the_default() -> None:
    found = resolve(EXAMPLE, {"MOORAGE_STORAGE_ROOT": "data"}, {}).config
    assert found == Config()
    # By default in the directory of the command; of the file, beside it.
    assert resolve(EXAMPLE, {}, {}).config.storage.root == EXAMPLE.parent / "data"


def test_every_setting_is_there_and_nothing_else() -> None:
    root = read_document(uncommented().encode(), "example").root
    assert sorted(named(root)) == sorted(leaf.path for leaf in leaves(Config))


def test_the_settings_of_an_absent_section_show_their_defaults(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(uncommented())
    config = resolve(path, {}, {}).config
    (issuer,) = config.access.issuers
    absent = (config.storage.s3, config.registry.tls, config.access.token_server, config.access.ldap)
    for section in (*absent, issuer):
        assert section is not None
        required = {name for name, field in type(section).model_fields.items() if field.is_required()}
        written = section.model_dump(include=required | {"certificates"})
        assert section == type(section).model_validate(written)


def test_every_value_is_written_in_the_file_rather_than_left_out() -> None:
    written = resolve(EXAMPLE, {}, {}).sources
    optional = {name for name in written if name.startswith(tuple(".".join(path) + "." for path in OPTIONAL))}
    assert {name for name, source in written.items() if source.kind == "default"} == optional


def test_every_key_has_a_comment_above_it() -> None:
    lines = EXAMPLE.read_text().splitlines()
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if KEY.match(line)
        and not before.lstrip(" #").strip()
        and line.lstrip(" #").rstrip(":") not in {"issuers", *(path[-1] for path in OPTIONAL)}
    ]
    assert bare == []


@pytest.mark.parametrize(
    "leaf", [leaf for leaf in leaves(Config) if leaf.section is None], ids=lambda leaf: leaf.name
)
def test_the_variable_of_every_setting_sets_it(leaf: object) -> None:
    from registry.config.tree import Leaf

    assert isinstance(leaf, Leaf)
    node = read_document(uncommented().encode(), "example").root.at(leaf.path).plain()
    text = ",".join(map(str, node)) if isinstance(node, list) else "" if node is None else str(node)
    environ = {variable(leaf.path): text}
    for name, value in OPTIONAL.get(leaf.path[:2], {}).items():
        environ.setdefault(variable((*leaf.path[:2], name)), value)
    for name, value in TOGETHER.get(leaf.name, {}).items():
        environ[variable(tuple(name.split(".")))] = value
    source = resolve(None, environ, {}).sources[leaf.name]
    assert str(source) == (variable(leaf.path) if environ[variable(leaf.path)] else "default")


TOGETHER = {
    "access.ldap.bind_dn": {"access.ldap.bind_dn": "x", "access.ldap.bind_password": "x"},
    "access.ldap.bind_password": {"access.ldap.bind_dn": "x", "access.ldap.bind_password": "x"},
    "storage.driver": {"storage.driver": "s3", "storage.s3.bucket": "registry"},
    "storage.s3.access_key_file": {"storage.s3.access_key_file": "x", "storage.s3.secret_key_file": "x"},
    "storage.s3.secret_key_file": {"storage.s3.access_key_file": "x", "storage.s3.secret_key_file": "x"},
    "storage.s3.kms_key_id": {"storage.s3.kms_key_id": "x", "storage.s3.encryption": "aws:kms"},
}
