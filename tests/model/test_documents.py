from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import ManifestInvalid
from registry.model.documents import Fields, read_document, read_leniently


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"   ", "not JSON"),
        (b"null", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"[{}]", "not a JSON object"),
        (b"1", "not a JSON object"),
        (b'"{}"', "not a JSON object"),
        (b"{", "not JSON"),
        (b"{}}", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"{}\0", "not JSON"),
        (b"{} x", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b"{a: 1}", "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b'{"a": [1,]}', "not JSON"),
        (b'{"a": 01}', "not JSON"),
        (b'{"a": +1}', "not JSON"),
        (b'{"a": .5}', "not JSON"),
        (b'{"a": 5.}', "not JSON"),
        (b'{"a": "\n"}', "not JSON"),
        (b'{"a": "\\x41"}', "not JSON"),
        (b'{"a": 1} // comment', "not JSON"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"\xff\xfe{\0}\0", "not UTF-8 at byte 0"),
        ("{}".encode("utf-16-le"), "not JSON"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
        (b'{"a": "\xc0\x80"}', "not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a": NaN}', r"at \$.a NaN, which is not JSON"),
        (b'{"a": [0, Infinity]}', r"at \$.a\[1\] Infinity"),
        (b'{"a": {"b": -Infinity}}', r"at \$.a.b -Infinity"),
        (b'{"a": 1e999}', r"at \$.a the number 1e999"),
        (b'{"a": ' + b"9" * 41 + b"}", r"at \$.a a number of 41 characters"),
        (b'{"a": ' + b"9" * 100_000 + b"}", r"at \$.a a number of 100000 characters"),
        (b'{"a": 1.' + b"0" * 100 + b"}", r"at \$.a a number of 102 characters"),
        (b'{"a": 1, "a": 1}', r"the key 'a' stands twice at \$$"),
        (b'{"a": 1, "\\u0061": 1}', r"the key 'a' stands twice at \$$"),
        (b'{"a": {"b": 1, "b": 2}}', r"'b' stands twice at \$.a$"),
        (b'{"a": [0, {"b": {"c": 1, "c": 1}}]}', r"'c' stands twice at \$.a\[1\].b$"),
        (b'\n {"annotations": {"x": "1", "x": "2"}}', r"'x' stands twice at \$.annotations$"),
        (b'{"a": {"b": 1, "b": 2}', "not JSON"),
        (b'{"a": NaN} x', "not JSON"),
        (b'{"a b": {"\\n": NaN}}', r"at \$\['a b'\]\['\\n'\] NaN"),
        (b'{"a": "\\ud800"}', r"text at \$.a has half"),
        (b'{"a": ["\\uDC00"]}', r"text at \$.a\[0\] has half"),
        (b'{"a": {"\\uD800x": 1}}', r"text at \$.a has half"),
    ],
)
def test_what_readers_could_differ_on_is_refused_with_its_place(content: bytes, message: str) -> None:
    with pytest.raises(ManifestInvalid, match=message):
        read_document(content)


def test_long_keys_are_not_shown_whole() -> None:
    with pytest.raises(ManifestInvalid) as caught:
        read_document(b'{"' + b"a" * 100_000 + b'": {"' + b"b" * 100_000 + b'": NaN}}')
    assert len(caught.value.message) < 500


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"{}", {}),
        (b" \t\r\n{} \n", {}),
        (b'{"a": 9223372036854775807}', {"a": 2**63 - 1}),
        (b'{"a": -1.5e3}', {"a": -1500.0}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        ('{"a": "\u00e9\U0001f600"}'.encode(), {"a": "\u00e9\U0001f600"}),
        (b'{"a": "\\\\ud800"}', {"a": "\\ud800"}),
        (b'{"a": {"a": {"a": 1}}}', {"a": {"a": {"a": 1}}}),
        (b'{"a": "NaN"}', {"a": "NaN"}),
    ],
)
def test_plain_documents(content: bytes, value: object) -> None:
    assert read_document(content) == value


def nested(levels: int, *, arrays: bool) -> bytes:
    inside = levels - 1
    if arrays:
        return b'{"a":' + b"[" * inside + b"]" * inside + b"}"
    return b'{"a":' * inside + b"{}" + b"}" * inside


@pytest.mark.parametrize("arrays", [True, False])
def test_64_levels_are_read_and_65_are_not(arrays: bool) -> None:
    assert read_document(nested(64, arrays=arrays))
    with pytest.raises(ManifestInvalid, match="deeper than 64 levels"):
        read_document(nested(65, arrays=arrays))


@pytest.mark.parametrize(
    "content", [b"[" * 1_000_000, b'{"a":' * 500_000, nested(1_000_000, arrays=True), b"{[" * 100_000]
)
def test_the_deepest_documents_are_refused_before_they_are_parsed(content: bytes) -> None:
    with pytest.raises(ManifestInvalid, match="deeper than 64 levels"):
        read_document(content)


def test_brackets_in_texts_are_no_levels() -> None:
    value = {"a": ['"[' * 100, "\\[" * 100, "\\", '\\"', "[" * 100], "{": "}" * 100}
    assert read_document(json.dumps(value).encode()) == value


def test_many_levels_beside_each_other_are_no_depth() -> None:
    value: dict[str, object] = {"a": [[[[]]], {}] * 1000}
    assert read_document(json.dumps(value).encode()) == value


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**38), 10**38)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=30,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON), st.booleans())
def test_what_python_writes_reads_back(value: dict[str, Any], escaped: bool) -> None:
    content = json.dumps(value, ensure_ascii=escaped).encode()
    assert read_document(content) == value
    assert [key for key, _ in read_leniently(content)] == list(value)


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(ManifestInvalid):
        assert isinstance(read_document(content), dict)
    assert isinstance(read_leniently(content), list)


@given(st.dictionaries(st.text(), JSON, min_size=1), st.randoms(use_true_random=False))
def test_a_document_with_a_byte_changed_is_read_or_refused(
    value: dict[str, Any], chance: random.Random
) -> None:
    content = bytearray(json.dumps(value).encode())
    content[chance.randrange(len(content))] = chance.randrange(256)
    try:
        read_document(bytes(content))
    except ManifestInvalid as error:
        assert error.message
    read_leniently(bytes(content))


FIELDS = Fields("mediaType", "size", "os.version", "key")


@pytest.mark.parametrize(
    "key",
    [
        "MediaType",
        "mediatype",
        "MEDIATYPE",
        "Size",
        "siZe",
        "OS.Version",
        "\N{LATIN SMALL LETTER LONG S}ize",
        "\N{KELVIN SIGN}ey",
    ],
)
def test_a_key_that_go_would_take_for_a_field_is_refused(key: str) -> None:
    with pytest.raises(ManifestInvalid, match=r"at \$.config differs only in case from the field"):
        FIELDS.check({"mediaType": 1, key: 2}, "$.config")


def test_other_keys_are_free() -> None:
    FIELDS.check({"mediaType": 1, "size": 1, "os.version": 1, "media-type": 1, "sizes": 1, "": 1}, "$")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"1", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b"{}{}", b'"a"']
)
def test_the_lenient_reading_finds_nothing_in_what_is_no_object(content: bytes) -> None:
    assert read_leniently(content) == []


def test_the_lenient_reading_keeps_order_and_repeats() -> None:
    content = b'{"b": 1, "a": NaN, "b": ' + b"9" * 10_000 + b', "c": "\xff"}'
    assert [key for key, _ in read_leniently(content)] == ["b", "a", "b", "c"]
