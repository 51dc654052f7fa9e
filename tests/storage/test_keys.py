"""No key that is accepted names anything outside of a root."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidKey
from storage.keys import TEMPORARY_PREFIX, is_segment, parents, validate, validate_prefix
from tests.storage.probing import BAD_KEYS, GOOD_KEYS

TRICKY = st.text(alphabet="ab./\\-_~\0\n \u2024\uff0e\uff0f", max_size=12)
PARTS = st.lists(
    st.sampled_from(
        ["", ".", "..", "...", "a", ".a", "a.", TEMPORARY_PREFIX, ".tmp-x", "x.tmp-", ".tmp", "~"]
    ),
    max_size=6,
).map("/".join)
SEGMENTS = st.from_regex(r"\A[A-Za-z0-9._-]{1,12}\Z").filter(is_segment)
KEYS = st.lists(SEGMENTS, min_size=1, max_size=6).map("/".join)


@given(st.one_of(st.text(max_size=20), TRICKY, PARTS, KEYS))
def test_no_accepted_key_can_name_anything_outside_a_root(key: str) -> None:
    try:
        validate(key)
    except InvalidKey as error:
        assert error.key == key
        return
    path = f"/some/root/{key}"
    assert os.path.normpath(path) == path
    assert path.startswith("/some/root/") and len(path) > len("/some/root/")
    assert key.isascii() and key.isprintable()
    for segment in key.split("/"):
        assert segment not in ("", ".", "..")
        assert not segment.startswith(TEMPORARY_PREFIX)


@given(KEYS)
def test_every_key_of_good_segments_is_accepted(key: str) -> None:
    validate(key)
    validate_prefix(key)
    assert all(is_segment(segment) for segment in key.split("/"))


@pytest.mark.parametrize("key", BAD_KEYS)
def test_bad_keys_are_refused(key: str) -> None:
    with pytest.raises(InvalidKey):
        validate(key)
    assert not is_segment(key)


@pytest.mark.parametrize("key", GOOD_KEYS)
def test_good_keys_are_accepted(key: str) -> None:
    validate(key)


def test_the_empty_prefix_is_the_root() -> None:
    validate_prefix("")
    with pytest.raises(InvalidKey):
        validate_prefix("a/")


def test_parents_are_the_prefixes_above() -> None:
    assert parents("a/b/c") == ["a", "a/b"]
    assert parents("a") == []
