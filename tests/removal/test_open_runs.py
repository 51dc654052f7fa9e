"""Blob deletes that died half-way are put right, once nobody can be at them any more."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from registry.removal.door import ABANDONED
from registry.store import layout
from registry.upkeep.expiry import expire
from tests.inmemory import NAME, World, image
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
