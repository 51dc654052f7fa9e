"""Who collects: one process at a time, which another replaces when it dies; and the trash emptied."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import Any, cast

import pytest
from pydantic import ValidationError

from registry.core.registry import Registry
from registry.errors import ReadOnly, TooManyRequests, Unsupported
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.store import layout
from registry.store.blocked import Block
from registry.store.store import Store
from registry.upkeep.collecting import Collecting
from registry.upkeep.gc_operations import Collections
from registry.upkeep.reports import Collection, Reports
from registry.upkeep.settings import UpkeepSettings
from storage.contract import Driver
from storage.errors import Forbidden, Unavailable
from tests.durability.reader import unneeded
from tests.inmemory import NAME, World, image
from tests.upkeep.gathering import LATER, Stopped, another, lies, tree

LAYER = Digest.of(b"layer")
SECONDS = 0.001  # how long a lease outlives the silence of its holder, by clocks that tests make tick


@pytest.fixture
async def world() -> World:
    """Ten repositories with an unneeded blob each, old enough to go."""
    world = World()
    await world.push(image("one"))
    for number in range(10):
        await world.blob(b"unneeded", RepositoryName(f"team/{number}"))
    world.clock.advance(seconds=LATER.total_seconds())
    return world


def process(
    world: World, who: str = "one", registry: Registry | None = None, tick: float = 0.2, **settings: Any
) -> Collecting:
    """A process that collects; each look at its clock makes `tick` of the lease's time pass there."""
    now = itertools.count(step=tick * SECONDS)
    gc = {"requests_per_second": 0, **settings.pop("gc", {})}
    upkeep = UpkeepSettings.model_validate({"gc": gc, **settings})
    chosen = registry or world.registry
    return Collecting(lambda: chosen, upkeep, who=who, lease_seconds=SECONDS, clock=lambda: next(now))


async def run(collecting: Collecting) -> Collection:
    """A whole run."""
    reports = [report async for report in collecting.run("tester")]
    return reports[-1]


async def test_a_run_leaves_a_report_and_lets_go_of_the_lease(world: World) -> None:
    report = await run(process(world))
    assert (report.links_taken, report.blobs_taken, report.resumed) == (10, 1, 0)
    assert report.phase == "done" and report.by == "tester"
    assert await Reports(world.store).last(10) == [report]
    assert await process(world, "two").leased.lease().holder() is None
    assert unneeded(await tree(world)) == []
    # The look at the store's clock leaves nothing behind.
    assert await world.keys(layout.INTENTS) == []


async def test_a_run_in_the_middle_is_told_and_keeps_others_away(world: World) -> None:
    first = cast(AsyncGenerator[Collection, None], process(world, "first").run("tester"))
    assert (await anext(first)).phase == "links"
    # By its own clock hardly any time passes; it sees the other speak.
    waiting = asyncio.create_task(run(process(world, "second", tick=0.0)))
    while not waiting.done():
        await anext(first)
        for _ in range(10):
            await asyncio.sleep(SECONDS / 10)
    with pytest.raises(TooManyRequests, match=r"^first \(.*\) is collecting already"):
        await waiting
    await first.aclose()


async def test_a_dead_process_is_followed_by_another_that_finishes_its_report(world: World) -> None:
    """Neither says a word after its death, nor lets go of anything."""
    dead = cast(AsyncGenerator[Collection, None], process(world, "dead").run("its own"))
    for _ in range(4):
        await anext(dead)
    report = await run(process(world, "other"))
    assert (report.resumed, report.by, report.phase) == (1, "its own", "done")
    assert report.blobs_taken == 1
    assert len(await Reports(world.store).last(10)) == 1
    assert unneeded(await tree(world)) == []
    # It was not dead but slow: it finds out, and changes nothing any more.
    before = {key: data for key, data in (await tree(world)).items() if layout.leases("gc") not in key}
    with pytest.raises(TooManyRequests, match=r"another process is .* now, since this one was silent"):
        async for _ in dead:
            pass
    lease = layout.leases("gc")
    assert {key: data for key, data in (await tree(world)).items() if lease not in key} == before
    assert await process(world).leased.lease().holder() is None


async def test_the_schedule_collects_when_it_is_due_and_not_sooner(world: World) -> None:
    one, two = process(world, "one"), process(world, "two")
    await one.if_due()
    await two.if_due()
    (report,) = await Reports(world.store).last(10)
    assert report.by == "schedule" and report.links_taken == 10
    world.clock.advance(hours=23, minutes=59)
    await two.if_due()
    assert len(await Reports(world.store).last(10)) == 1
    world.clock.advance(minutes=1)
    await two.if_due()
    await one.if_due()
    assert len(await Reports(world.store).last(10)) == 2


async def test_a_clock_that_was_wrong_for_once_does_not_end_all_collections(world: World) -> None:
    world.clock.advance(days=3650)
    await process(world).if_due()
    world.clock.advance(days=-3650)
    for number in range(3):
        await process(world).if_due()
        await process(world).if_due()
        reports = await Reports(world.store).last(10)
        # Nobody takes the one of the future for the newest any more.
        assert [one.began for one in reports] == sorted((one.began for one in reports), reverse=True)
        assert reports[0].began == world.clock.now and len(reports) == number + 1
        world.clock.advance(days=1)


async def test_the_schedule_goes_on_where_another_process_has_died(world: World) -> None:
    dead = cast(AsyncGenerator[Collection, None], process(world, "dead").run("its own"))
    for _ in range(4):
        await anext(dead)
    other = process(world, "other")
    await other.if_due()
    (report,) = await Reports(world.store).last(10)
    assert (report.resumed, report.phase) == (1, "done")
    with pytest.raises(TooManyRequests):
        await anext(dead)


async def test_the_schedule_does_nothing_where_it_must_not(world: World) -> None:
    await process(world, gc={"enabled": False}).if_due()
    reading = world.process()
    reading.read_only = True
    await process(world, registry=reading).if_due()
    assert await Reports(world.store).last(10) == []
    assert await world.keys(layout.LEASES) == []
    with pytest.raises(ReadOnly):
        await run(process(world, registry=reading))


async def test_a_run_ends_where_the_store_becomes_read_only_and_goes_on_later(world: World) -> None:
    going = cast(AsyncGenerator[Collection, None], process(world).run("tester"))
    await anext(going)
    world.registry.read_only = True
    with pytest.raises(ReadOnly):
        async for _ in going:
            pass
    world.registry.read_only = False
    report = await run(process(world))
    assert (report.resumed, report.phase) == (1, "done")
    assert unneeded(await tree(world)) == []


async def test_a_rehearsal_needs_no_lease_and_leaves_nothing(world: World) -> None:
    going = cast(AsyncGenerator[Collection, None], process(world, "first").run("tester"))
    await anext(going)
    before = await tree(world)
    # By the process's own clock, since asking the store's would write.
    reading = world.process()
    reading.read_only = True
    rehearsals = [one async for one in process(world, registry=reading).rehearse("tester")]
    assert rehearsals[-1].ended and rehearsals[-1].dry_run
    assert rehearsals[-1].links_taken == 9
    assert await tree(world) == before
    await going.aclose()


async def test_several_requests_at_once_do_the_same(world: World) -> None:
    """The store of a collection has effects that go on together, here over a driver that takes its time."""
    under_way = most = 0

    class Slow:
        def __init__(self, inner: Driver) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        async def stat(self, key: str) -> Any:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1
            return await self._inner.stat(key)

    for number in range(100):
        await world.blob(f"unneeded {number}".encode())
    world.clock.advance(seconds=LATER.total_seconds())
    registry = world.process()
    registry.store = another(world, Slow(world.driver))
    report = await run(process(world, registry=registry))
    assert (report.links_taken, report.blobs_taken) == (110, 101)
    assert unneeded(await tree(world)) == []
    assert await lies(world, image("one"))
    assert most == 16


async def test_what_fails_among_several_ends_the_run_and_it_is_gone_on_with(world: World) -> None:
    failing = True

    class Failing:
        def __init__(self, inner: Driver) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        async def copy(self, key: str, source: str) -> None:
            if failing and f"/{LAYER.encoded}/" in key:
                raise Stopped
            await self._inner.copy(key, source)

    await world.repository().delete_manifest(Digest.of(image("one")))
    registry = world.process()
    registry.store = another(world, Failing(world.driver))
    with pytest.raises(Stopped):
        await run(process(world, registry=registry))
    failing = False
    report = await run(process(world, registry=registry))
    assert (report.resumed, report.phase) == (1, "done")
    assert unneeded(await tree(world)) == []


async def test_how_far_a_run_got_that_the_storage_ended_is_told(world: World) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.driver, name)

        def walk(self, prefix: str, **how: Any) -> Any:
            if prefix == layout.BLOBS:
                raise Unavailable(prefix, "the disk says no")
            return world.driver.walk(prefix, **how)

    registry = world.process()
    registry.store = another(world, Broken())
    with pytest.raises(Unavailable):
        await run(process(world, registry=registry))
    (report,) = await Reports(world.store).last(10)
    assert (report.phase, report.links_taken, report.ended) == ("data", 10, None)
    assert (await run(process(world))).resumed == 1


async def test_what_was_purged_and_may_not_be_removed_keeps_nothing_waiting(world: World) -> None:
    class Refusing:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.driver, name)

        async def delete(self, keys: Sequence[str], **how: Any) -> None:
            if layout.blob_data(LAYER) in keys:
                raise Forbidden(layout.blob_data(LAYER), "not yours")
            await world.driver.delete(keys, **how)

    registry = world.process()
    registry.store = another(world, Refusing())
    await registry.store.blocked.put(Block((LAYER,), "somebody", world.clock.now, "a key"))
    report = await run(process(world, registry=registry))
    assert report.ended and report.links_taken == 10, "all that nothing needs"
    (trouble,) = report.troubles
    assert trouble.content == layout.blob_data(LAYER) and "cannot be removed: not yours" in trouble.problem


async def test_the_status_tells_what_each_run_took(world: World) -> None:
    for _ in range(2):
        await run(process(world))
    told = Collections(None, None, await Reports(world.store).last(10)).told().splitlines()
    assert [line for line in told if "into the trash" in line] == [
        "  took 0 blob links and 0 blobs (0B) into the trash",
        "  took 10 blob links and 1 blobs (8B) into the trash",
    ]


class Dying:
    """A driver whose process dies as soon as it has taken a blob link away; a push came just before."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world.driver, name)

    async def delete(self, keys: Sequence[str], **how: Any) -> None:
        if layout.layer_link(NAME, LAYER) in keys:
            await self._world.push_alone(image("new"))
            await self._world.driver.delete(keys, **how)
            raise Stopped
        await self._world.driver.delete(keys, **how)


async def test_a_link_that_a_dead_run_had_away_comes_back_by_the_next() -> None:
    """Also where no server looks for such every hour, and none does for long."""
    world = World()
    for content in (b"{}", b"layer"):
        await world.blob(content)
    world.clock.advance(seconds=LATER.total_seconds())
    registry = world.process()
    registry.store = another(world, Dying(world))
    with pytest.raises(Stopped):
        await run(process(world, registry=registry))
    assert not await lies(world, image("new"))
    assert (await world.repository().blob(LAYER, may_push=False)).size_bytes == 5
    world.clock.advance(days=30)
    await run(process(world))
    assert await lies(world, image("new"))
    assert await world.keys(layout.TRASH_OPEN) == []


async def test_what_was_not_finished_stays_in_the_trash(world: World) -> None:
    await run(process(world))
    records = await world.driver.children(layout.TRASH_RUNS)
    for record in records:
        # It cannot be finished: what it says cannot be read.
        await world.driver.put(layout.trash_open(record), b'{"repository":"team/0","moves":[]}')
    world.clock.advance(days=30)
    for record in records:
        await world.driver.put(layout.trash_open(record), b'{"repository":"team/0","moves":[]}')
    emptied = await process(world).empty(everything=False)
    assert emptied.count == 0
    assert await world.driver.children(layout.TRASH_RUNS) == records


async def test_the_trash_is_emptied_of_what_is_older_than_a_day(world: World) -> None:
    await run(process(world))
    emptied = await process(world).empty(everything=False)
    assert (emptied.count, emptied.size_bytes) == (0, 0)
    world.clock.advance(days=1, seconds=1)
    await world.repository().delete_manifest(Digest.of(image("one")))
    before = await tree(world)
    emptied = await process(world).empty(everything=False, dry_run=True)
    assert (emptied.count, emptied.size_bytes) == (11, 8)
    assert await tree(world) == before
    emptied = await process(world).empty(everything=False)
    assert (emptied.count, emptied.size_bytes) == (11, 8)
    # What was deleted just now is still there.
    assert len(await world.keys(layout.TRASH_RUNS)) == 1


async def test_removals_of_one_repository_are_judged_by_one_look_at_its_manifests(world: World) -> None:
    for number in range(20):
        await world.push(image(f"kept {number}"))
    for number in range(12):
        await world.blob(b"unneeded %d" % number)
        world.clock.advance(seconds=LATER.total_seconds())
        await run(process(world, trash={"keep_for": "30d"}))
    world.clock.advance(days=2)
    before = world.counted.calls["get"]
    emptied = await process(world).empty(everything=False)
    assert emptied.count == 10 + 2 * 12  # of the ten repositories; of this one and of data, each time
    # A link and its bytes for each manifest, and the record of each removal; not all for each removal.
    assert world.counted.calls["get"] - before < 2 * 21 + 2 * emptied.count


async def test_all_of_the_trash_is_emptied_only_while_the_store_is_read_only(world: World) -> None:
    await run(process(world))
    # The one reader that is not in the mark: its data alone lies in the trash.
    await world.driver.copy(f"{layout.trash_data(LAYER)}/c-dead", layout.blob_data(LAYER))
    await world.remove_all([layout.blob_data(LAYER)])
    with pytest.raises(Unsupported, match="storage read-only on"):
        await process(world).empty(everything=True)
    assert await world.keys(layout.TRASH_DATA)
    await world.store.marks.set_read_only(on=True)
    world.registry.read_only = True
    with pytest.raises(Unsupported, match="less than 10 seconds"):
        await process(world).empty(everything=True)
    world.clock.advance(seconds=11)
    emptied = await process(world).empty(everything=True)
    assert (emptied.count, emptied.size_bytes, emptied.put_back) == (11, 8, 1)
    assert await world.keys(layout.TRASH_RUNS) == []
    assert await lies(world, image("one"))
    with pytest.raises(ReadOnly):
        await process(world).empty(everything=False)


def test_the_settings_refuse_what_would_lose_pushes() -> None:
    for settings in (
        {"gc": {"grace_period": "59m"}},
        {"trash": {"keep_for": "23h"}},
        {"gc": {"interval": "59s"}},
        {"gc": {"requests_per_second": -1}},
    ):
        with pytest.raises(ValidationError):
            UpkeepSettings.model_validate(settings)
    assert UpkeepSettings().trash.keep_for == timedelta(days=7)


def test_a_collection_sees_nothing_that_is_remembered(world: World) -> None:
    """No cache of manifests or blobs decides what is there."""
    store = process(world).store()
    assert isinstance(store, Store)
    assert store.manifests._cache._budget == 0
