"""The arithmetic of the figures."""

from __future__ import annotations

import pytest

from tests.bench.figures import Rounds, Spread, enough, per_unit, ratios


def test_a_spread_is_the_middle_and_the_ends() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert Spread.of([4.0, 1.0, 2.0, 3.0]) == Spread(2.5, 1.0, 4.0)
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0)


def test_nothing_has_no_spread() -> None:
    with pytest.raises(ValueError, match="nothing"):
        Spread.of([])


def test_a_ratio_is_taken_within_its_round() -> None:
    # The machine was twice as slow in the second round, for both: the ratio is the same in each.
    rounds = Rounds(moorage=(1.0, 2.0), distribution=(2.0, 4.0), control=(3.0, 4.0))
    assert rounds.ratio == Spread(0.5, 0.5, 0.5)
    assert rounds.noise == Spread(1.25, 1.0, 1.5)


def test_rounds_that_do_not_match_are_an_error() -> None:
    with pytest.raises(ValueError, match="longer"):
        ratios([1.0], [1.0, 2.0])


def test_seconds_for_each_unit() -> None:
    assert per_unit(3_000_000_000, 2) == 1.5
    assert per_unit(250_000_000, 0.125) == 2.0


def test_no_round_begins_that_would_end_after_the_time_is_up() -> None:
    assert not enough(spent=80, longest=20, budget=100)
    assert enough(spent=81, longest=20, budget=100)
