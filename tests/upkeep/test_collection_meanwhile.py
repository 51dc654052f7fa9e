"""What comes while a run is going on: a push, a mount, a link, at any of its calls."""

from __future__ import annotations

import pytest

from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.model.media_types import OCI_IMAGE
from registry.store import layout
from storage.errors import NotFound
from tests.inmemory import NAME, TAG, World, descriptor, image
from tests.upkeep.gathering import OTHER, Interrupted, Run, another, collected, lies, places, push_index

LAYER = Digest.of(b"layer")
CONFIG = Digest.of(b"{}")


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("how", ["push", "upload and push", "mount and push", "index", "half a push"])
async def test_what_a_push_needs_that_comes_at_any_call_of_a_run_is_there(how: str) -> None:
    """An old base layer, that nothing has referred to for a year, is needed by a new manifest."""
    number = 0
    while True:
        world = World()
        for content in (b"{}", b"layer"):
            await world.blob(content)
        world.clock.advance(days=365)
        number += 1

        async def push(world: World = world) -> None:
            if how == "upload and push":
                await world.blob(b"layer")
            if how == "mount and push":
                for digest in (CONFIG, LAYER):
                    assert await world.repository(OTHER).mount(digest, NAME, lambda _: True, lambda _: True)
            if how == "index":
                await push_index(world, [descriptor(b"layer"), descriptor(b"{}")], TAG)
            elif how == "half a push":
                # It has seen what it needs, and writes its link when the run is over.
                await world.registry.intents.open(NAME, Digest.of(image("new")), [CONFIG, LAYER], [TAG])
                manifest = Manifest.parse(image("new"), OCI_IMAGE)
                await world.registry.pushes._references.check(NAME, Digest.of(image("new")), manifest)
            else:
                await world.push_alone(image("new"), name=OTHER if how == "mount and push" else NAME)

        driver = Interrupted(world, number, push)
        report = await Run(world).go(store=another(world, driver))
        if driver.left > 0:
            break
        if how in ("index", "half a push"):
            wanted = {key for digest in (CONFIG, LAYER) for key in places(digest)}
            assert wanted <= set(await world.keys()), number
        else:
            assert await lies(world, image("new"), OTHER if how == "mount and push" else NAME), number
        assert report.ended and await world.keys(layout.TRASH_OPEN) == []
    assert number > 40
    assert (report.links_taken, report.blobs_taken) == (2, 2)


async def test_what_a_link_of_sha512_holds_is_seen_by_the_last_look_at_links(world: World) -> None:
    """Distribution writes behind our back: the link came after the mark, and says what it holds inside."""
    await world.driver.put(layout.blob_data(LAYER), b"layer")
    world.clock.advance(days=2)
    alias = Digest.of(b"layer", "sha512")
    number = 0
    came_back = set()
    while True:
        number += 1

        async def link() -> None:
            await world.store.links.put_alias(NAME, alias, LAYER)

        driver = Interrupted(world, number, link)
        report = await Run(world).go(store=another(world, driver))
        if driver.left > 0:
            break
        came_back.add(report.blobs_put_back)
        # Distribution heals nothing of its own; what is linked before the last look is there, though.
        if report.blobs_taken == 0:
            assert layout.blob_data(LAYER) in await world.keys()
        await world.remove_all([layout.layer_link(NAME, alias), layout.blob_data(LAYER)])
        await world.remove_all(await world.keys(layout.TRASH))
        await world.driver.put(layout.blob_data(LAYER), b"layer")
        world.clock.advance(days=2)
    assert came_back == {0, 1}


async def test_data_that_is_linked_while_it_is_taken_is_back_before_the_run_goes_on() -> None:
    """Not only at its end, which a process may not live to see."""
    number, came_back = 0, set()
    while True:
        world = World()
        await world.driver.put(layout.blob_data(LAYER), b"layer")
        world.clock.advance(days=2)
        number += 1

        async def link(world: World = world) -> None:
            await world.blob(b"layer")

        driver = Interrupted(world, number, link)
        run = Run(world)
        await run.go(store=another(world, driver), pieces=1)
        if driver.left > 0:
            break
        came_back.add(run.report.blobs_put_back)
        if run.report.phase == "data":
            assert places(LAYER) <= set(await world.keys()), number
    assert came_back == {0, 1}


async def test_an_intent_keeps_what_it_names_and_a_dead_one_too_until_it_is_swept(world: World) -> None:
    for content in (b"{}", b"layer"):
        await world.blob(content)
    world.clock.advance(days=2)
    intent = await world.registry.intents.open(NAME, Digest.of(b"m"), [LAYER], [TAG])
    report = await collected(world)
    assert (report.links_taken, report.blobs_taken) == (1, 1)
    assert places(LAYER) <= set(await world.keys())
    await world.registry.intents.close(intent)
    report = await collected(world)
    assert (report.links_taken, report.blobs_taken) == (1, 1)
    with pytest.raises(NotFound):
        await world.store.content.stat(LAYER)


async def test_a_manifest_that_is_written_again_before_its_link_is_there() -> None:
    """Its old data, that nothing has linked to for long, may just be on its way to the trash."""
    content = image("deleted long ago, and pushed again")
    key = layout.blob_data(Digest.of(content))
    number = 0
    while True:
        world = World()
        await world.driver.put(key, content)
        world.clock.advance(days=2)
        number += 1

        async def write(world: World = world) -> None:
            await world.registry.intents.open(NAME, Digest.of(content), [], [TAG])
            await world.store.content.put(Digest.of(content), content)

        driver = Interrupted(world, number, write)
        report = await Run(world).go(store=another(world, driver))
        if driver.left > 0:
            break
        # What was put into the place of what is away already counts as well.
        assert key in await world.keys(), number
    assert report.blobs_taken == 1
