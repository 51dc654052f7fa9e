"""Scrubs: what is damaged is found and set aside, healed where possible; who scrubs, when, and how fast."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import pytest

from registry.core.registry import Registry
from registry.errors import BlobUnknown, ManifestUnknown, ReadOnly, StorageDamaged, TooManyRequests
from registry.model.digests import Digest
from registry.model.media_types import OCI_ARTIFACT
from registry.model.names import RepositoryName
from registry.store import layout, parsing
from registry.store.store import Store
from registry.upkeep.scrub_operations import Scrubs, ShowScrubs, operations
from registry.upkeep.scrub_reports import Scrub, ScrubReports
from registry.upkeep.scrubbing import Scrubbing
from registry.upkeep.settings import ScrubSettings
from registry.work.operations import Context, Result, Status
from storage.errors import Unavailable
from tests.inmemory import NAME, World, image
from tests.upkeep.gathering import Stopped, another, tree

LAYER = Digest.of(b"layer")
DATA = layout.blob_data(LAYER)
OTHER = RepositoryName("team/other")
SECONDS = 0.001  # how long a lease outlives the silence of its holder, by clocks that tests make tick
OURS = (layout.LEASES, layout.REPORTS)


@pytest.fixture
async def world() -> World:
    """An image in each of two repositories."""
    world = World()
    await world.push(image("one"))
    await world.push(image("two"), name=OTHER)
    return world


def process(
    world: World, who: str = "one", registry: Registry | None = None, tick: float = 0.2, **settings: Any
) -> Scrubbing:
    """A process that scrubs; each look at its clock makes `tick` of the lease's time pass there."""
    now = itertools.count(step=tick * SECONDS)
    chosen = registry or world.registry
    scrub = ScrubSettings.model_validate({"bytes_per_second": "0B", **settings})
    return Scrubbing(
        lambda: chosen, scrub, who=who, scheduled=True, lease_seconds=SECONDS, clock=lambda: next(now)
    )


async def run(scrubbing: Scrubbing) -> Scrub:
    """A whole run."""
    return [report async for report in scrubbing.run("tester")][-1]


def begun(scrubbing: Scrubbing) -> AsyncGenerator[Scrub, None]:
    """A run, to be gone on with step by step."""
    return cast(AsyncGenerator[Scrub, None], scrubbing.run("tester"))


async def content(world: World) -> dict[str, bytes]:
    """All but what scrubs keep of themselves."""
    return {key: data for key, data in (await tree(world)).items() if not key.startswith(OURS)}


async def spoil(world: World, key: str, data: bytes = b"lay3r") -> None:
    """Let other bytes lie there."""
    await world.driver.put(key, data)


async def pulled(world: World, digest: Digest = LAYER, name: RepositoryName = NAME) -> bytes:
    """What a pull of a blob gets."""
    async with world.registry.repository(name, "tester").open_blob(digest) as opened:
        return b"".join([piece async for piece in opened.chunks()])


async def test_all_that_is_sound_stays_as_it_is(world: World) -> None:
    whole = await push_whole(world)
    before = await content(world)
    report = await run(process(world))
    assert report.ended and report.damaged == [] and not report.after
    # Two images of a config and a layer that they share, and the whole manifest.
    assert report.objects == 5
    sizes = {key: len(data) for key, data in before.items() if parsing.digest_of(key)}
    assert layout.whole_manifest(NAME, whole) in sizes and len(sizes) == 5
    assert report.bytes_read == sum(sizes.values())
    assert await content(world) == before
    assert await ScrubReports(world.store).last(10) == [report]
    assert await process(world, "two").leased.lease().holder() is None


async def test_a_damaged_blob_is_set_aside_and_not_served_and_healed_by_a_push(world: World) -> None:
    await spoil(world, DATA)
    assert await pulled(world) == b"lay3r", "nobody hashes what a pull gets"
    report = await run(process(world))
    (one,) = report.damaged
    assert (one.content, one.key, one.outcome) == (str(LAYER), DATA, "set aside")
    assert one.repositories == ["team/app", "team/other"]
    for name in (NAME, OTHER):
        with pytest.raises(BlobUnknown, match="push it again"):
            await pulled(world, name=name)
    (kept,) = await world.keys(f"_moorage/v1/quarantine/sha256/{LAYER.encoded}")
    assert await world.driver.get(kept, limit=10) == b"lay3r"
    await world.blob(b"layer", OTHER)
    assert await pulled(world) == b"layer"
    assert (await run(process(world))).damaged == []


async def test_a_damaged_manifest_is_set_aside_and_healed_by_a_push(world: World) -> None:
    manifest = Digest.of(image("one"))
    await spoil(world, layout.blob_data(manifest))
    (one,) = (await run(process(world))).damaged
    assert (one.content, one.outcome, one.repositories) == (str(manifest), "set aside", ["team/app"])
    with pytest.raises(StorageDamaged, match="push it again"):
        await world.repository().manifest(manifest)
    await world.push_alone(image("one"))
    assert (await world.repository().manifest(manifest)).content == image("one")


async def push_whole(world: World) -> Digest:
    """Push a manifest that Distribution would refuse; its digest."""
    data = json.dumps({"mediaType": OCI_ARTIFACT, "artifactType": "application/x-own"}).encode()
    await world.repository().push_manifest(Digest.of(data), data, OCI_ARTIFACT, [])
    return Digest.of(data)


@pytest.mark.parametrize("spoilt", ["type", "bytes"])
async def test_a_damaged_manifest_that_lies_whole_is_set_aside_and_healed_by_a_push(
    world: World, spoilt: str
) -> None:
    whole = await push_whole(world)
    key = layout.whole_manifest(NAME, whole)
    data = await world.driver.get(key, limit=1 << 20)
    await spoil(world, key, b"\xff" + data[1:] if spoilt == "type" else data[:-1] + b"!")
    (one,) = (await run(process(world))).damaged
    assert (one.content, one.key, one.outcome) == (str(whole), key, "set aside")
    assert one.repositories == ["team/app"]
    with pytest.raises(ManifestUnknown):
        await world.repository().manifest(whole)
    assert await push_whole(world) == whole
    assert await world.driver.get(key, limit=1 << 20) == data


async def test_a_sound_copy_in_the_trash_is_put_back_and_a_damaged_one_set_aside(world: World) -> None:
    trash = layout.trash_data(LAYER)
    await spoil(world, f"{trash}/c-1", b"l4yer")
    await spoil(world, f"{trash}/c-2", b"layer")
    await spoil(world, DATA)
    report = await run(process(world))
    assert {one.key: one.outcome for one in report.damaged} == {
        f"{trash}/c-1": "set aside",
        DATA: "put back",
    }
    assert await pulled(world) == b"layer"
    assert await world.keys(trash) == [f"{trash}/c-2"]
    assert len(await world.keys("_moorage/v1/quarantine")) == 2


async def test_a_damaged_copy_in_the_trash_does_not_come_back(world: World) -> None:
    """It was taken between the look at the trash and that at the data: a pull would bring it back."""
    trash = layout.trash_data(LAYER)
    await spoil(world, DATA)
    going = begun(process(world))
    report = await anext(going)
    assert report.after > layout.TRASH_DATA
    await spoil(world, f"{trash}/c-1", b"l4yer")
    async for _ in going:
        pass
    with pytest.raises(BlobUnknown):
        await pulled(world)
    assert await world.keys(trash) == []


async def test_a_link_of_distribution_by_another_digest_is_told_too(world: World) -> None:
    await world.store.links.put_alias(OTHER, Digest.of(b"more", "sha512"), Digest.of(b"more"))
    await spoil(world, layout.blob_data(Digest.of(b"more")))
    (one,) = (await run(process(world))).damaged
    assert one.repositories == ["team/other"]


async def test_a_dry_run_tells_and_changes_nothing_also_while_nobody_may_write(world: World) -> None:
    await spoil(world, DATA)
    await spoil(world, f"{layout.trash_data(LAYER)}/c-1", b"l4yer")
    reading = world.process()
    reading.read_only = True
    scrubbing = process(world, registry=reading)
    before = await tree(world)
    report = [one async for one in scrubbing.rehearse("tester")][-1]
    assert [one.outcome for one in report.damaged] == ["left", "left"]
    assert report.ended and report.damaged[1].repositories == ["team/app", "team/other"]
    # By what it is called, as the run itself does.
    told = [line.strip() for line in report.told().splitlines()[2:]]
    assert told == [f"{LAYER} in the trash: damaged", f"{LAYER}: damaged; linked by team/app, team/other"]
    with pytest.raises(ReadOnly):
        await run(scrubbing)
    await scrubbing.if_due()
    assert await tree(world) == before


class Odd:
    """A driver that gives an object's bytes as `data` says, or fails with it."""

    def __init__(self, world: World, key: str, data: bytes | Exception) -> None:
        self._world = world
        self._key = key
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world.driver, name)

    @asynccontextmanager
    async def open(self, key: str, *where: Any) -> Any:
        if key == self._key:
            data, self._data = self._data, b"layer"
            if isinstance(data, Exception):
                self._data = data
                raise data
            await self._world.driver.put("odd", data)
            key = "odd"
        async with self._world.driver.open(key, *where) as opened:
            yield opened


def through(world: World, driver: Any) -> Registry:
    """A process that sees the store through another driver."""
    registry = world.process()
    registry.store = another(world, driver)
    return registry


async def test_what_was_only_misread_stays(world: World) -> None:
    report = await run(process(world, registry=through(world, Odd(world, DATA, b"lay3r"))))
    assert [one.outcome for one in report.damaged] == ["replaced"]
    assert await pulled(world) == b"layer"
    assert await world.keys("_moorage/v1/quarantine") == []


async def test_what_the_storage_cannot_read_is_told_and_the_rest_is_verified(world: World) -> None:
    failing = Odd(world, DATA, Unavailable(DATA, "the disk cannot read it"))
    report = await run(process(world, registry=through(world, failing)))
    (one,) = report.damaged
    assert (one.outcome, one.repositories) == ("unreadable", ["team/app", "team/other"])
    assert report.objects == 4 and await pulled(world) == b"layer"


async def test_a_storage_that_does_not_answer_is_no_damage(world: World) -> None:
    class Away(Odd):
        async def stat(self, key: str) -> Any:
            if key == DATA:
                raise Unavailable(key, "no answer")
            return await world.driver.stat(key)

    away = Away(world, DATA, Unavailable(DATA, "no answer"))
    with pytest.raises(Unavailable):
        await run(process(world, registry=through(world, away)))
    report = await run(process(world))
    assert (report.resumed, report.damaged) == (1, [])


async def test_what_a_dead_process_has_verified_is_not_read_again(world: World) -> None:
    dead = begun(process(world, "dead"))
    first = await anext(dead)
    # By its own clock half a minute has passed, and the report was saved.
    key, _ = await saved(world)
    await ScrubReports(world.store).save(key, first)
    await spoil(world, DATA)
    report = await run(process(world, "other"))
    assert (report.resumed, report.objects, report.by) == (1, 4, "tester")
    assert [one.content for one in report.damaged] == [str(LAYER)]
    total = sum(len(data) for at, data in (await tree(world)).items() if at.startswith(layout.BLOBS))
    # The damaged one, which was set aside, has been read twice.
    assert report.bytes_read == total + 2 * 5
    with pytest.raises(TooManyRequests, match=r"another process is .* now, since this one was silent"):
        async for _ in dead:
            pass
    assert len(await ScrubReports(world.store).last(10)) == 1


async def saved(world: World) -> tuple[str, Scrub]:
    """The report that the store has."""
    newest = await ScrubReports(world.store).newest()
    assert newest is not None
    return newest


async def test_a_report_is_saved_every_half_minute(world: World) -> None:
    going = begun(process(world, tick=40 / SECONDS))
    with pytest.raises(TooManyRequests):
        # Its lease lives by the same clock; another takes it.
        await anext(going)
        await anext(going)
        assert (await saved(world))[1].objects == 1
        await run(process(world, "other"))
        await anext(going)


class Dying:
    """A driver whose process dies as soon as damaged data is away, or just before it is looked at again."""

    def __init__(self, world: World, before: bool) -> None:
        self._world = world
        self._before = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world.driver, name)

    async def stat(self, key: str) -> Any:
        if self._before and key == DATA:
            raise Stopped
        return await self._world.driver.stat(key)

    async def delete(self, keys: Any, **how: Any) -> None:
        await self._world.driver.delete(keys, **how)
        if DATA in keys:
            raise Stopped


@pytest.mark.parametrize("before", [False, True])
async def test_what_a_dead_process_has_just_found_is_put_back_and_told_once(
    world: World, before: bool
) -> None:
    await spoil(world, f"{layout.trash_data(LAYER)}/c-1", b"layer")
    await spoil(world, DATA)
    with pytest.raises(Stopped):
        await run(process(world, registry=through(world, Dying(world, before))))
    assert (DATA in await world.keys()) == before
    report = await run(process(world))
    assert [(one.content, one.outcome) for one in report.damaged] == [(str(LAYER), "put back")]
    assert DATA in await world.keys() and await pulled(world) == b"layer"


async def test_one_process_scrubs_at_a_time(world: World) -> None:
    first = begun(process(world, "first"))
    await anext(first)
    waiting = asyncio.create_task(run(process(world, "second", tick=0.0)))
    lease = process(world, "first").leased.lease()
    while not waiting.done():
        await world.driver.put(
            "/".join((layout.leases("scrub"), (await world.driver.children(layout.leases("scrub")))[-1])),
            json.dumps({"holder": "first", "number": next(_COUNT), "released": False}).encode(),
        )
        await asyncio.sleep(SECONDS / 10)
    with pytest.raises(TooManyRequests, match=r"^first is scrubbing already; `moorage scrub status`"):
        await waiting
    holder = await lease.holder()
    assert holder is not None and holder.who == "first"
    await first.aclose()


_COUNT = itertools.count(100)


async def test_the_schedule_scrubs_when_it_is_due_and_not_sooner(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await spoil(world, DATA)
    await process(world, "one").if_due()
    await process(world, "two").if_due()
    (report,) = await ScrubReports(world.store).last(10)
    assert report.by == "schedule" and len(report.damaged) == 1
    assert [one.message for one in caplog.records] == ["scrub.damaged", "scrub.ended"]
    world.clock.advance(days=29, hours=23)
    await process(world).if_due()
    assert len(await ScrubReports(world.store).last(10)) == 1
    world.clock.advance(hours=1)
    await process(world).if_due()
    assert len(await ScrubReports(world.store).last(10)) == 2


async def test_whether_it_is_due_goes_by_the_clock_of_the_store(world: World) -> None:
    await process(world, "one").if_due()
    ahead = world.clock.now + timedelta(days=400)
    world.store.effects = dataclasses.replace(world.store.effects, now=lambda: ahead)
    await process(world, "ahead").if_due()
    assert len(await ScrubReports(world.store).last(10)) == 1


async def test_a_clock_that_was_wrong_for_once_does_not_end_all_scrubs(world: World) -> None:
    world.clock.advance(days=3650)
    await process(world).if_due()
    world.clock.advance(days=-3650)
    for number in range(3):
        await process(world).if_due()
        await process(world).if_due()
        reports = await ScrubReports(world.store).last(10)
        assert reports[0].began == world.clock.now and len(reports) == number + 1
        world.clock.advance(days=30)


async def test_the_schedule_goes_on_where_another_has_stopped(world: World) -> None:
    stopped = begun(process(world, "stopped"))
    await anext(stopped)
    await stopped.aclose()
    await process(world, "other").if_due()
    (report,) = await ScrubReports(world.store).last(10)
    assert report.resumed == 1 and report.ended


async def test_only_whom_the_settings_name_scrubs_unasked(world: World) -> None:
    scrubbing = process(world)
    scrubbing.scheduled = False
    await scrubbing.if_due()
    assert await ScrubReports(world.store).last(10) == []


async def test_it_reads_no_faster_than_it_may_and_stays_alive_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    world = World()
    await world.blob(bytes(4 << 20))
    settings = ScrubSettings.model_validate({"bytes_per_second": "10KiB"})
    one, two = (
        Scrubbing(lambda: world.registry, settings, who=who, scheduled=True, clock=lambda: now)
        for who in ("one", "two")
    )
    lease = two.leased.lease()
    was_free = []
    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        nonlocal now
        if seconds > 10:
            await asyncio.Event().wait()  # the beat beside the work, which this one need not rely on
        if seconds > 0:
            was_free.append(await lease.acquire())
            now += seconds
            was_free.append(await lease.acquire())
        await real_sleep(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert (await run(one)).bytes_read == 4 << 20
    assert now == pytest.approx((4 << 20) / (10 << 10), rel=0.01)
    # A piece takes longer than a silence for which the lease is lost.
    assert len(was_free) > 1 and not any(was_free)


async def test_it_reads_past_any_cache_and_remembers_nothing(world: World) -> None:
    near = world.process()
    near.store = Store(
        cast(Any, Odd(world, DATA, b"lay3r")),
        world.store.effects,
        manifest_cache_bytes=0,
        beneath=world.driver,
    )
    assert (await run(process(world, registry=near))).damaged == []


async def status(world: World) -> Scrubs:
    """What an operator is shown."""
    (shown,) = [one for one in operations(lambda: process(world)) if one.name == "scrub.status"]
    (result,) = [one async for one in shown.run(ShowScrubs(), Context("tester"))]
    assert isinstance(result, Result) and isinstance(result.value, Scrubs)
    return result.value


async def test_the_status_says_how_much_was_verified_when(world: World) -> None:
    assert (await status(world)).told().splitlines() == [
        "nobody scrubs at the moment",
        "all content verified since: never",
    ]
    began = world.clock.now
    await run(process(world))
    world.clock.advance(days=1)
    await spoil(world, DATA)
    going = begun(process(world, "first"))
    await anext(going)
    shown = await status(world)
    assert shown.holder is not None and shown.holder.startswith("first ")
    assert shown.all_verified_since == began
    assert [report.objects for report in shown.reports] == [0, 4]
    assert "all content verified since: 2026-01-01 00:00:00" in shown.told()
    assert "begun 2026-01-01 00:00:00 by tester, ended 2026-01-01 00:00:00" in shown.told()
    await going.aclose()


async def test_a_run_that_finds_damage_says_so(world: World) -> None:
    (runs,) = [one for one in operations(lambda: process(world)) if one.name == "scrub.run"]
    for damaged, expected in ((False, Status.DONE), (True, Status.DAMAGED)):
        if damaged:
            await spoil(world, DATA)
        *progress, result = [one async for one in runs.run(runs.input(), Context("tester"))]
        assert isinstance(result, Result) and result.status is expected
        assert progress and {getattr(one, "unit", None) for one in progress} == {"bytes"}
        assert isinstance(result.value, Scrub)
        assert (f"{LAYER}: set aside: push it again; linked by" in result.value.told()) == damaged
