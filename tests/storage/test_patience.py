"""Short reads and works stay on the loop while the disk is quick."""

from __future__ import annotations

import pytest

from storage.patience import Patience


class Stopwatch:
    """A clock that moves when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def turns(self, patience: Patience, milliseconds: float, times: int) -> None:
        """Turns that take so long each."""
        for _ in range(times):
            began = self.now
            self.now += milliseconds / 1000
            patience.took(began)


@pytest.fixture
def clock() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
def patience(clock: Stopwatch) -> Patience:
    return Patience(clock, 0.025)


def test_quick_turns_and_a_few_long_ones_stay(patience: Patience, clock: Stopwatch) -> None:
    for _ in range(50):
        clock.turns(patience, 0.1, times=95)
        clock.turns(patience, 40, times=5)
    assert not patience.exhausted


def test_a_hundred_long_ones_go_aside_for_half_a_minute(patience: Patience, clock: Stopwatch) -> None:
    clock.turns(patience, 2.6, times=96)
    assert not patience.exhausted
    clock.turns(patience, 2.6, times=4)
    assert patience.exhausted
    clock.now += 29.9
    assert patience.exhausted
    clock.now += 0.2
    assert not patience.exhausted
    clock.turns(patience, 2, times=100)
    assert not patience.exhausted


def test_one_that_hangs_counts_little_and_ten_go_aside(patience: Patience, clock: Stopwatch) -> None:
    clock.turns(patience, 60_000, times=9)
    assert not patience.exhausted
    clock.turns(patience, 60_000, times=2)
    assert patience.exhausted


def test_by_default_the_third_that_hangs_is_the_last(clock: Stopwatch) -> None:
    patience = Patience(clock)
    clock.turns(patience, 60_000, times=2)
    clock.turns(patience, 0.1, times=10)
    assert not patience.exhausted
    clock.turns(patience, 60_000, times=1)
    assert patience.exhausted
    assert patience.slow == 3


def test_turns_that_wait_for_the_interpreter_now_and_then_stay(clock: Stopwatch) -> None:
    patience = Patience(clock)
    for _ in range(50):
        clock.turns(patience, 6, times=30)
        clock.turns(patience, 0.1, times=70)
    assert not patience.exhausted
    assert patience.slow == 1500
