"""Collection where somebody, or something, makes it hard: nothing is lost, and nobody else waits."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, cast

import pytest

from registry.errors import BlobUnknown, ManifestBlobUnknown, Unsupported
from registry.model.digests import Digest
from registry.model.media_types import OCI_INDEX
from registry.model.names import Tag
from registry.removal import intents, runs
from registry.removal.mark import Mark, Needed, found
from registry.store import layout
from registry.store.store import Store
from registry.upkeep.collection import Rules, overdue
from registry.upkeep.reports import Collection
from storage.contract import Driver
from storage.errors import Forbidden, Unavailable
from tests.inmemory import NAME, World, image
from tests.upkeep.gathering import LATER, OTHER, Run, aged

LAYER = Digest.of(b"layer")


@pytest.fixture
def world() -> World:
    return World()


class Failing:
    """A driver that cannot read what lies under some keys."""

    def __init__(self, inner: Any, fails: Callable[[str], bool]) -> None:
        self._inner = inner
        self._fails = fails

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def get(self, key: str, *, limit: int) -> bytes:
        if self._fails(key):
            raise Unavailable(key, "the disk says no")
        data: bytes = await self._inner.get(key, limit=limit)
        return data


async def failing(world: World, fails: Callable[[str], bool]) -> Collection:
    """A run, a day later, over such a driver."""
    world.clock.advance(seconds=LATER.total_seconds())
    driver = cast(Driver, Failing(world.driver, fails))
    return await Run(world).go(store=Store(driver, world.store.effects, manifest_cache_bytes=0))


class Refusing:
    """A driver that may not remove, or not copy, what lies under some keys: files of another user, say."""

    def __init__(self, inner: Any, refused: set[str], call: str) -> None:
        self._inner = inner
        self._refused = refused
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def delete(self, keys: Sequence[str], *, durable: bool = True) -> None:
        for key in keys:
            if self._call == "delete" and key in self._refused:
                raise Forbidden(key, "not yours")
            await self._inner.delete([key], durable=durable)

    async def copy(self, key: str, source: str) -> None:
        if self._call == "copy" and source in self._refused:
            raise Forbidden(source, "not yours")
        await self._inner.copy(key, source)


@pytest.mark.parametrize("call", ["delete", "copy"])
async def test_what_may_not_be_taken_is_told_and_stops_nothing_else(world: World, call: str) -> None:
    await aged(world)
    for content in (b"one", b"two", b"three"):
        await world.blob(content)
    link, data = layout.layer_link(NAME, Digest.of(b"one")), layout.blob_data(Digest.of(b"two"))
    world.clock.advance(seconds=LATER.total_seconds())
    driver = cast(Driver, Refusing(world.driver, {link, data}, call))
    report = await Run(world).go(store=Store(driver, world.store.effects, manifest_cache_bytes=0))
    assert report.ended and (report.links_taken, report.blobs_taken) == (2, 1)
    assert [one.content for one in report.troubles] == [link, data]
    assert report.kept_refused == 2 and "what the storage refuses to remove 2" in report.told()
    assert [(one.links, one.blobs) for one in report.removals] == [(2, 0), (0, 1)]
    assert all("cannot be taken: not yours" in one.problem for one in report.troubles)
    there = set(await world.keys())
    assert {link, data, layout.blob_data(Digest.of(b"one"))} <= there
    assert layout.blob_data(Digest.of(b"three")) not in there
    trash = [key for key in there if key.startswith((layout.TRASH_DATA, layout.TRASH_LINKS))]
    assert not [key for key in trash if str(Digest.of(b"one").encoded) in key], "no copy of it is left there"
    assert len([key for key in trash if Digest.of(b"two").encoded in key]) == 1, "that of the link alone"
    world.clock.advance(seconds=LATER.total_seconds())
    again = await Run(world).go()
    assert (again.links_taken, again.blobs_taken, again.troubles) == (1, 2, []), "it goes as soon as it may"


async def nothing() -> None:
    """A step."""


async def test_what_cannot_be_read_just_now_keeps_its_repository_and_all_data(world: World) -> None:
    await world.push(image("kept"), name=OTHER)
    await world.blob(b"unneeded")
    await world.blob(b"unneeded elsewhere", OTHER)
    link = layout.layer_link(NAME, Digest.of(b"unneeded"))
    report = await failing(world, lambda key: key == link)
    assert [one.content for one in report.troubles] == [link]
    assert (report.links_taken, report.blobs_taken) == (1, 0)
    assert report.data_left_alone and "no data was taken, since a link could not be read" in report.told()


async def test_a_manifest_that_cannot_be_read_just_now_stops_nobody_else(world: World) -> None:
    digest = await world.push(image("kept"))
    await world.blob(b"unneeded")
    await world.blob(b"unneeded elsewhere", OTHER)
    data = layout.blob_data(digest)
    report = await failing(world, lambda key: key == data)
    assert [one.content for one in report.troubles] == [str(digest)]
    assert (report.links_taken, report.blobs_taken) == (1, 1)


async def test_a_record_that_is_too_large_is_refused_before_anything_goes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.push(image("one"))
    monkeypatch.setattr(runs, "LIMIT", 300)
    with pytest.raises(Unsupported, match="delete tags or manifests"):
        await world.registry.door.remove_repository(NAME, "tester")
    assert await world.keys(layout.tags(NAME))
    assert await world.keys(layout.TRASH) == []


async def test_an_intent_that_is_too_large_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.blob(b"{}")
    await world.blob(b"layer")
    monkeypatch.setattr(intents, "_LIMIT", 100)
    with pytest.raises(Unsupported, match="more content"):
        await world.push_alone(image("one"))
    assert await world.keys(layout.INTENTS) == []


async def test_a_mark_that_cannot_be_finished_does_not_keep_the_next_waiting(world: World) -> None:
    await world.push(image("one"))
    for run in ("c-1", "c-2"):
        link, copy = layout.layer_link(NAME, LAYER), f"{layout.trash_layer(NAME, LAYER)}/{run}"
        await world.driver.copy(copy, link)
        mark = {"repository": NAME, "moves": [{"key": link, "trash": copy}]}
        await world.driver.put(layout.trash_open(run), b"{}" if run == "c-1" else json.dumps(mark).encode())
    await world.remove_all([layout.layer_link(NAME, LAYER)])
    world.clock.advance(hours=1)
    assert await world.registry.door.finish_open(world.clock.now.timestamp()) == 1
    assert layout.layer_link(NAME, LAYER) in await world.keys(layout.layers(NAME))


async def test_only_references_to_blobs_of_the_repository_are_kept_in_mind(world: World) -> None:
    absent = [Digest.of(str(number).encode()) for number in range(100)]
    children = [
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": str(one), "size": 1}
        for one in absent
    ]
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}).encode()
    await world.repository().push_manifest(Tag("index"), index, OCI_INDEX, [])
    await world.push(image("one"))
    mark = Mark(world.store, world.registry.trash)
    async for repository in found(world.store, nothing):
        needed: Needed = await mark.follow(repository, nothing)
        await mark.read(NAME, repository.revisions, needed, nothing)
        assert len(needed.digests) == 2


async def test_a_removal_that_is_under_way_is_not_destroyed(world: World) -> None:
    store, rules = world.store, Rules(timedelta(), timedelta(seconds=-1), None)
    moves = [runs.Move("a", "b")]
    await runs.Runs(store.driver, store.effects).record("u-1", NAME, moves, "tester", done=False)
    now = world.clock.now.timestamp()
    floor = timedelta(seconds=-1)
    assert await overdue(store, rules, now=now, step=nothing, floor=floor) == []
    await runs.Runs(store.driver, store.effects).record("u-1", NAME, moves, "tester", done=True)
    assert len(await overdue(store, rules, now=now, step=nothing, floor=floor)) == 1


async def test_a_link_that_somebody_needs_who_said_nothing_comes_back_before_it_is_destroyed(
    world: World,
) -> None:
    await world.push(image("one"))
    await aged(world)
    # As Distribution would, that has found the blob a moment before it went.
    link, run = layout.layer_link(NAME, LAYER), "c-1"
    copy = f"{layout.trash_layer(NAME, LAYER)}/{run}"
    await world.driver.copy(copy, link)
    await world.remove_all([link])
    records = runs.Runs(world.store.driver, world.store.effects)
    await records.record(run, NAME, [runs.Move(link, copy)], "collection", done=True)
    world.clock.advance(days=8)
    await aged(world)
    assert link in await world.keys(layout.layers(NAME))
    assert await world.keys(layout.trash_layer(NAME, LAYER)) == []


async def test_damage_in_the_trash_does_not_come_back_for_ever(world: World) -> None:
    await world.blob(b"{}")
    await world.blob(b"layer")
    data = layout.blob_data(LAYER)
    await world.driver.put(data, b"laye")
    await world.driver.copy(f"{layout.trash_data(LAYER)}/c-1", data)
    with pytest.raises(ManifestBlobUnknown, match="damaged"):
        await world.push_alone(image("one"))
    with pytest.raises(BlobUnknown):
        await world.repository().blob(LAYER, may_push=True)
    await world.blob(b"layer")
    await world.push_alone(image("one"))


@pytest.mark.parametrize("whole", [False, True])
async def test_what_was_collected_can_be_deleted(world: World, whole: bool) -> None:
    await world.push(image("kept"))
    unneeded = Digest.of(b"unneeded")
    await world.blob(b"unneeded")
    await aged(world)
    assert (await world.repository().blob(unneeded, may_push=False)).size_bytes == 8
    if whole:
        await world.registry.door.remove_repository(NAME, "tester")
    else:
        await world.repository().delete_blob(unneeded)
    for may_push in (False, True):
        with pytest.raises(BlobUnknown):
            await world.repository().blob(unneeded, may_push=may_push)
