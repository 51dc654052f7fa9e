from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from registry.model.quoting import quoted


def test_short_texts_are_quoted_and_long_ones_cut() -> None:
    assert quoted("a b") == "'a b'"
    assert quoted("x\n\0\u00e9") == r"'x\n\x00\xe9'"
    assert quoted("a" * 101) == f"'{'a' * 100}'… (101 characters)"


@given(st.text(max_size=300))
def test_nothing_unprintable_is_left(text: str) -> None:
    assert quoted(text).isprintable()
