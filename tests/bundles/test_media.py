from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.bundles.contents import Content
from registry.bundles.format import LARGEST_FILE
from registry.bundles.media import SMALLEST_MEDIUM, file_name, file_of, files, lay_out, medium_folder
from registry.bundles.statement import Statement, StatementReader
from registry.errors import RequestInvalid
from registry.model import media_types

MIB = 1 << 20
# What FAT, exFAT, NTFS and UDF have in common, and no shell asks about.
LEGAL = re.compile(r"[A-Za-z0-9._-]{1,140}(?<!\.)")


def stating(manifests: list[int], blobs: list[int]) -> Statement:
    """A statement of content of these sizes."""
    made = Statement()
    for number, size in enumerate(manifests):
        made.manifests[bytes([1]) * 31 + bytes([number])] = Content(size, ("a",), media_types.OCI_IMAGE)
    for number, size in enumerate(blobs):
        made.blobs[bytes([2]) * 63 + bytes([number])] = Content(size, ("a",))
    return made


@given(
    manifests=st.lists(st.integers(2, 5 * MIB), max_size=5),
    blobs=st.lists(st.integers(0, 12 << 30), max_size=20),
    medium=st.integers(SMALLEST_MEDIUM, 10 << 30),
    other=st.integers(0, 8 * MIB),
    chosen=st.integers(0),
)
def test_all_that_is_carried_lies_once_and_fits(
    manifests: list[int], blobs: list[int], medium: int, other: int, chosen: int
) -> None:
    statement = stating(manifests, blobs)
    carried = {key for at, (key, _) in enumerate(statement.all) if not chosen >> at & 1}
    media = lay_out(statement, carried, medium, other)
    listed = list(files(statement))
    used = Counter({1: other})
    for one in listed:
        assert one.size <= LARGEST_FILE
        used[one.medium] += one.size
    assert max(used.values()) <= medium
    assert [one.medium for one in listed] == sorted(one.medium for one in listed)
    assert {one.medium for one in listed} <= set(range(1, media + 1))
    assert len({one.name for one in listed}) == len(listed)
    for key, content in statement.all:
        ours = [one for one in listed if one.key == key]
        assert bool(ours) == (key in carried)
        assert not ours or sum(one.size for one in ours) == content.size
        assert all(file_of(statement, one.name) == one for one in ours)
        assert file_of(statement, file_name(key, len(ours))) is None
    reader = StatementReader(media)
    reader.lines(statement.lines())
    assert reader.statement == statement


@given(st.lists(st.integers(0, 1 << 40), max_size=5))
def test_without_a_size_there_is_one_medium_and_nothing_is_cut(blobs: list[int]) -> None:
    statement = stating([], blobs)
    assert lay_out(statement, set(statement.blobs), None, 0) == 1
    assert [(one.medium, one.size) for one in files(statement)] == [(1, size) for size in blobs]


@pytest.mark.parametrize("medium", [None, 64 * MIB])
def test_what_is_manifest_and_blob_lies_once(medium: int | None) -> None:
    statement = stating([5], [7])
    key = next(iter(statement.manifests))
    statement.blobs[key] = Content(5, ("b",))
    lay_out(statement, {key for key, _ in statement.all}, medium, 0)
    assert [one.size for one in files(statement)] == [5, 7]
    assert not statement.blobs[key].carried


def test_laid_out_anew_nothing_of_before_is_left() -> None:
    statement = stating([5], [7])
    lay_out(statement, set(statement.blobs), 64 * MIB, 0)
    lay_out(statement, set(statement.manifests), None, 0)
    assert [one.size for one in files(statement)] == [5]


@pytest.mark.parametrize(("medium", "other"), [(SMALLEST_MEDIUM - 1, 0), (SMALLEST_MEDIUM, 14 * MIB)])
def test_media_that_are_too_small_are_refused_with_what_would_do(medium: int, other: int) -> None:
    statement = stating([], [7])
    with pytest.raises(RequestInvalid, match="at least") as told:
        lay_out(statement, set(statement.blobs), medium, other)
    found = re.search(r"at least (\d+)MiB", str(told.value.message))
    assert found is not None
    assert lay_out(statement, set(statement.blobs), int(found[1]) * MIB, other) == 1


def test_more_media_than_a_bundle_may_have_are_refused() -> None:
    statement = stating([], [1 << 40])
    with pytest.raises(RequestInvalid, match="take larger ones"):
        lay_out(statement, set(statement.blobs), SMALLEST_MEDIUM, 0)


def test_names_are_legal_everywhere() -> None:
    statement = stating([], [100 * MIB])
    lay_out(statement, set(statement.blobs), 32 * MIB, 0)
    names = [f"{medium_folder(one.medium)}/{one.name}" for one in files(statement)]
    assert len(names) > 3
    assert all(LEGAL.fullmatch(part) for name in names for part in name.split("/"))
    assert len({name.casefold() for name in names}) == len(names)


def test_names_of_pieces_are_in_order_up_to_any_number() -> None:
    key = bytes(32)
    assert file_name(key) == "blobs/sha256/" + "0" * 64
    assert file_name(key, 7).endswith(".007")
    assert file_name(key, 1000).endswith(".1000")
