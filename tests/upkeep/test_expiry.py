from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from registry.access.audit import Entry
from registry.access.audit.kept import AuditStore
from registry.core.registry import Registry
from registry.errors import BlobUploadUnknown
from registry.model.digests import Digest
from registry.removal.intents import LIFE
from registry.store import layout
from registry.store.store import Store
from registry.upkeep.expiry import expire, expire_audit
from tests.inmemory import NAME, Bytes, World, effects
from tests.interleaving import Actor, PausingDriver, explore, run

WEEK = timedelta(days=7)


@pytest.fixture
def world() -> World:
    return World()


async def begin(world: World) -> str:
    """An upload with a piece in it."""
    uuid = (await world.repository().begin_upload("sha256")).uuid
    await world.repository().append(uuid, Bytes(b"piece"), None)
    return uuid


async def test_only_idle_sessions_go(world: World) -> None:
    idle = await begin(world)
    alive = await begin(world)
    world.clock.advance(days=6)
    await world.repository().append(alive, Bytes(b"more"), None)
    young = await begin(world)
    world.clock.advance(days=1, seconds=1)
    assert await expire(world.registry, after=WEEK) == 1
    with pytest.raises(BlobUploadUnknown):
        await world.repository().upload_size(idle)
    assert await world.keys(layout.upload(idle)) == []
    assert await world.repository().upload_size(alive) == 9
    assert await world.repository().upload_size(young) == 5
    assert await expire(world.registry, after=WEEK) == 0


async def test_what_a_dead_session_left_goes_too(world: World) -> None:
    uuid = await begin(world)
    await world.driver.delete([f"{layout.upload(uuid)}/session"])
    world.clock.advance(days=8)
    await expire(world.registry, after=WEEK)
    assert await world.keys(layout.UPLOADS) == []


async def test_dead_intents_go_and_none_is_left_of_ones_own(world: World) -> None:
    await world.registry.intents.open(NAME, Digest.of(b"m"), [], [])
    world.clock.advance(seconds=LIFE.total_seconds() + 1)
    living = await world.registry.intents.open(NAME, Digest.of(b"m"), [], [])
    assert await expire(world.registry, after=WEEK) == 1
    assert await world.keys(layout.INTENTS) == [layout.intent(living)]


async def test_ages_are_read_off_the_stores_clock(world: World) -> None:
    uuid = await begin(world)
    # This process's own clock is a year ahead; the store's stands.
    wrong = World()
    wrong.clock.advance(days=365)
    process = world.process()
    process.store.effects = wrong.store.effects
    assert await expire(process, after=WEEK) == 0
    assert await world.repository().upload_size(uuid) == 5


async def test_more_sessions_than_a_batch(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.upkeep.expiry._BATCH", 3)
    for _ in range(10):
        await begin(world)
    world.clock.advance(days=8)
    kept = await begin(world)
    assert await expire(world.registry, after=WEEK) == 10
    assert await world.store.sessions.uuids(limit=100) == [kept]


def test_two_at_once_beside_an_upload_that_goes_on_leave_it_whole_or_nothing() -> None:
    def world() -> tuple[list[Actor], Callable[[], None]]:
        made = World()
        uuid = run(begin(made))
        made.clock.advance(days=8)
        paused = paused_process(made)
        answers: list[int | None] = []

        async def go_on() -> None:
            try:
                answers.append(await paused.repository(NAME, "tester").append(uuid, Bytes(b"more"), None))
            except BlobUploadUnknown:
                answers.append(None)

        def verify() -> None:
            left = run(made.keys(layout.upload(uuid)))
            if f"{layout.upload(uuid)}/session" in left:
                assert answers == [9]
                assert run(made.repository().upload_size(uuid)) == 9
            else:
                assert left == []

        return [expire(paused, after=WEEK), expire(paused, after=WEEK), go_on()], verify

    assert explore(world, preemptions=1) > 100


def paused_process(made: World) -> Registry:
    """A process whose driver calls the explorer puts in order."""
    plain, store = (
        made.store,
        Store(
            PausingDriver(made.driver),
            effects(made.clock),
            manifest_cache_bytes=0,
        ),
    )
    made.store = store
    try:
        return made.process()
    finally:
        made.store = plain


async def test_where_there_are_too_many_those_go_that_were_idle_for_an_hour(world: World) -> None:
    world.registry = world.process(sessions=10)
    left = [await begin(world) for _ in range(8)]
    world.clock.advance(minutes=61)
    assert await expire(world.registry, after=WEEK) == 0
    young = await begin(world)
    assert await expire(world.registry, after=WEEK) == 8
    assert await world.repository().upload_size(young) == 5
    with pytest.raises(BlobUploadUnknown):
        await world.repository().upload_size(left[0])


async def test_what_the_audit_trail_keeps_goes_after_its_time(world: World) -> None:
    kept = AuditStore(world.driver, world.store.effects, world.registry)
    year = timedelta(days=365)
    assert await expire_audit(world.registry, kept, keep_for=year) == 0
    assert await world.keys() == [], "where there is nothing, nothing is written"
    await kept.begin(Entry("tag.deleted"))
    world.clock.advance(days=364)
    young, _ = await kept.begin(Entry("tag.deleted"))
    assert await expire_audit(world.registry, kept, keep_for=year) == 0
    world.clock.advance(days=2)
    world.registry.read_only = True
    assert await expire_audit(world.registry, kept, keep_for=year) == 0
    world.registry.read_only = False
    assert await expire_audit(world.registry, kept, keep_for=year) == 1
    assert await world.keys() == [layout.audit_entry(young)]
