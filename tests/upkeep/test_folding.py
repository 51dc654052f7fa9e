"""What was recorded of pulls is added up, whatever comes in between, and nothing counts twice or is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import date, timedelta
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.core.last_pulls import coverage, last_pulls
from registry.core.pull_records import DAYS, PROCESSES, UNCOVERED, PullRecords
from registry.errors import ReadOnly
from registry.model.names import Tag
from registry.store import layout
from storage.contract import Driver
from tests.inmemory import NAME, TAG, World
from tests.upkeep.pulling import KEEP, Interrupted, Process, known, now, process

TODAY = date(2026, 1, 1)
DAY = timedelta(days=1)


class Died(BaseException):
    """What a process dies of."""


class Mortal:
    """A driver that ends its process at a call: before it is made, or after."""

    def __init__(self, world: World, calls: int, *, after: bool) -> None:
        self._world = world
        self._after = after
        self.left = calls

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._world.driver, name)
        if name not in ("get", "put", "write", "stat", "delete", "children"):
            return method

        async def call(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0 and not self._after:
                raise Died
            answer = await method(*arguments, **options)
            if self.left == 0:
                raise Died
            return answer

        return call


async def prepared() -> World:
    """Two processes have recorded the pulls of three days, one of them has died; a part was folded before."""
    world = World()
    one, two = process(world), process(world, who="two")
    await one.recording.begin()
    await two.recording.begin()
    for number in range(3):
        for at in (one, two):
            at.pull(Tag(f"v{number}"), times=2)
            at.pull()
            await at.recording.record()
        world.clock.advance(hours=14)
        await one.recording.record()
        if number == 0:
            await one.folding.run()
    await one.recording.end()
    world.clock.advance(days=1)
    return world


@pytest.fixture
async def world() -> World:
    """Three days of pulls."""
    return await prepared()


async def objects(world: World, day: date) -> list[str]:
    """The names of what lies there of a day."""
    return [key.rpartition("/")[2] for key in await world.keys(f"{DAYS}/{day}")]


async def test_a_fold_says_what_the_records_said_and_one_object_is_left_of_each_day(world: World) -> None:
    before = await known(world.driver)
    assert sum(before.values()) == 18
    report = await process(world).folding.run()
    assert await known(world.driver) == before
    for day in await PullRecords(world.driver).days():
        (name,) = await objects(world, day)
        assert name.startswith("fold-")
    assert report.joined == 4
    keys = await world.keys(DAYS)
    await process(world).folding.run()
    assert await world.keys(DAYS) == keys


async def test_what_is_recorded_late_is_joined_by_the_next_pass_of_a_new_day(world: World) -> None:
    await process(world).folding.run()
    early, late, day = process(world), process(world), now(world).date()
    for one in (early, late):
        await one.recording.begin()
        one.pull()
    await early.recording.end()
    world.clock.advance(days=1)
    await process(world).folding.run()
    (fold,) = await objects(world, day)
    assert fold.startswith("fold-")
    world.clock.advance(days=4)
    await late.recording.record()
    recorded = await known(world.driver)
    assert recorded[day, "latest"] == 2
    world.clock.advance(minutes=9)
    await process(world).folding.run()
    # Somebody may have begun to write one before this that is not there yet.
    assert len(await objects(world, day)) == 2
    world.clock.advance(minutes=11)
    await process(world).folding.run()
    assert len(await objects(world, day)) == 2, "the second of this day looks at late days no more"
    world.clock.advance(days=1)
    await process(world).folding.run()
    assert len(await objects(world, day)) == 1
    assert await known(world.driver) == recorded


async def test_what_comes_back_after_a_fold_counts_no_second_time(world: World) -> None:
    before = await known(world.driver)
    gone = {key: await world.driver.get(key, limit=9999) for key in await world.keys(DAYS)}
    await process(world).folding.run()
    for key, data in gone.items():
        await world.driver.put(key, data)
    assert await known(world.driver) == before
    world.clock.advance(days=1)
    await process(world).folding.run()
    assert await known(world.driver) == before
    assert len(await world.keys(DAYS)) == 2


@pytest.mark.parametrize("after", [False, True])
async def test_a_fold_that_dies_at_any_call_changes_no_count_and_the_next_ends_its_work(after: bool) -> None:
    calls, has_died = 0, True
    while has_died:
        calls += 1
        world = await prepared()
        before = await known(world.driver)
        has_died = await _dies(process(world, Mortal(world, calls, after=after)).folding.run())
        assert await known(world.driver) == before, calls
        await process(world).folding.run()
        assert await known(world.driver) == before, calls
        await process(world).folding.run()
        for day in await PullRecords(world.driver).days():
            assert len(await objects(world, day)) == 1
        # Of who has died it is known that something is missing, at each moment.
        assert TODAY + 2 * DAY in (await coverage(PullRecords(world.driver), TODAY, now(world))).uncovered
    assert calls > 10


async def _dies(work: Coroutine[Any, Any, object]) -> bool:
    try:
        await work
    except Died:
        return True
    return False


async def recorded_and_folded(world: World) -> None:
    """What other processes do: one records what is of an old day, one folds, at any call of somebody else."""
    late = process(world)
    await late.recording.begin()
    late.pull()
    world.clock.advance(days=1)
    await late.recording.end()
    await process(world).folding.run()


async def test_two_folds_at_once_change_no_count() -> None:
    calls, is_interrupted = 0, True
    while is_interrupted:
        calls += 1
        world = await prepared()
        before = await known(world.driver)
        before[now(world).date(), "latest"] += 1

        async def act(world: World = world) -> None:
            await recorded_and_folded(world)

        driver = Interrupted(world.driver, calls, act)
        await process(world, driver).folding.run()
        is_interrupted = driver.left <= 0
        if is_interrupted:
            assert await known(world.driver) == before, calls
            world.clock.advance(days=1)
            await process(world).folding.run()
            assert await known(world.driver) == before, calls
    assert calls > 20


async def test_two_folds_at_once_that_see_others_record_change_no_count() -> None:
    """Each sees one more than the other, and both have read before either removes anything."""
    calls, is_interrupted = 0, True
    while is_interrupted:
        calls += 1
        world = World()
        one, two = process(world), process(world)
        for at in (one, two):
            await at.recording.begin()
            at.pull()
            await at.recording.record()
        world.clock.advance(minutes=20)
        driver, other = Interrupted(world.driver, calls, nothing), Interrupted(world.driver, 0, nothing)
        reached, released = asyncio.Event(), asyncio.Event()
        other.writes = lambda reached=reached, released=released: paused(reached, released)
        folds: list[asyncio.Task[object]] = []

        async def act(
            world: World = world,
            pair: tuple[Process, Process] = (one, two),
            other: Interrupted = other,
            reached: asyncio.Event = reached,
            folds: list[asyncio.Task[object]] = folds,
        ) -> None:
            for at, comes in ((pair[0], True), (pair[1], False)):
                at.pull()
                await at.recording.record()
                world.clock.advance(seconds=1)
                if comes:
                    folds.append(asyncio.create_task(process(world, other).folding.run()))
                    folds[0].add_done_callback(lambda _: reached.set())  # it had nothing to write
                    await reached.wait()

        driver.act = act
        await process(world, driver).folding.run()
        released.set()
        await asyncio.gather(*folds)
        is_interrupted = driver.left <= 0
        for _ in range(2):
            assert (await known(world.driver))[TODAY, "latest"] == (4 if is_interrupted else 2), calls
            world.clock.advance(days=1)
            await process(world).folding.run()
    assert calls > 10


async def paused(reached: asyncio.Event, released: asyncio.Event) -> None:
    """Say that it has come to a place, and wait."""
    reached.set()
    await released.wait()


async def nothing() -> None:
    """Nothing happens."""


async def test_what_is_written_again_is_not_passed_over(world: World) -> None:
    """Its time is that of the last time, and those behind it wait for it."""
    at = process(world)
    await at.recording.begin()
    day = now(world).date()
    for _ in range(3):
        at.pull()
        await at.recording.record()
    recorded = await known(world.driver)
    world.clock.advance(minutes=20)
    keys = [key for key in await world.keys(f"{DAYS}/{day}") if not key.endswith("-00000003")]
    again = next(key for key in keys if key.endswith("-00000002"))
    await world.driver.put(again, await world.driver.get(again, limit=9999))
    await process(world).folding.run()
    assert await known(world.driver) == recorded
    assert len(await objects(world, day)) == 3, "one is folded, two wait"
    world.clock.advance(minutes=20)
    await process(world).folding.run()
    assert await known(world.driver) == recorded
    assert len(await objects(world, day)) == 1


async def test_what_is_found_to_be_unknown_while_somebody_reads_is_told() -> None:
    calls, is_interrupted = 0, True
    while is_interrupted:
        calls += 1
        world = World()
        await process(world).recording.begin()
        await world.remove_all(await world.keys(UNCOVERED))
        await world.driver.put(f"{DAYS}/{TODAY}/00000000-00000001", b"no record")
        await world.remove_all(await world.keys(PROCESSES))
        world.clock.advance(days=1)

        async def act(world: World = world) -> None:
            await process(world).folding.run()

        driver = Interrupted(world.driver, calls, act)
        last = await last_pulls(PullRecords(cast(Driver, driver)), TODAY, now(world))
        assert last.uncovered_until == TODAY, calls
        is_interrupted = driver.left <= 0
    assert calls > 3


async def test_who_reads_while_others_fold_finds_all() -> None:
    calls, is_interrupted = 0, True
    while is_interrupted:
        calls += 1
        world = await prepared()
        before = await known(world.driver)

        async def act(world: World = world) -> None:
            await process(world).folding.run()

        driver = Interrupted(world.driver, calls, act)
        assert await known(cast(Driver, driver)) == before, calls
        is_interrupted = driver.left <= 0
    assert calls > 8


@pytest.mark.parametrize("after", [False, True])
async def test_a_process_that_dies_at_any_call_leaves_its_days_uncovered(after: bool) -> None:
    """Or all of its pulls are recorded: never neither."""
    calls, has_died = 0, True
    while has_died:
        calls += 1
        world = World()
        await process(world).recording.begin()
        world.clock.advance(days=3)
        mortal = Mortal(world, calls, after=after)
        one = process(world, mortal)

        async def serve(one: Process = one, world: World = world) -> None:
            await one.recording.begin()
            one.pull()
            world.clock.advance(minutes=4)
            await one.recording.record()
            one.pull()
            await one.recording.end()

        has_died = await _dies(serve())
        was_serving = one.registry.pulls.time > now(world) - timedelta(minutes=4) and calls > 3
        world.clock.advance(hours=2)
        for fold in (False, True):
            if fold:
                await process(world).folding.run()
            last = await last_pulls(PullRecords(world.driver), TODAY, now(world))
            day = last.of(NAME, TAG, None)
            is_uncovered = last.uncovered_until is not None and last.uncovered_until >= TODAY + 3 * DAY
            counted = (await known(world.driver))[TODAY + 3 * DAY, "latest"]
            assert counted == 2 or is_uncovered or not was_serving
            assert counted < 2 or day == TODAY + 3 * DAY
    assert calls > 5


async def test_the_dead_are_marked_and_forgotten(world: World) -> None:
    records = PullRecords(world.driver)
    (dead,) = await records.processes()
    assert dead.who == "two"
    before = (await coverage(records, TODAY, now(world))).uncovered
    # From its last word, on the third day of the year, to the day on which it was found.
    assert [str(day) for day in before] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    report = await process(world).folding.run()
    assert report.died == 1
    assert await world.keys(PROCESSES) == []
    assert (await coverage(records, TODAY, now(world))).uncovered == before
    assert b"two has died" in await world.driver.get(f"{UNCOVERED}/2026-01-03", limit=1000)


async def test_one_that_was_only_silent_is_there_again_when_it_speaks(world: World) -> None:
    silent = process(world, who="silent")
    await silent.recording.begin()
    silent.pull()
    day = now(world).date()
    world.clock.advance(days=1, hours=2)
    await process(world).folding.run()
    assert await world.keys(PROCESSES) == []
    await silent.recording.record()
    assert [one.who for one in await PullRecords(world.driver).processes()] == ["silent"]
    assert (await known(world.driver))[day, "latest"] == 1


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"no record\n",
        b"[]\n",
        b'{"repositories":1}\n',
        b'{"repositories":1}\n[1',
        b'{"repositories":1}\n7\n',
    ],
)
async def test_a_day_that_is_damaged_is_uncovered_and_the_rest_of_it_counts(
    world: World, damaged: bytes
) -> None:
    first = (await world.keys(DAYS))[0]
    before = await known(world.driver)
    await world.driver.put(f"{first.rpartition('/')[0]}/00000000-00000001", damaged)
    await world.remove_all([f"{UNCOVERED}/2026-01-01"])
    world.clock.advance(minutes=11)
    await process(world).folding.run()
    assert await known(world.driver) == before
    assert b"damaged" in await world.driver.get(f"{UNCOVERED}/2026-01-01", limit=1000)
    assert len(await objects(world, TODAY)) == 1


async def test_old_days_go_and_that_they_are_gone_is_known(world: World) -> None:
    records = PullRecords(world.driver)
    days = await records.days()
    world.clock.now = world.clock.now.replace(hour=1) + KEEP - timedelta(days=1)
    await world.remove_all(await world.keys(UNCOVERED))
    await world.remove_all(await world.keys(PROCESSES))
    report = await process(world).folding.run()
    assert report.expired == len([day for day in days if day < now(world).date() - KEEP]) > 0
    left = await records.days()
    assert left == [day for day in days if day >= now(world).date() - KEEP]
    gone = max(day for day in days if day not in left)
    last = await last_pulls(records, TODAY, now(world))
    assert last.uncovered_until is not None and last.uncovered_until >= gone
    assert min(await records.uncovered()) == gone
    world.clock.advance(days=30)
    await process(world).folding.run()
    assert await records.days() == []
    assert (await records.uncovered())[-1] >= max(days)


async def test_passes_are_made_by_one_process_an_hour(world: World) -> None:
    reports: Callable[[], Coroutine[Any, Any, list[str]]] = lambda: world.keys(layout.reports("pulls"))  # noqa: E731
    one, two = process(world), process(world)
    had = len(await reports())
    await one.folding.if_due()
    await two.folding.if_due()
    assert len(await reports()) == had + 1
    world.clock.advance(minutes=61)
    await two.folding.if_due()
    assert len(await reports()) == had + 2
    world.clock.advance(minutes=61)
    two.registry.read_only = True
    await two.folding.if_due()
    assert len(await reports()) == had + 2
    with pytest.raises(ReadOnly):
        await two.folding.run()


async def test_a_clock_that_was_wrong_for_once_does_not_end_all_passes(world: World) -> None:
    had = len(await world.keys(layout.reports("pulls")))
    world.clock.advance(days=3650)
    await process(world).folding.if_due()
    world.clock.advance(days=-3650)
    for number in range(3):
        await process(world).folding.if_due()
        await process(world).folding.if_due()
        keys = sorted(await world.keys(layout.reports("pulls")))
        told = int(keys[-1].rpartition("/")[2].partition("-")[0]) / 1e9
        assert told == world.clock.now.timestamp() and len(keys) == had + number + 1
        world.clock.advance(hours=1)


Act = tuple[str, int, int]
ACTS = st.tuples(
    st.sampled_from(["pull", "record", "die", "fail", "fold", "fold and die", "end", "wait", "wait long"]),
    st.integers(0, 1),
    st.integers(1, 12),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTS, max_size=40))
async def test_whatever_happens_each_pull_counts_once_or_its_day_is_uncovered(acts: list[Act]) -> None:
    """Of those who died a part may be missing; nothing ever counts twice, nor on another day."""
    await _play(acts)


async def _play(acts: list[Act]) -> None:
    world = World()
    answered: dict[tuple[date, str], int] = {}
    doubtful: set[date] = set()
    processes: list[tuple[Process, list[date]]] = []

    async def start() -> tuple[Process, list[date]]:
        one = process(world)
        await one.recording.begin()
        return one, []

    processes = [await start(), await start()]

    async def record(at: int, calls: int = 0, *, after: bool = False) -> None:
        """Record; with `calls`, the store fails from that call on."""
        one, unrecorded = processes[at]
        driver = one.registry.store.driver
        if calls:
            one.registry.store.driver = Mortal(world, calls, after=after)
        try:
            await one.recording.record()
            unrecorded.clear()
        except Died:
            pass
        finally:
            one.registry.store.driver = driver

    for what, at, number in acts:
        one, unrecorded = processes[at]
        if what == "pull":
            tag = Tag(f"v{number % 3}")
            one.pull(tag, times=number)
            key = (now(world).date(), str(tag))
            answered[key] = answered.get(key, 0) + number
            unrecorded.append(now(world).date())
        elif what == "record":
            await record(at)
        elif what == "fail":
            await record(at, number, after=number % 2 == 0)
        elif what == "die":
            doubtful.update(unrecorded)
            processes[at] = await start()
        elif what == "end":
            await one.recording.end()
            processes[at] = await start()
        elif what == "fold":
            await process(world).folding.run()
        elif what == "fold and die":
            await _dies(process(world, Mortal(world, number, after=at == 0)).folding.run())
        else:
            world.clock.advance(minutes=7 if what == "wait" else 60 * 13)
    for at in range(2):
        await record(at)
    found = await known(world.driver)
    for key, times in answered.items():
        assert found[key] <= times
        assert found[key] == times or key[0] in doubtful
    assert set(found) <= set(answered)
    world.clock.advance(hours=2)
    for at in range(2):
        await record(at)
    records = PullRecords(world.driver)
    for _ in range(2):
        covered = await coverage(records, TODAY, now(world))
        assert doubtful <= set(covered.uncovered)
        await process(world).folding.run()
        world.clock.advance(days=1)
        for at in range(2):
            await record(at)
    assert await known(world.driver) == found
