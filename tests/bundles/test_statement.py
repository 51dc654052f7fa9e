from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.bundles.contents import Content, Key, Piece
from registry.bundles.errors import BundleInvalid
from registry.bundles.format import canonical
from registry.bundles.statement import MANIFEST_BYTES, Statement, StatementReader, digest_of, key_of
from registry.model import media_types
from registry.model.digests import Digest
from tests.bundles.handmade import images

NAMES = ("a", "a/b", "b", "team/app")
KEYS = st.binary(min_size=32, max_size=32) | st.binary(min_size=64, max_size=64)
LISTS = st.sets(st.sampled_from(NAMES), min_size=1).map(lambda names: tuple(sorted(names)))


@st.composite
def statements(draw: st.DrawFn) -> Statement:
    """A statement whose content lies in up to three media."""
    made, medium = Statement(), 1

    def content(media_type: str) -> Content:
        nonlocal medium
        sizes = draw(st.lists(st.integers(1, 1000), max_size=3))
        pieces = []
        for size in sizes:
            medium = draw(st.integers(medium, 3))
            pieces.append(Piece(medium, size))
        size = sum(sizes) if sizes else draw(st.integers(0, 1000))
        sparse = bool(media_type) and draw(st.booleans())
        return Content(size, draw(LISTS), media_type, sparse, tuple(pieces))

    keys = draw(st.lists(KEYS, unique=True, max_size=8))
    some = draw(st.integers(0, len(keys)))
    for key in keys[:some]:
        made.manifests[key] = content(draw(st.sampled_from(sorted(media_types.MANIFESTS))))
    for key in sorted(keys[some:]):
        made.blobs[key] = content("")
    for key, one in made.manifests.items():
        if draw(st.booleans()):
            made.tags[draw(st.sampled_from(one.repositories)), draw(st.sampled_from("xyz"))] = key
    made.order()
    return made


def read(lines: Any, media: int = 3) -> Statement:
    """What a reader makes of lines."""
    reader = StatementReader(media)
    reader.lines(lines)
    return reader.statement


@given(statements())
def test_a_statement_is_read_as_it_was_written(statement: Statement) -> None:
    lines = list(statement.lines())
    again = read(lines)
    assert again == statement
    assert list(again.manifests) == list(statement.manifests)
    assert again.totals == statement.totals
    joined = b"".join(lines)
    assert statement.sum() == (hashlib.sha256(joined).hexdigest(), len(joined))


@given(statements(), st.data())
def test_a_line_lost_doubled_or_moved_is_never_read_as_the_same(
    statement: Statement, data: st.DataObject
) -> None:
    lines = list(statement.lines())
    if not lines:
        return
    at = data.draw(st.integers(0, len(lines) - 1))
    with pytest.raises(BundleInvalid, match=r"contents\.jsonl, line"):
        read([*lines[: at + 1], *lines[at:]])
    moved = data.draw(st.permutations(lines))
    try:
        other = read(moved)
    except BundleInvalid:
        return
    # Only manifests have an order that a reader of lines alone cannot tell.
    assert list(other.blobs) == list(statement.blobs)
    assert list(other.tags) == list(statement.tags)


@given(KEYS)
def test_a_key_is_a_digest(key: Key) -> None:
    assert key_of(digest_of(key)) == key


def test_repositories_are_kept_once() -> None:
    statement = read(images().statement.lines())
    lists = [one.repositories for _, one in statement.all]
    assert len({id(one) for one in lists}) == len(set(lists)) < len(lists)


def test_what_is_manifest_and_blob_is_stated_twice_and_lies_once() -> None:
    selection = images()
    key, manifest = next(iter(selection.statement.manifests.items()))
    selection.blob(selection.content[key], "team/tool")
    pieces = (Piece(1, manifest.size),)
    selection.statement.manifests.lay(key, pieces)
    selection.statement.order()
    assert read(selection.statement.lines()) == selection.statement
    assert selection.statement.totals.carried_files == 1
    for spoiled in (
        Content(manifest.size, ("team/tool",), pieces=pieces),
        Content(manifest.size + 1, ("team/tool",)),
    ):
        selection.statement.blobs[key] = spoiled
        with pytest.raises(BundleInvalid, match="it is a manifest, too"):
            read(selection.statement.lines())


MANIFEST = {
    "kind": "manifest",
    "digest": "sha256:" + "1" * 64,
    "size": 5,
    "repositories": ["a", "b"],
    "mediaType": media_types.OCI_IMAGE,
    "medium": 2,
}
BLOB = {"kind": "blob", "digest": "sha256:" + "2" * 64, "size": 5, "repositories": ["a"], "medium": 2}
TAG = {"kind": "tag", "repository": "b", "tag": "1", "digest": MANIFEST["digest"]}
HALVES = [{"medium": 2, "size": 2}, {"medium": 3, "size": 3}]


def test_the_lines_that_are_spoiled_below_are_sound() -> None:
    lines = [
        MANIFEST,
        {name: value for name, value in BLOB.items() if name != "medium"} | {"pieces": HALVES},
        TAG,
    ]
    statement = read(map(canonical, lines))
    assert (len(statement.manifests), len(statement.blobs), len(statement.tags)) == (1, 1, 1)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("manifest", {"kind": "image"}),
        ("manifest", {"kind": None}),
        ("manifest", {"digest": "sha256:12"}),
        ("manifest", {"digest": "md5:" + "1" * 32}),
        ("manifest", {"digest": 1}),
        ("manifest", {"size": -1}),
        ("manifest", {"size": True}),
        ("manifest", {"size": "5"}),
        ("manifest", {"size": 1 << 63}),
        ("manifest", {"size": MANIFEST_BYTES + 1}),
        ("manifest", {"repositories": []}),
        ("manifest", {"repositories": "a"}),
        ("manifest", {"repositories": ["b", "a"]}),
        ("manifest", {"repositories": ["b", "b"]}),
        ("manifest", {"repositories": ["A"]}),
        ("manifest", {"repositories": ["../b"]}),
        ("manifest", {"repositories": ["a", 1]}),
        ("manifest", {"mediaType": "text/html"}),
        ("manifest", {"mediaType": []}),
        ("manifest", {"sparse": False}),
        ("manifest", {"sparse": 1}),
        ("manifest", {"medium": 0}),
        ("manifest", {"medium": 4}),
        ("manifest", {"pieces": HALVES}),
        ("blob", {"sparse": True}),
        ("blob", {"medium": 1}),
        ("blob", {"medium": None, "pieces": HALVES}),
        ("blob", {"medium": ..., "pieces": HALVES[:1]}),
        ("blob", {"medium": ..., "pieces": HALVES[::-1]}),
        ("blob", {"medium": ..., "pieces": [*HALVES, {"medium": 3, "size": 0}]}),
        ("blob", {"medium": ..., "pieces": [*HALVES, {"medium": 3, "size": 1}]}),
        ("blob", {"medium": ..., "pieces": [1, 4]}),
        ("blob", {"medium": ..., "pieces": {}}),
        ("blob", {"digest": MANIFEST["digest"]}),
        ("tag", {"repository": "c"}),
        ("tag", {"repository": "../b"}),
        ("tag", {"tag": "-"}),
        ("tag", {"tag": ""}),
        ("tag", {"digest": BLOB["digest"]}),
    ],
)
def test_a_line_that_says_what_cannot_be_is_refused(kind: str, fields: dict[str, Any]) -> None:
    lines = []
    for line in (MANIFEST, BLOB, TAG):
        altered = {**line, **fields} if line["kind"] == kind else line
        lines.append(canonical({name: value for name, value in altered.items() if value is not ...}))
    with pytest.raises(BundleInvalid, match=r"contents\.jsonl, line \d"):
        read(lines)


@pytest.mark.parametrize("kind", ["manifest", "blob", "tag"])
def test_a_line_that_lacks_something_is_refused(kind: str) -> None:
    lines = {"manifest": MANIFEST, "blob": BLOB, "tag": TAG}
    for name in set(lines[kind]) - {"medium"}:
        altered = {**lines, kind: {one: value for one, value in lines[kind].items() if one != name}}
        with pytest.raises(BundleInvalid):
            read(map(canonical, altered.values()))


def test_what_a_later_minor_version_says_besides_is_left_out() -> None:
    lines = [canonical({**line, "mood": "good"}) for line in (MANIFEST, BLOB, TAG)]
    assert read(lines) == read(map(canonical, (MANIFEST, BLOB, TAG)))


def test_a_line_needs_its_newline() -> None:
    with pytest.raises(BundleInvalid, match="line 1"):
        read([json.dumps(MANIFEST, sort_keys=True, separators=(",", ":")).encode()])


def test_digests_of_both_kinds_are_in_one_order() -> None:
    selection = images()
    keys = list(selection.statement.blobs)
    assert keys == sorted(keys)
    assert {Digest(digest_of(key).algorithm, "0" * 2 * len(key)).algorithm for key in keys} == {
        "sha256",
        "sha512",
    }
