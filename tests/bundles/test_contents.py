"""What stands in columns is what would stand in a dictionary, in the same order."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from registry.bundles.contents import Content, Contents, Digests, Key, Piece

# Few of each length, so that many are set twice; some begin alike.
KEYS = st.builds(
    lambda length, number: bytes([number]) * length, st.sampled_from((32, 64)), st.integers(0, 20)
)
PIECES = st.lists(st.builds(Piece, st.integers(1, 9999), st.integers(0, 1 << 40)), min_size=2).map(tuple)


@st.composite
def contents(draw: st.DrawFn) -> Content:
    """A manifest or a blob that lies nowhere, in one file, or in pieces."""
    size = draw(st.integers(0, (1 << 63) - 1))
    whole = st.builds(lambda medium: (Piece(medium, size),), st.integers(1, 9999))
    names, media_type = st.sampled_from((("a",), ("a", "b"))), st.sampled_from("xy")
    return Content(
        size, draw(names), draw(media_type), draw(st.booleans()), draw(st.just(()) | whole | PIECES)
    )


@given(st.lists(st.tuples(KEYS, contents())), st.lists(KEYS))
def test_contents_are_as_a_dictionary_has_them(told: list[tuple[Key, Content]], asked: list[Key]) -> None:
    expected = {}
    made = Contents()
    for key, content in told:
        expected[key] = made[key] = content
    assert list(made.items()) == list(expected.items())
    assert list(reversed(made)) == list(reversed(expected))
    assert [made.get(key) for key in asked] == [expected.get(key) for key in asked]
    for key in expected:
        made.lay(key, ())
    assert not any(content.carried for content in made.values())


@given(st.lists(KEYS))
def test_digests_have_the_places_in_which_they_were_added(keys: list[Key]) -> None:
    expected = list(dict.fromkeys(keys))
    made = Digests(keys)
    assert list(made) == expected and made & set(expected) == made
    assert [made.place(key) for key in expected] == list(range(len(expected)))
    assert made.place(b"\xff" * 32) is None and b"\xff" * 32 not in made


def test_a_content_takes_less_than_80_bytes() -> None:
    tracemalloc.start()
    try:
        made = Contents()
        for number in range(20_000):
            made[number.to_bytes(32, "big")] = Content(number, ("team/app",), pieces=(Piece(1, number),))
        assert tracemalloc.get_traced_memory()[0] < 80 * len(made)
    finally:
        tracemalloc.stop()
