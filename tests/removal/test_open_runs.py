"""Blob deletes that died half-way are put right, once nobody can be at them any more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from registry.model.digests import Digest
from registry.model.names import Tag
from registry.removal.door import ABANDONED
from registry.removal.intents import Intents
from registry.removal.releasing import Releasing
from registry.store import layout
from registry.upkeep.expiry import expire
from tests.inmemory import NAME, TAG, World, image
from tests.removal.test_trash import LAYER


@pytest.fixture
def world() -> World:
    return World()


async def half_deleted(world: World) -> str:
    """What a `kill -9` leaves between the move of a blob link and the look at who needs it."""
    link, trash = layout.layer_link(NAME, LAYER), f"{layout.trash_layer(NAME, LAYER)}/u-dead"
    mark = {"repository": NAME, "moves": [{"key": link, "trash": trash}]}
    await world.store.driver.put(layout.trash_open("u-dead"), json.dumps(mark).encode())
    await world.store.driver.copy(trash, link)
    await world.store.driver.delete([link])
    return link


async def now_of(world: World) -> float:
    return (await world.store.driver.stat(layout.trash_open("u-dead"))).modified_at.timestamp()


async def test_a_link_that_a_manifest_needs_comes_back(world: World) -> None:
    await world.blob(b"layer")
    await world.push(image("needs it", layers=[b"layer"]))
    link = await half_deleted(world)
    now = await now_of(world)
    assert await world.registry.door.finish_open(now + ABANDONED.total_seconds() - 1) == 0
    assert await world.registry.door.finish_open(now + ABANDONED.total_seconds()) == 1
    assert await world.store.driver.get(link, limit=200) == str(LAYER).encode()
    assert await world.keys(layout.TRASH_OPEN) == []
    assert await world.keys(layout.trash_layer(NAME, LAYER)) == []


async def test_a_link_that_nothing_needs_stays_deleted(world: World) -> None:
    await world.blob(b"layer")
    link = await half_deleted(world)
    now = await now_of(world)
    assert await world.registry.door.finish_open(now + ABANDONED.total_seconds()) == 1
    assert await world.keys(link) == []
    assert await world.keys(layout.TRASH_OPEN) == []


async def test_the_hourly_job_finishes_them(world: World) -> None:
    await world.blob(b"layer")
    await world.push(image("needs it", layers=[b"layer"]))
    link = await half_deleted(world)
    await expire(world.registry, after=timedelta(days=7))
    assert await world.keys(layout.TRASH_OPEN) != []
    world.clock.advance(seconds=ABANDONED.total_seconds())
    assert await expire(world.registry, after=timedelta(days=7)) == 1
    assert await world.store.driver.get(link, limit=200) == str(LAYER).encode()


# Tags, of a manifest of which the delete died.

OLD, NEW, NEWER = image("old"), image("new"), image("newer")
CLOCKS: list[Mapping[str, float]] = [{"hours": 0}, {"hours": 1}, {"hours": -1}]


async def half_gone(world: World) -> None:
    """What a `kill -9` leaves behind the move of a tag, where it names what is being deleted."""
    old = await world.push(OLD)
    claims = world.registry.door.claims
    await claims.mark("u-dead", NAME, {TAG: await claims.judge(NAME, TAG)})
    await lost(world)
    assert not await world.store.links.target(NAME, TAG), old


async def lost(world: World) -> None:
    """The dead one took the tag, whatever that named."""
    await world.remove_all(await world.store.tag_keys(NAME, TAG))


async def finished(world: World) -> Digest | None:
    """What the tag names when others have finished what the dead one left."""
    world.clock.advance(minutes=12)
    assert await world.registry.door.finish_open(world.clock.now.timestamp()) == 1
    return await world.store.links.target(NAME, TAG)


def by_clock(world: World, off: Mapping[str, float]) -> None:
    """Have the next ones act by a server whose clock is off; the store's own is right."""
    world.store.effects = world.store.history._effects = replace(
        world.store.effects, now=lambda: world.clock.now + timedelta(**off)
    )


@pytest.mark.parametrize("by", CLOCKS)
@pytest.mark.parametrize("seconds", [0, 60])
async def test_a_tag_that_was_deleted_stays_away(
    world: World, by: Mapping[str, float], seconds: float
) -> None:
    await half_gone(world)
    by_clock(world, by)
    await world.push(NEW)
    by_clock(world, {})
    # A store that stamps whole seconds may have stamped the same one on both.
    world.clock.advance(seconds=seconds)
    await world.repository().delete_tag(TAG)
    assert await finished(world) is None


@pytest.mark.parametrize("by", CLOCKS)
async def test_a_tag_that_was_pushed_after_it_was_deleted_comes_back(
    world: World, by: Mapping[str, float]
) -> None:
    await half_gone(world)
    await world.push(NEW)
    await world.repository().delete_tag(TAG)
    world.clock.advance(seconds=1)
    by_clock(world, by)
    newer = await world.push(NEWER)
    by_clock(world, {})
    await lost(world)
    assert await finished(world) == newer


@pytest.mark.parametrize("by", CLOCKS)
@pytest.mark.parametrize("seconds", [0, 60])
async def test_of_two_pushes_the_last_one_s_comes_back(
    world: World, by: Mapping[str, float], seconds: float
) -> None:
    await half_gone(world)
    by_clock(world, by)
    await world.push(NEW)
    by_clock(world, {})
    world.clock.advance(seconds=seconds)
    newer = await world.push(NEWER)
    await lost(world)
    assert await finished(world) == newer


async def test_a_tag_that_went_with_what_it_named_stays_away(world: World) -> None:
    await half_gone(world)
    new = await world.push(NEW)
    await world.repository().delete_manifest(new)
    # There again, and by another tag.
    await world.push(NEW, Tag("other"))
    assert await finished(world) is None


async def test_the_delete_of_something_else_is_no_reason_to_lose_a_push(world: World) -> None:
    await half_gone(world)
    await world.push(NEW)
    newer = await world.push(NEWER)
    world.clock.advance(seconds=1)
    # Somebody has deleted what the tag named before, and looked before it was moved.
    await world.registry.door._take_tags(NAME, [TAG], Digest.of(NEW), "u-other", "tester")
    await world.registry.door._runs.unmark("u-other")
    await lost(world)
    assert await finished(world) == newer


async def test_what_a_policy_has_entered_is_no_reason_to_lose_a_push(world: World) -> None:
    """It may have judged before the push, and looked after it. What it took rightly it takes again."""
    await half_gone(world)
    new = await world.push(NEW)
    world.clock.advance(seconds=1)
    releasing = Releasing(world.store, Intents(world.driver, world.store.effects), "retention")
    judged = await releasing._claims.judge(NAME, TAG)
    assert await releasing.release_tag(NAME, TAG, new, hash(judged.entries))
    assert await finished(world) == new
