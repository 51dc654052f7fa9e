from __future__ import annotations

import pytest

from registry.errors import BlobUnknown, ManifestBlobUnknown, ManifestUnknown
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE
from registry.model.names import RepositoryName
from registry.store import layout
from tests.inmemory import NAME, TAG, World, image

LAYER = Digest.of(b"layer")
OTHER = RepositoryName("team/other")


@pytest.fixture
def world() -> World:
    return World()


async def take(world: World, key: str, trash: str, run: str) -> None:
    """What a collector (`c-…`) or a user's delete (`u-…`) does to one object."""
    await world.driver.copy(f"{trash}/{run}", key)
    await world.driver.delete([key])


async def take_layer(world: World, digest: Digest = LAYER, run: str = "c-1") -> None:
    await take(world, layout.layer_link(NAME, digest), layout.trash_layer(NAME, digest), run)


async def take_data(world: World, digest: Digest = LAYER, run: str = "c-1") -> None:
    await take(world, layout.blob_data(digest), layout.trash_data(digest), run)


async def test_a_link_that_a_collector_took_comes_back_for_who_may_push(world: World) -> None:
    await world.blob(b"layer")
    await take_layer(world)
    link = layout.layer_link(NAME, LAYER)
    # A pull has it meanwhile, as long as the collector has not made up its mind, and changes nothing.
    assert (await world.repository().blob(LAYER, may_push=False)).size_bytes == 5
    assert link not in await world.keys(link.removesuffix("/link"))
    assert (await world.repository().blob(LAYER, may_push=True)).size_bytes == 5
    assert link in await world.keys(link.removesuffix("/link"))
    assert await world.keys(layout.trash_layer(NAME, LAYER))


@pytest.mark.parametrize("runs", [["u-1"], ["u-1", "c-2"], ["c-1", "u-2"], ["u-1", "u-2"]])
async def test_a_link_that_a_user_deleted_stays_away_until_it_is_uploaded(
    world: World, runs: list[str]
) -> None:
    await world.blob(b"{}")
    for run in runs:
        await world.blob(b"layer")
        await take_layer(world, run=run)
    with pytest.raises(BlobUnknown):
        await world.repository().blob(LAYER, may_push=True)
    with pytest.raises(ManifestBlobUnknown):
        await world.push_alone(image("one"))
    await world.blob(b"layer")
    await world.push_alone(image("one"))


async def test_a_link_never_comes_back_for_another_repository(world: World) -> None:
    await world.blob(b"layer")
    await take_layer(world)
    with pytest.raises(BlobUnknown):
        await world.repository(OTHER).blob(LAYER, may_push=True)


async def test_data_that_a_collector_took_comes_back_for_a_reader(world: World) -> None:
    await world.blob(b"layer")
    await take_data(world)
    async with world.repository().open_blob(LAYER) as opened:
        assert [piece async for piece in opened.chunks()] == [b"layer"]
    assert layout.blob_data(LAYER) in await world.keys(layout.BLOBS)
    assert await world.keys(layout.trash_data(LAYER))


async def test_read_only_data_is_read_from_the_trash_and_nothing_is_written(world: World) -> None:
    digest = await world.push(image("one"))
    await take_data(world)
    await take_data(world, digest)
    world.registry.read_only = True
    before = await world.keys()
    async with world.repository().open_blob(LAYER, 1, 3) as opened:
        assert [piece async for piece in opened.chunks()] == [b"ay"]
    assert (await world.repository().blob(LAYER, may_push=True)).size_bytes == 5
    assert (await world.repository().manifest(TAG)).content == image("one")
    assert await world.keys() == before


async def test_a_manifest_push_brings_back_links_and_data_of_what_it_needs(world: World) -> None:
    await world.blob(b"{}")
    await world.blob(b"layer")
    await take_layer(world)
    await take_data(world)
    await world.push_alone(image("one"))
    assert (await world.repository().blob(LAYER, may_push=False)).size_bytes == 5


async def test_a_mount_brings_back_what_its_source_lost(world: World) -> None:
    await world.blob(b"layer")
    await take_layer(world)
    await take_data(world)
    assert await world.repository(OTHER).mount(LAYER, NAME, lambda _: True, lambda _: True)
    assert (await world.repository(OTHER).blob(LAYER, may_push=False)).size_bytes == 5


async def test_a_manifest_whose_data_a_collector_took_is_served(world: World) -> None:
    digest = await world.push(image("one"))
    await take_data(world, digest)
    assert (await world.repository().manifest(TAG)).content == image("one")


async def test_an_index_brings_back_its_children_with_all_they_need(world: World) -> None:
    child = await world.push(image("child"))
    await take(world, layout.revision_link(NAME, child), layout.trash_revision(NAME, child), "c-1")
    await take_data(world, child)
    await take_layer(world)
    await take_data(world)
    with pytest.raises(ManifestUnknown):
        await world.repository().manifest(child)
    await world.push_index("index", [image("child")])
    assert (await world.repository().manifest(child)).content == image("child")
    assert (await world.repository().blob(LAYER, may_push=False)).size_bytes == 5


async def test_a_child_that_a_user_deleted_stays_away(world: World) -> None:
    child = await world.push(image("child"))
    await world.repository().delete_manifest(child)
    await world.push_index("index", [image("child")])
    with pytest.raises(ManifestUnknown):
        await world.repository().manifest(child)


async def test_the_newest_of_several_copies_comes_back(world: World) -> None:
    alias = Digest.of(b"layer", "sha512")
    await world.blob(b"layer")
    await world.store.links.put_layer(NAME, alias)
    await take_layer(world, alias, "c-1")
    await world.store.links.put_alias(NAME, alias, LAYER)
    await take_layer(world, alias, "c-2")
    assert (await world.repository().blob(alias, may_push=True)).size_bytes == 5


async def test_a_pull_by_tag_costs_three_reads(world: World) -> None:
    await world.push(image("one"))
    world.counted.calls.clear()
    stored = await world.repository().manifest(TAG)
    assert stored.media_type == OCI_IMAGE
    assert set(world.counted.calls) == {"get"}
    assert world.counted.calls["get"] == 3
