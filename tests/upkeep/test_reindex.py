from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from registry.upkeep.reindex import complete_catalog, reindex
from tests.inmemory import NAME, World, image

NAMES = [RepositoryName(text) for text in ("a", "a/b", "team/app", "z")]


@pytest.fixture
async def world() -> World:
    """A tree that another program wrote: nothing of ours in it."""
    made = World()
    for name in NAMES:
        subject = await made.push(image("subject"), name=name)
        content = image("signature", subject=subject)
        await made.push(content, Digest.of(content), name)
    await made.remove_all(await made.keys(layout.OURS))
    await made.remove_all([layout.layers_placeholder(name) for name in NAMES])
    return made


async def listed(world: World) -> list[str]:
    return (await world.registry.catalog(n=100, last="", visible=lambda _: True)).entries


async def refers(world: World, name: RepositoryName) -> list[str]:
    """What refers to the image `subject`, as it was written down."""
    subject = Digest.of(image("subject"))
    page = await world.repository(name).referrers(subject, artifact_types=(), after="")
    return [json.loads(entry)["digest"] for entry in page.entries]


async def test_everything_derived_is_written_anew(world: World) -> None:
    assert await listed(world) == []
    found = [one async for one in reindex(world.registry)]
    assert sorted(found) == [(name, 1) for name in NAMES]
    assert await listed(world) == NAMES
    assert await world.registry.listings.catalog_is_complete()
    for name in NAMES:
        assert await world.store.catalog.is_indexed(name)
        assert layout.layers_placeholder(name) in await world.keys(layout.layers(name))
    world.counted.calls.clear()
    for name in NAMES:
        assert len(await refers(world, name)) == 1
    assert world.counted.calls["walk"] == 0


async def test_again_it_changes_nothing(world: World) -> None:
    async def contents() -> dict[str, bytes]:
        return {key: await world.driver.get(key, limit=1 << 20) for key in await world.keys()}

    async for _ in reindex(world.registry):
        pass
    before = await contents()
    async for _ in reindex(world.registry):
        pass
    assert await contents() == before


async def test_pushes_and_deletes_meanwhile_are_right_afterwards(world: World) -> None:
    new = RepositoryName("m/new")
    steps = reindex(world.registry)
    await anext(steps)
    await world.push(image("one"), name=new)
    for name in ("a/b", "z"):
        await world.registry.door.remove_repository(RepositoryName(name), "tester")
    async for _ in steps:
        pass
    assert await listed(world) == ["a", "m/new", "team/app"]


async def test_two_at_once_write_the_same(world: World) -> None:
    async def drain(one: AsyncIterator[object], two: AsyncIterator[object]) -> None:
        left = [one, two]
        while left:
            for steps in list(left):
                try:
                    await anext(steps)
                except StopAsyncIteration:
                    left.remove(steps)

    await drain(reindex(world.registry), reindex(world.process()))
    assert await listed(world) == NAMES


async def test_a_complete_catalog_is_not_built_again(world: World) -> None:
    await complete_catalog(world.registry)
    assert await listed(world) == NAMES
    world.counted.calls.clear()
    await complete_catalog(world.registry)
    assert world.counted.calls == {"stat": 1}


async def test_read_only_nothing_is_built(world: World) -> None:
    world.registry.read_only = True
    before = await world.keys()
    await complete_catalog(world.registry)
    assert await world.keys() == before


async def test_a_push_into_an_adopted_repository_does_not_claim_that_it_is_indexed(world: World) -> None:
    await world.push(image("new"), Tag("new"))
    assert not await world.store.catalog.is_indexed(NAME)
    assert len(await refers(world, NAME)) == 1
    assert await world.store.catalog.is_indexed(NAME)
