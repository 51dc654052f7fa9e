"""The arithmetic of the figures."""

from __future__ import annotations

import pytest

from tests.bench.figures import Goal, Rounds, Spread, Unit, enough, per_unit, ratios


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


def test_a_goal_is_for_the_middle_of_the_ratio_or_of_our_own_amount() -> None:
    rounds = Rounds(moorage=(8.0, 9.0, 99.0), distribution=(10.0, 10.0, 10.0))
    assert Goal(0.9).met(rounds) and not Goal(0.89).met(rounds)
    assert Goal(0.9, at_least=True).met(rounds) and not Goal(0.91, at_least=True).met(rounds)
    assert Goal(9.0, of_ratio=False).met(rounds) and not Goal(8.9, of_ratio=False).met(rounds)


def test_where_distribution_has_nothing_there_is_no_ratio_to_reach() -> None:
    rounds = Rounds(moorage=(1.0,), distribution=(0.0,))
    assert rounds.ratio is None and rounds.noise is None
    assert not Goal(9.0).met(rounds) and Goal(1.0, of_ratio=False).met(rounds)


def test_what_took_half_a_second_goes_twice_a_second() -> None:
    rounds = Rounds(moorage=(0.5,), distribution=(0.25,), control=(1.0,)).inverse()
    assert rounds == Rounds(moorage=(2.0,), distribution=(4.0,), control=(1.0,))


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        ("s / GiB", 2.345, "2.35 s / GiB"),
        ("s / request", 0.0123, "12.30 ms / request"),
        ("s / request", 0.0003, "300 µs / request"),
        ("s", 0.5, "500.00 ms"),
        ("MiB", 139.6, "140 MiB"),
        ("images / s", 12.34, "12.3 images / s"),
    ],
)
def test_amounts_as_people_read_them(unit: str, value: float, text: str) -> None:
    assert Unit(unit).text(value) == text
