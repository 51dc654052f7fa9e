"""Conditions on claims: what they cover, and that no claim keeps the server busy."""

from __future__ import annotations

import re
import time

from hypothesis import given
from hypothesis import strategies as st

from registry.access.templates import ClaimPattern


@given(st.text("ab/*\n", min_size=1, max_size=7), st.text("ab/\n", max_size=9))
def test_a_star_stops_at_a_slash_and_two_do_not(pattern: str, value: str) -> None:
    if not pattern.strip("*"):
        return
    parts = re.split(r"(\*\*|\*)", pattern)
    expression = "".join({"**": ".*", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts)
    wanted = re.fullmatch(expression, value, re.DOTALL) is not None
    assert ClaimPattern(pattern).matches(value) == wanted


def test_no_value_takes_longer_than_another() -> None:
    began = time.process_time()
    for pattern in ("*x*x*x*x*x*x*x*x", "**x**x**x**x", "x*x*x*x*x*x*x*x*"):
        assert not ClaimPattern(pattern).matches("x" * 1023 + "/!")
        assert not ClaimPattern(pattern).matches("/" + "x" * 1022 + "!")
    assert time.process_time() - began < 1
