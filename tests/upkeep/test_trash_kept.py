"""How long, and how much, the trash keeps, and what leaves it for good."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from registry.errors import BlobUnknown, ManifestBlobUnknown
from registry.model.digests import Digest
from registry.model.media_types import OCI_ARTIFACT
from registry.model.names import RepositoryName
from registry.removal.trash import FLOOR
from registry.store import layout
from registry.upkeep.collection import Rules
from tests.inmemory import NAME, World, image
from tests.upkeep.gathering import LATER, RULES, Interrupted, Run, aged, another, collected, lies

LAYER = Digest.of(b"layer")
SECOND = timedelta(seconds=1)


@pytest.fixture
def world() -> World:
    return World()


def keeping(*, for_: timedelta = RULES.keep_for, size: int | None = None) -> Rules:
    return Rules(RULES.grace, for_, size)


def wait(world: World, time: timedelta) -> None:
    world.clock.advance(seconds=time.total_seconds())


async def in_trash(world: World) -> set[bytes]:
    """The data that lies there."""
    return {await world.driver.get(key, limit=1000) for key in await world.keys(layout.TRASH_DATA)}


async def test_the_trash_keeps_what_was_collected_for_its_time(world: World) -> None:
    await world.blob(b"layer")
    await aged(world)
    wait(world, RULES.keep_for)
    report = await collected(world)
    assert (report.removals_destroyed, report.bytes_destroyed) == (0, 0)
    assert await in_trash(world) == {b"layer"}
    wait(world, SECOND)
    report = await collected(world)
    # One removal was the link's, the other that of the data.
    assert (report.removals_destroyed, report.bytes_destroyed) == (2, 5)
    assert await world.keys(layout.TRASH) == []
    with pytest.raises(BlobUnknown):
        await world.repository().blob(LAYER, may_push=True)


async def test_what_a_user_deleted_is_kept_as_long(world: World) -> None:
    digest = await world.push(image("one"))
    await world.repository().delete_manifest(digest)
    wait(world, RULES.keep_for)
    await collected(world, keeping(for_=timedelta(days=30)))
    assert await world.keys(layout.trash_revision(NAME, digest))
    wait(world, timedelta(days=23) + SECOND)
    await collected(world, keeping(for_=timedelta(days=30)))
    assert await world.keys(layout.trash_revision(NAME, digest)) == []


async def test_the_time_counts_from_the_removal_and_not_from_the_push(world: World) -> None:
    """A move on a disk keeps the old time."""
    await world.blob(b"layer")
    world.clock.advance(days=900)
    await collected(world)
    report = await collected(world)
    assert report.removals_destroyed == 0
    assert (await world.repository().blob(LAYER, may_push=True)).size_bytes == 5


async def filled_day_by_day(world: World, days: int) -> None:
    """The data of each day but the last was taken on the next."""
    for day in range(days):
        await world.blob(b"%04d" % day)
        wait(world, LATER)
        await collected(world)


@pytest.mark.parametrize(
    ("limit", "left"),
    [(100, {0, 1, 2, 3, 4}), (20, {0, 1, 2, 3, 4}), (19, {1, 2, 3, 4}), (8, {3, 4}), (7, {4}), (0, {4})],
)
async def test_what_is_too_much_goes_the_oldest_first_and_none_of_the_last_day(
    world: World, limit: int, left: set[int]
) -> None:
    await filled_day_by_day(world, 5)
    report = await collected(world, keeping(size=limit))
    assert await in_trash(world) == {b"%04d" % day for day in left}
    assert report.bytes_destroyed == 4 * (5 - len(left))


async def test_manifests_that_lie_whole_there_are_too_much_as_well(world: World) -> None:
    """Nobody must fill the trash beside its bound, with what is no data."""
    for number in range(3):
        document = {
            "mediaType": OCI_ARTIFACT,
            "artifactType": "application/x",
            "annotations": {"n": "x" * 1000},
        }
        content = json.dumps({**document, "blobs": [], "number": number}).encode()
        digest = Digest.of(content)
        await world.repository().push_manifest(digest, content, OCI_ARTIFACT, [])
        await world.repository().delete_manifest(digest)
        world.clock.advance(hours=1)
    wait(world, FLOOR)
    each = len(f"{OCI_ARTIFACT}\n") + len(content)
    report = await collected(world, keeping(size=2 * each))
    assert (report.removals_destroyed, report.bytes_destroyed) == (1, each)
    assert len([key for key in await world.keys(layout.TRASH_LINKS) if "/manifests/" in key]) == 2


async def test_nothing_leaves_the_trash_within_a_day_whatever_the_rules_say(world: World) -> None:
    await world.blob(b"layer")
    await aged(world)
    wait(world, FLOOR)
    await collected(world, keeping(for_=timedelta(0), size=0))
    assert await in_trash(world) == {b"layer"}
    wait(world, SECOND)
    await collected(world, keeping(for_=timedelta(0)))
    assert await in_trash(world) == set()


async def test_the_oldest_removal_that_is_needed_comes_back_before_it_would_go(world: World) -> None:
    await world.push(image("one"))
    await world.blob(b"unneeded")
    await aged(world)
    for digest in (LAYER, Digest.of(image("one"))):
        (run, *_) = await world.driver.children(layout.TRASH_RUNS)
        await world.driver.copy(f"{layout.trash_data(digest)}/{run}", layout.blob_data(digest))
        await world.driver.delete([layout.blob_data(digest)])
    wait(world, timedelta(days=8))
    report = await collected(world)
    assert report.blobs_put_back == 2
    assert await lies(world, image("one"))


async def test_a_push_at_any_call_of_a_run_that_destroys_is_refused_or_whole() -> None:
    """What it needs is in the trash for the last moment."""
    number, outcomes = 0, set()
    while True:
        number += 1
        world = World()
        for content in (b"{}", b"layer"):
            await world.blob(content)
        await aged(world)
        wait(world, timedelta(days=8))
        accepted = None

        async def push(world: World = world) -> None:
            nonlocal accepted
            try:
                await world.push_alone(image("one"))
                accepted = True
            except ManifestBlobUnknown:
                accepted = False

        driver = Interrupted(world, number, push)
        report = await Run(world).go(store=another(world, driver))
        if accepted is None:
            break
        outcomes.add(accepted)
        assert not accepted or await lies(world, image("one")), number
        await aged(world)
        assert not accepted or await lies(world, image("one")), number
    assert outcomes == {True, False}
    assert report.bytes_destroyed == 7


async def test_a_mount_keeps_data_that_another_repository_has_let_go(world: World) -> None:
    other = RepositoryName("team/other")
    await world.blob(b"layer")
    await aged(world)
    wait(world, RULES.keep_for)
    assert await world.repository(other).mount(LAYER, NAME, lambda _: True, lambda _: True)
    wait(world, SECOND)
    await collected(world)
    assert await in_trash(world) == set()
    assert (await world.repository(other).blob(LAYER, may_push=False)).size_bytes == 5
