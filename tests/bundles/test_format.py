from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.bundles.errors import BundleInvalid
from registry.bundles.format import (
    DESCRIBED,
    HEAD,
    FileSum,
    Head,
    Origin,
    Totals,
    canonical,
    is_id,
    is_stream,
    parse_object,
)
from registry.errors import RequestInvalid

IDS = st.from_regex(r"\Ab-[0-9a-f]{20}\Z")
SUMS = st.builds(FileSum, st.from_regex(r"\A[0-9a-f]{64}\Z"), st.integers(0, 1 << 62))
NUMBERS = st.integers(1, 10**15 - 1)
STREAMS = st.from_regex(r"\A[a-z0-9]{1,20}(?:[._-][a-z0-9]{1,20})?\Z")
SOURCES = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=255)
# Whatever JSON has but fractions; half of a surrogate pair is in no text.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 62), 1 << 62) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)
HEADS = st.builds(
    Head,
    stream=STREAMS,
    number=NUMBERS,
    source=SOURCES,
    selection=st.dictionaries(TEXTS, VALUES, max_size=3),
    totals=st.builds(Totals, *[st.integers(0, 1 << 62)] * 7),
    media=st.integers(1, 9999),
    files=st.fixed_dictionaries(dict.fromkeys(DESCRIBED, SUMS)),
    parent=st.none() | IDS | st.from_regex(r"\Ainventory:[0-9a-f]{64}\Z"),
    supplements=st.none() | IDS,
    provenance=st.lists(st.builds(Origin, SOURCES, STREAMS, NUMBERS, IDS), max_size=3).map(tuple),
)


def a_head(**fields: Any) -> Head:
    """A head that is sound, but for these fields."""
    made: dict[str, Any] = {
        "stream": "weekly",
        "number": 3,
        "source": "registry.example.com",
        "selection": {"repositories": ["team/**"]},
        "totals": Totals(1, 1, 1, 1, 10, 2, 10),
        "media": 1,
        "files": dict.fromkeys(DESCRIBED, FileSum("0" * 64, 1)),
    }
    return Head(**{**made, **fields})


def sealed(document: dict[str, Any]) -> bytes:
    """The bytes of a head that says this, whose id is right."""
    rest = {name: value for name, value in document.items() if name != "id"}
    return canonical({**rest, "id": f"b-{hashlib.sha256(canonical(rest)).hexdigest()[:20]}"})


@given(HEADS)
def test_a_head_is_read_as_it_was_written(head: Head) -> None:
    assert Head.decode(head.encode()) == head
    assert Head.decode(head.encode()).id == head.id
    assert is_id(head.id)


@given(HEADS, HEADS)
def test_the_id_is_made_of_all_the_rest(first: Head, second: Head) -> None:
    assert (first.id == second.id) == (first.encode() == second.encode())


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_an_object_is_read_only_as_it_is_written(document: dict[str, Any]) -> None:
    assert parse_object(canonical(document), "file") == document
    for other in (
        json.dumps(document, sort_keys=True).encode() + b"\n",
        canonical(document)[:-1],
        canonical(document) + b"\n",
        b" " + canonical(document),
        b"\xef\xbb\xbf" + canonical(document),
        canonical(document)[:-1].decode().encode("utf-16"),
    ):
        if other != canonical(document):
            with pytest.raises(BundleInvalid, match="file: "):
                parse_object(other, "file")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"[]\n",
        b"null\n",
        b'{"a":1,"a":1}\n',
        b'{"b":1,"a":1}\n',
        b'{"a":1.0}\n',
        b'{"a":1e2}\n',
        b'{"a":1e999}\n',
        b'{"a":NaN}\n',
        b'{"a":-Infinity}\n',
        b'{"a":"\\ud800"}\n',
        b'{"a":"\xff"}\n',
        b'{"a":"\\u0041"}\n',
        b'{"a":' + b"9" * 5000 + b"}\n",
        b'{"a":' + b"[" * 90_000 + b"]" * 90_000 + b"}\n",
        b'{"a":[' + b"[]," * 100_000 + b"[]]}\n",
    ],
)
def test_what_two_readers_could_understand_differently_is_refused(content: bytes) -> None:
    with pytest.raises(BundleInvalid, match="file: "):
        parse_object(content, "file")


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": ""},
        {"stream": "../weekly"},
        {"stream": "Weekly"},
        {"stream": "a" * 65},
        {"number": 0},
        {"number": 10**15},
        {"number": "1"},
        {"number": True},
        {"source": ""},
        {"source": "a" * 256},
        {"source": "\x1b[2J"},
        {"selection": []},
        {"media": 0},
        {"media": 10_000},
        {"files": {}},
        {"files": {name: {"sha256": "0" * 63, "size": 1} for name in DESCRIBED}},
        {"files": {name: {"sha256": "0" * 64, "size": -1} for name in DESCRIBED}},
        {"files": {name: {"sha256": "0" * 64, "size": 1} for name in (*DESCRIBED, "more")}},
        {"parent": "b-1"},
        {"parent": "inventory:1"},
        {"supplements": "../b-00000000000000000000"},
        {"provenance": [{"source": "s", "stream": "t", "number": 1, "id": "x"}]},
        {"provenance": [{"source": "\n", "stream": "t", "number": 1, "id": "b-00000000000000000000"}]},
        {"totals": {**dataclasses.asdict(Totals(1, 1, 1, 1, 1, 1, 1)), "tags": -1}},
        {"format": "2.0"},
        {"format": "1"},
        {"format": "\uff11.0"},
        {"format": 1},
        {"format": None},
    ],
)
def test_a_head_that_says_what_cannot_be_is_refused(fields: dict[str, Any]) -> None:
    document = json.loads(a_head().encode())
    assert Head.decode(sealed(document)) == a_head()
    with pytest.raises(BundleInvalid, match=HEAD):
        Head.decode(sealed({**document, **fields}))


@pytest.mark.parametrize("name", [one.name for one in dataclasses.fields(Head)])
def test_a_head_that_lacks_something_is_refused(name: str) -> None:
    document = json.loads(a_head().encode())
    del document[name]
    with pytest.raises(BundleInvalid, match=HEAD):
        Head.decode(canonical(document) if name == "id" else sealed(document))


def test_a_head_whose_id_is_not_its_own_is_refused() -> None:
    document = {**json.loads(a_head().encode()), "number": 4}
    with pytest.raises(BundleInvalid, match="its id"):
        Head.decode(canonical(document))


def test_what_a_later_minor_version_says_besides_is_part_of_the_id() -> None:
    document = {**json.loads(a_head().encode()), "format": "1.3", "mood": "good"}
    head = Head.decode(sealed(document))
    assert head.format == "1.3"
    assert head.id == json.loads(sealed(document))["id"]
    assert head.id != dataclasses.replace(a_head(), format="1.3").id


def test_a_head_too_large_to_be_one_is_refused() -> None:
    told = {"more": "x" * (1 << 20)}
    with pytest.raises(RequestInvalid, match="name fewer images"):
        a_head(selection=told).encode()
    with pytest.raises(BundleInvalid, match="larger than 1 MiB"):
        Head.decode(sealed({**json.loads(a_head().encode()), "selection": told}))


@pytest.mark.parametrize("text", ["weekly", "a", "a-b.c_d", "2026", "a" * 64])
def test_names_of_streams(text: str) -> None:
    assert is_stream(text)


@pytest.mark.parametrize("text", ["", "-", "a-", "a/b", "a b", "A", "a" * 65, "a\n"])
def test_what_is_no_name_of_a_stream(text: str) -> None:
    assert not is_stream(text)
