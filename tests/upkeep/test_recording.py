"""Pulls are recorded while a process serves, and what is not recorded is known not to be."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import pytest

from registry.core import pulls
from registry.core.last_pulls import coverage, last_pulls
from registry.core.pull_records import DAYS, PROCESSES, UNCOVERED, PullRecords
from registry.model.names import Tag
from registry.store import layout
from storage.errors import StorageError, Unavailable
from tests.inmemory import NAME, TAG, Clock, World
from tests.upkeep.pulling import DIGEST, known, now, process

TODAY = date(2026, 1, 1)
FIVE_MINUTES = 300.0


class Failing:
    """A driver whose writes below a prefix fail; the first `lands` of them are done all the same."""

    def __init__(self, world: World, prefix: str = "", *, lands: int = 0) -> None:
        self._world = world
        self.prefix: str | None = prefix
        self.lands = lands

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world.driver, name)

    async def put(self, key: str, data: bytes, **how: Any) -> None:
        fails = self.prefix is not None and key.startswith(self.prefix)
        if not fails or self.lands > 0:
            await self._world.driver.put(key, data, **how)
        if fails:
            self.lands -= 1
            raise Unavailable(key, "the store does not answer")


async def test_a_process_says_that_it_is_there_before_it_answers_and_not_any_more_when_it_has_ended(
    world: World,
) -> None:
    one = process(world)
    await one.recording.begin()
    (found,) = await PullRecords(world.driver).processes()
    assert (found.who, found.until, found.renewed_at) == ("one", now(world), now(world))
    one.pull(times=2)
    await one.recording.end()
    assert await PullRecords(world.driver).processes() == []
    assert await known(world.driver) == {(TODAY, "latest"): 2}
    assert await world.keys(layout.INTENTS) == []


async def test_what_is_new_is_recorded_at_least_every_five_minutes(world: World) -> None:
    one = process(world)
    await one.recording.begin()
    one.pull()
    await one.recording.if_due()
    assert await known(world.driver) == {}
    one.seconds += FIVE_MINUTES - 30
    world.clock.advance(seconds=270)
    one.pull(None)
    await one.recording.if_due()
    assert await known(world.driver) == {(TODAY, "latest"): 1, (TODAY, "@"): 1}
    (key,) = await world.keys(DAYS)
    told = json.loads((await world.driver.get(key, limit=1000)).splitlines()[0])
    assert (told["from"], told["until"]) == ("2026-01-01T00:00:00+00:00", "2026-01-01T00:04:30+00:00")
    # With nothing new it is only said that nothing is.
    one.seconds += FIVE_MINUTES
    world.clock.advance(seconds=FIVE_MINUTES)
    await one.recording.if_due()
    assert await world.keys(DAYS) == [key]
    (found,) = await PullRecords(world.driver).processes()
    assert found.until == now(world)


async def test_much_is_recorded_sooner(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulls, "FULL", 3)
    one = process(world)
    await one.recording.begin()
    for number in range(3):
        one.pull(Tag(f"v{number}"))
    await one.recording.if_due()
    assert len(await known(world.driver)) == 3


async def test_the_day_on_which_recording_began_is_uncovered_and_later_starts_mark_nothing(
    world: World,
) -> None:
    await process(world).recording.begin()
    world.clock.advance(days=3)
    await process(world).recording.begin()
    assert await world.keys(UNCOVERED) == [f"{UNCOVERED}/{TODAY}"]
    assert b"began" in await world.driver.get(f"{UNCOVERED}/{TODAY}", limit=1000)


@pytest.mark.parametrize("lands", [0, 1])
@pytest.mark.parametrize("prefix", [layout.PULLS, DAYS, PROCESSES])
async def test_what_cannot_be_written_is_kept_and_tried_again(world: World, prefix: str, lands: int) -> None:
    """Also what was written, although it was said that it was not: nothing counts twice."""
    failing = Failing(world, prefix, lands=lands)
    one = process(world, failing)
    failing.prefix = None
    await one.recording.begin()
    began = now(world)
    one.pull(times=2)
    failing.prefix = prefix
    for _ in range(3):
        world.clock.advance(minutes=10)
        with pytest.raises(StorageError):
            await one.recording.record()
        one.pull()
    (said,) = await PullRecords(world.driver).processes()
    assert said.until == began, "it says no more of itself than is so"
    failing.prefix = None
    await one.recording.record()
    assert await known(world.driver) == {(TODAY, "latest"): 5}
    (said,) = await PullRecords(world.driver).processes()
    assert said.until == now(world)


async def test_after_a_failure_it_is_not_tried_again_at_each_look(world: World) -> None:
    failing = Failing(world)
    one = process(world, failing)
    one.seconds += FIVE_MINUTES
    with pytest.raises(StorageError):
        await one.recording.if_due()
    one.seconds += 5
    await one.recording.if_due()
    one.seconds += 60
    failing.prefix = None
    await one.recording.if_due()
    assert await world.keys(PROCESSES)


async def test_where_there_is_no_room_in_memory_the_day_is_uncovered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulls, "MOST", 1)
    failing = Failing(world)
    one = process(world, failing)
    failing.prefix = None
    await one.recording.begin()
    failing.prefix = layout.PULLS
    world.clock.advance(days=5)
    one.pull(Tag("v1"))
    one.pull(Tag("v2"))
    with pytest.raises(StorageError):
        await one.recording.record()
    world.clock.advance(days=1)
    failing.prefix = UNCOVERED
    with pytest.raises(StorageError):
        await one.recording.record()
    (said,) = await PullRecords(world.driver).processes()
    assert said.until.date() == TODAY
    failing.prefix = None
    await one.recording.record()
    assert await PullRecords(world.driver).uncovered() == [TODAY, TODAY + timedelta(days=5)]


async def test_a_store_that_cannot_be_written_to_is_served_and_recorded_later(world: World) -> None:
    failing = Failing(world)
    one = process(world, failing)
    await one.recording.begin()
    one.pull()
    world.clock.advance(days=2)
    failing.prefix = None
    await one.recording.begin()
    assert await known(world.driver) == {(TODAY, "latest"): 1}


async def test_while_the_store_is_read_only_pulls_stay_in_memory(world: World) -> None:
    one = process(world)
    one.registry.read_only = True
    one.pull()
    one.seconds += FIVE_MINUTES
    await one.recording.if_due()
    await one.recording.end()
    assert await world.keys() == []
    world.clock.advance(days=2)
    one.registry.read_only = False
    await one.recording.begin()
    assert await known(world.driver) == {(TODAY, "latest"): 1}
    (key,) = await world.keys(PROCESSES)
    assert json.loads(await world.driver.get(key, limit=1000))["from"] == "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize("days", [-500, -2, 2, 500])
async def test_a_wrong_clock_of_a_process_makes_no_wrong_day(world: World, days: int) -> None:
    wrong = Clock()
    wrong.advance(days=days)
    one = process(world, clock=wrong)
    one.pull()
    await one.recording.begin()
    one.pull()
    (said,) = await PullRecords(world.driver).processes()
    assert said.until == now(world)
    told = json.loads(await world.driver.get(f"{PROCESSES}/{said.id}", limit=1000))
    assert told["from"] == now(world).isoformat()
    for clock in (wrong, world.clock):
        clock.advance(days=1)
    one.pull()
    await one.recording.record()
    tomorrow = TODAY + timedelta(days=1)
    assert await known(world.driver) == {(TODAY, "latest"): 2, (tomorrow, "latest"): 1}
    assert await PullRecords(world.driver).uncovered() == [TODAY]
    (said,) = await PullRecords(world.driver).processes()
    assert said.until == now(world)


@pytest.mark.parametrize("days", [-500, 500])
async def test_a_wrong_clock_of_a_process_that_has_answered_nothing_covers_what_is_so(
    world: World, days: int
) -> None:
    wrong = Clock()
    wrong.advance(days=days)
    await process(world, clock=wrong).recording.begin()
    (said,) = await PullRecords(world.driver).processes()
    assert said.until == now(world)
    world.clock.advance(minutes=5)
    assert (await coverage(PullRecords(world.driver), TODAY, now(world))).uncovered == (TODAY,)


async def test_a_wrong_clock_of_a_process_that_has_died_covers_no_day(world: World) -> None:
    records, later = PullRecords(world.driver), now(world) + timedelta(days=400)
    await records.put_process("1", "one", later, later)
    world.clock.advance(hours=2)
    assert (await coverage(records, TODAY, now(world))).uncovered == (TODAY,)


async def test_a_clock_that_is_set_while_serving_makes_no_day_of_the_past(world: World) -> None:
    own = Clock()
    one = process(world, clock=own)
    await one.recording.begin()
    world.clock.advance(days=10, minutes=4)
    own.advance(days=7, minutes=4)
    one.pull()
    await one.recording.record()
    assert await known(world.driver) == {(TODAY + timedelta(days=10), "latest"): 1}


async def test_a_process_that_is_silent_for_an_hour_leaves_its_days_uncovered(world: World) -> None:
    one, two = process(world), process(world, who="two")
    await one.recording.begin()
    await two.recording.begin()
    world.clock.advance(days=5)
    await one.recording.record()
    records = PullRecords(world.driver)
    covered = await coverage(records, TODAY, now(world))
    assert covered.uncovered == tuple(TODAY + timedelta(days=number) for number in range(6))
    assert covered.recorded_until == now(world)
    await two.recording.end()
    assert (await coverage(records, TODAY, now(world))).uncovered == (TODAY,)
    assert (await coverage(records, TODAY + timedelta(days=1), now(world))).uncovered == ()


async def test_last_pulls_are_told_of_tags_and_of_manifests(world: World) -> None:
    one, other = process(world), DIGEST.of(b"other")
    await one.recording.begin()
    for tag, digest in ((TAG, DIGEST), (None, other), (TAG, other)):
        world.clock.advance(days=2)
        one.pull(tag, digest)
    await one.recording.record()
    last = await last_pulls(PullRecords(world.driver), TODAY, now(world))
    third, fifth, seventh = (TODAY + timedelta(days=number) for number in (2, 4, 6))
    assert last.of(NAME, TAG, DIGEST) == seventh
    assert last.of(NAME, None, DIGEST) == third
    assert last.of(NAME, None, other) == seventh
    assert last.of(NAME, Tag("none"), None) is None
    assert last.uncovered_until == TODAY
    assert last.recorded_until == now(world)
    later = await last_pulls(PullRecords(world.driver), fifth, now(world))
    assert later.of(NAME, None, DIGEST) is None
    assert later.uncovered_until is None
    await world.driver.put(f"{DAYS}/{fifth}/0-00000001", b"{")
    assert (await last_pulls(PullRecords(world.driver), TODAY, now(world))).uncovered_until == fifth


@pytest.fixture
def world() -> World:
    """A store in memory."""
    return World()
