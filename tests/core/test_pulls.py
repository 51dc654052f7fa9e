"""What a process counts of pulls in its memory, and into which days."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from registry.core import pulls
from registry.core.pulls import Pulls
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from tests.inmemory import NAME, TAG, Clock

DIGEST = Digest.of(b"manifest")
TODAY = date(2026, 1, 1)
TAGGED, UNTAGGED = ("latest", str(DIGEST)), ("", str(DIGEST))


@pytest.fixture
def clock() -> Clock:
    """A clock that begins at midnight."""
    return Clock()


@pytest.fixture
def counted(clock: Clock) -> Pulls:
    """Nothing yet."""
    found = Pulls(lambda: clock.now)
    found.counting = True
    return found


def test_pulls_are_counted_by_day_repository_and_what_was_asked_for(counted: Pulls, clock: Clock) -> None:
    for _ in range(3):
        counted.note(NAME, TAG, DIGEST)
    counted.note(NAME, DIGEST, DIGEST)
    clock.advance(days=1)
    counted.note(RepositoryName("other"), TAG, DIGEST)
    batch = counted.take()
    assert batch.days == {
        TODAY: {NAME: {TAGGED: 3, UNTAGGED: 1}},
        TODAY + timedelta(days=1): {"other": {TAGGED: 1}},
    }
    assert batch.until - batch.since == timedelta(days=1)
    assert counted.is_empty and counted.take().days == {}


def test_nothing_is_counted_where_nothing_is_ever_recorded(clock: Clock) -> None:
    idle = Pulls(lambda: clock.now)
    idle.note(NAME, TAG, DIGEST)
    assert idle.is_empty


def test_what_is_in_memory_is_bounded_and_of_what_day_something_was_lost_is_known(
    counted: Pulls, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulls, "FULL", 2)
    monkeypatch.setattr(pulls, "MOST", 3)
    full = []
    for number in range(5):
        counted.note(NAME, Tag(f"v{number}"), DIGEST)
        full.append(counted.is_full)
    counted.note(NAME, Tag("v0"), DIGEST)
    assert full == [False, True, True, True, True]
    batch = counted.take()
    assert {tag: times for (tag, _), times in batch.days[TODAY][NAME].items()} == {"v0": 2, "v1": 1, "v2": 1}
    assert batch.lost == {TODAY}
    clock.advance(days=1)
    counted.note(NAME, TAG, DIGEST)
    assert counted.take().lost == frozenset()


@pytest.mark.parametrize("ahead", [timedelta(days=-400), timedelta(hours=-25), timedelta(days=400)])
def test_a_clock_that_is_wrong_puts_pulls_into_the_present_day(
    counted: Pulls, clock: Clock, ahead: timedelta
) -> None:
    """Whichever way: a last pull that is too late does no harm."""
    right = clock.now
    clock.now += ahead
    counted.note(NAME, TAG, DIGEST)
    assert counted.correct(right, clock.now, clock.now) is not None
    counted.note(NAME, TAG, DIGEST)
    clock.advance(hours=25)
    counted.note(NAME, TAG, DIGEST)
    batch = counted.take()
    found = {day: counts[NAME][TAGGED] for day, counts in batch.days.items()}
    assert found == {TODAY: 2, TODAY + timedelta(days=1): 1}


def test_a_clock_that_is_right_within_a_minute_is_believed(counted: Pulls, clock: Clock) -> None:
    counted.note(NAME, TAG, DIGEST)
    began = clock.now
    clock.advance(hours=30)  # the store was slow
    assert counted.correct(began + timedelta(seconds=59), began, clock.now) is None
    assert counted.correct(clock.now + timedelta(seconds=59), began, clock.now) is None
    assert list(counted.take().days) == [TODAY]
    assert counted.correct(clock.now + timedelta(seconds=61), clock.now, clock.now) == timedelta(seconds=61)


def test_a_clock_that_was_wrong_for_a_while_puts_nothing_into_a_past_day(
    counted: Pulls, clock: Clock
) -> None:
    right = clock.now
    clock.advance(days=-3)
    counted.note(NAME, TAG, DIGEST)
    clock.now = right + timedelta(minutes=4)
    assert list(counted.take().days) == [TODAY]
