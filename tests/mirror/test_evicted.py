"""What becomes of what was evicted: a day in the trash; and the marks go with what they are about."""

from __future__ import annotations

from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from tests.inmemory import World
from tests.mirror.evictions import Make, collected, evict, fetch, layer, made
from tests.mirror.shelf import HERE, Around

ONE, TWO = made("1"), made("2")
LAYER = Digest.of(layer("1"))
TEAM = RepositoryName("team/app")
OTHER = RepositoryName("hub/library/other")


async def evicted(hub: Around) -> Digest:
    """Have an image come and go."""
    digest = await fetch(hub, ONE, "v1")
    hub.world.clock.advance(days=1)
    assert (await evict(hub)).manifests == 1
    return digest


async def trash(world: World) -> list[str]:
    """The runs in the trash."""
    return [key.rpartition("/")[2] for key in await world.keys(layout.TRASH_RUNS)]


async def test_it_stays_in_the_trash_for_a_day_and_no_longer(around: Make) -> None:
    hub = around(max_size="1B")
    digest = await evicted(hub)
    report = await collected(hub)
    assert (report.blobs_taken, report.removals_destroyed) == (3, 0)
    assert all(run.startswith("c-cached-") for run in await trash(hub.world))
    assert all(one.why.endswith(", and it comes from elsewhere again") for one in report.removals)
    assert [key for key in await hub.world.keys(layout.TRASH_DATA) if digest.encoded in key]
    hub.world.clock.advance(hours=23)
    assert (await collected(hub)).removals_destroyed == 0
    hub.world.clock.advance(hours=2)
    assert (await collected(hub)).bytes_destroyed >= len(ONE)
    assert await trash(hub.world) == await hub.world.keys(layout.TRASH) == []
    assert await hub.world.keys(layout.BLOBS) == []


async def test_a_blob_that_no_manifest_names_goes_with_a_collection_in_any_case(around: Make) -> None:
    hub = around()
    digest = hub.shelf.add_blob(layer("alone"))
    await hub.read(digest)
    hub.world.clock.advance(days=2)
    assert (await collected(hub)).blobs_taken == 1
    hub.world.clock.advance(hours=25)
    await collected(hub)
    assert await hub.world.keys(layout.TRASH) == await hub.world.keys(layout.BLOBS) == []
    assert await hub.read(digest) == layer("alone")


async def test_what_is_asked_for_again_within_the_day_comes_from_there(around: Make) -> None:
    hub = around(max_size="1B")
    digest = await evicted(hub)
    await collected(hub)
    fetched = hub.shelf.calls["blob"]
    assert (await hub.repository().manifest(Tag("v1"))).digest == digest
    assert await hub.read(LAYER) == layer("1")
    assert hub.shelf.calls["blob"] == fetched
    hub.world.clock.advance(days=2)
    await collected(hub)
    assert await hub.read(LAYER) == layer("1")


async def test_what_a_user_has_deleted_can_be_restored_whole_for_as_long_as_ever(around: Make) -> None:
    hub = around(max_size="1B")
    digest = await fetch(hub, ONE, "v1")
    await hub.world.repository(HERE).delete_manifest(digest)
    await fetch(hub, TWO, "v2")
    hub.world.clock.advance(days=1)
    await evict(hub)
    await collected(hub)
    hub.world.clock.advance(days=2)
    await collected(hub)
    gone = await hub.world.registry.restoring.trashed.manifest(HERE, Digest.of(TWO))
    assert gone is None
    await hub.world.registry.trash.put_back_layer(HERE, LAYER)
    assert (await hub.world.registry.restoring.trashed.manifest(HERE, digest)) is not None
    assert (await hub.world.repository(HERE).blob(LAYER, may_push=True)).size_bytes == len(layer("1"))


async def test_what_others_have_deleted_of_the_same_stays_as_long_as_ever(around: Make) -> None:
    hub = around(max_size="1B")
    await evicted(hub)
    digest = await hub.world.push(ONE, Tag("ours"), TEAM)
    await hub.world.repository(TEAM).delete_manifest(digest)
    hub.world.clock.advance(days=2)
    await collected(hub)
    hub.world.clock.advance(days=2)
    await collected(hub)
    assert await hub.world.keys(layout.trash_data(LAYER)), "its data is kept for them"
    assert await hub.world.keys(layout.trash_layer(TEAM, LAYER))
    assert not await hub.world.keys(layout.trash_layer(HERE, LAYER))


async def test_marks_go_with_what_they_are_about(around: Make) -> None:
    hub = around(max_size="1B")
    await evicted(hub)
    await fetch(hub, TWO, "v2", OTHER)
    hub.world.clock.advance(days=-1)
    assert len(await hub.world.keys(layout.MIRRORED)) == 3
    assert len(await hub.world.keys(layout.ORIGINS)) == 2
    hub.world.clock.advance(hours=12)
    await collected(hub)
    hub.world.clock.advance(days=1)
    await collected(hub)
    await collected(hub)
    config, two = Digest.of(b"{}"), Digest.of(layer("2"))
    assert sorted(await hub.world.keys(layout.MIRRORED)) == sorted(
        layout.mirrored(RepositoryName("hub"), digest) for digest in (config, two)
    )
    assert await hub.world.keys(layout.ORIGINS) == [layout.origin(OTHER, "elsewhere", Digest.of(TWO))]


async def test_a_mark_of_what_is_about_to_come_stays(around: Make) -> None:
    hub = around()
    await hub.world.store.transfers.mark(RepositoryName("hub"), LAYER, None)
    await hub.world.store.origins.note_elsewhere(HERE, Digest.of(ONE))
    await collected(hub)
    assert len([*await hub.world.keys(layout.MIRRORED), *await hub.world.keys(layout.ORIGINS)]) == 2
    hub.world.clock.advance(days=2)
    await collected(hub)
    assert [*await hub.world.keys(layout.MIRRORED), *await hub.world.keys(layout.ORIGINS)] == []
