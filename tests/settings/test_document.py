from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from registry.settings import Node, NotADocument, read_document
from registry.settings.document import MAXIMUM_BYTES, MAXIMUM_DEPTH

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=8)
TREES = st.recursive(
    TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT.filter(bool), inner, max_size=4),
    max_leaves=12,
)


def read(text: str) -> Node:
    document = read_document(text.encode(), "f")
    assert document.problems == ()
    return document.root


def refusal(data: bytes) -> str:
    with pytest.raises(NotADocument) as raised:
        read_document(data, "f")
    return str(raised.value)


@given(TREES)
def test_what_yaml_and_json_write_is_read_back(tree: object) -> None:
    assert read(yaml.safe_dump(tree, allow_unicode=True)).plain() == tree
    assert read(json.dumps(tree, ensure_ascii=False)).plain() == tree


@pytest.mark.parametrize("scalar", ["yes", "off", "010", "1:30", "2024-01-01", "1e3", "0x10", "4MiB", "1.20"])
def test_scalars_stay_as_they_were_written(scalar: str) -> None:
    assert read(f"a: {scalar}").plain() == {"a": scalar}


def test_null_is_null_only_without_quotes() -> None:
    assert read("{a: null, b: ~, c: , d: 'null', e: ''}").plain() == {
        "a": None,
        "b": None,
        "c": None,
        "d": "null",
        "e": "",
    }


def test_every_key_and_item_has_its_line() -> None:
    root = read("a:\n  b:\n    - x\n    - y\nc: 1\n")
    places: list[tuple[str | int, ...]] = [("a",), ("a", "b"), ("a", "b", 1), ("c",)]
    assert [root.at(place).line for place in places] == [1, 2, 4, 5]
    assert root.at(["a", "nowhere", "at all"]).line == 1


def test_all_repeated_keys_are_told_with_both_lines() -> None:
    document = read_document(b"a: 1\nb: {c: 1}\na: 2\nb:\n  d: 1\n  d: 2\n", "f")
    assert [str(problem) for problem in document.problems] == [
        "f:3: a: the key is written twice, first on line 1",
        "f:6: b.d: the key is written twice, first on line 5",
        "f:4: b: the key is written twice, first on line 2",
    ]
    assert document.root.plain() == {"a": "1", "b": {"c": "1"}}


def test_a_key_must_be_a_word() -> None:
    document = read_document(b"[a]: 1\n", "f")
    assert [str(problem) for problem in document.problems] == ["f:1: a key must be a plain word"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"a: &x 1\nb: *x", "f:1: anchors and aliases"),
        (b"a: 1\nb: *x", "f:2: anchors and aliases"),
        (b"a: !!python/object/apply:os.system [id]", "f:1: tags"),
        (b"a: !!str 1", "f:1: tags"),
        (b"a: 1\n---\nb: 2", "more than one document"),
        (b"a: [1", "f:1: not YAML"),
        (b"a: 1\n b: 2", "f:2: not YAML"),
        (b"a: 1\nb: \xff", "f:2: the file is not UTF-8"),
        (rb'a: "\ud800"', "f:1: an escape stands for half a character"),
        (b"a: \x00", "characters that YAML does not allow"),
        (b"[" * (MAXIMUM_DEPTH + 2), "deeper than"),
        (b"#" * (MAXIMUM_BYTES + 1), "at most 256 KiB"),
    ],
)
def test_what_is_refused(data: bytes, told: str) -> None:
    assert told in refusal(data)


def test_an_empty_file_holds_nothing() -> None:
    assert read("").plain() is None
    assert read("# only a comment\n").plain() is None


def test_bombs_are_refused_early() -> None:
    laughs = "a: &a [x]\n" + "".join(f"{n}: &b{n} [*a, *a]\n" for n in range(1000))
    assert "anchors" in refusal(laughs.encode())
    assert "deeper" in refusal(b"[" * MAXIMUM_BYTES)
    assert "deeper" in refusal(b"- " * (MAXIMUM_BYTES // 2))
    assert "deeper" in refusal(b"{a: " * (MAXIMUM_BYTES // 4))


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read_document(data, "f")
    except NotADocument as error:
        assert error.problem.source.where == "f"
