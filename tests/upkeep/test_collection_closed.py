"""Directories that may not be read, of mode 0 or of others: collections go past them, and are careful."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.store import layout
from registry.upkeep.reports import Collection
from storage.errors import Forbidden
from storage.local import LocalDriver
from tests.inmemory import NAME, TAG, World, image
from tests.storage.watched import Call, WatchedFiles
from tests.upkeep.gathering import LATER, OTHER, Run, aged, another, lies

FIRST, LAST = RepositoryName("aaa"), RepositoryName("zzz/last")
UNNEEDED, LAYER = Digest.of(b"unneeded"), Digest.of(b"layer")
IMAGE = image("one")
_REPOSITORY = layout.repository(NAME)
CLOSED = [
    f"{_REPOSITORY}/_layers/sha256/{UNNEEDED.encoded}",
    f"{_REPOSITORY}/_layers/sha256/{LAYER.encoded}",
    f"{_REPOSITORY}/_layers",
    f"{_REPOSITORY}/_manifests",
    f"{_REPOSITORY}/_manifests/tags/latest/current",
    _REPOSITORY,
    f"{layout.REPOSITORIES}/team",
]


class Closed:
    """A driver in front of another, of which one directory may not be read, as on a disk."""

    def __init__(self, inner: Any, directory: str) -> None:
        self._inner = inner
        self._directory = directory

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name not in ("get", "stat", "put"):
            return method

        async def call(key: str, *what: Any, **how: Any) -> Any:
            if key.startswith(f"{self._directory}/"):
                raise Forbidden(key, "not yours")
            return await method(key, *what, **how)

        return call

    async def walk(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        """As a disk does: what lies before it is given, and what lies below is not even looked at."""
        below = f"{self._directory}/"
        is_met = below > after or after.startswith(below)
        async for key in self._inner.walk(prefix, after=after):
            if key.startswith(below) and is_met:
                raise Forbidden(self._directory, "not yours")
            if not key.startswith(below):
                yield key


@pytest.fixture
async def world() -> World:
    """Four repositories, with an image and an unneeded blob each."""
    world = World()
    for name in (NAME, OTHER, FIRST, LAST):
        await world.push(IMAGE, TAG, name)
        await world.blob(b"unneeded", name)
    return world


async def collected(world: World, directory: str, *, dry_run: bool = False) -> Collection:
    """A collection by who may not read a directory."""
    return await Run(world, dry_run=dry_run).go(store=another(world, Closed(world.driver, directory)))


@pytest.mark.parametrize("directory", CLOSED)
async def test_what_is_around_is_told_and_kept_and_the_rest_is_collected(
    world: World, directory: str
) -> None:
    world.clock.advance(seconds=LATER.total_seconds())
    before = set(await world.keys())
    told = await collected(world, directory, dry_run=True)
    assert set(await world.keys()) == before
    report = await collected(world, directory)
    assert report.ended and told.links_taken == report.links_taken
    names = [FIRST, LAST] if directory == f"{layout.REPOSITORIES}/team" else [FIRST, LAST, OTHER]
    assert report.links_taken == len(names)
    assert [one.content for one in report.troubles] == [directory]
    assert "may not be read" in report.troubles[0].problem
    assert report.repositories_kept_whole == 1
    gone = {layout.layer_link(name, UNNEEDED) for name in names}
    assert before - set(await world.keys()) == gone
    # Who may read it again, takes the rest.
    report = await aged(world)
    assert (report.links_taken, report.blobs_taken, report.troubles) == (4 - len(names), 1, [])


@pytest.mark.parametrize("directory", CLOSED)
async def test_no_data_in_the_trash_is_destroyed_while_links_may_not_be_read(
    world: World, directory: str
) -> None:
    await aged(world)
    (copy,) = await world.keys(layout.trash_data(UNNEEDED))
    world.clock.advance(days=8)
    # By who says nothing beforehand, such as Distribution: nobody knows of it while that may not be read.
    await world.driver.put(layout.layer_link(NAME, UNNEEDED), str(UNNEEDED).encode())
    report = await collected(world, directory)
    assert report.ended
    assert copy in await world.keys()
    assert layout.blob_data(UNNEEDED) not in await world.keys()
    # Links of other repositories need nobody's but their own manifests.
    assert await world.keys(layout.trash_layer(LAST, UNNEEDED)) == []
    await Run(world).go()
    assert await world.driver.get(layout.blob_data(UNNEEDED), limit=100) == b"unneeded"


class Closing(Closed):
    """The same, closed when the first data goes."""

    def __init__(self, inner: Any, directory: str) -> None:
        super().__init__(inner, "not yet")
        self._later = directory

    async def delete(self, keys: Sequence[str], **how: Any) -> None:
        """Close it, too."""
        await self._inner.delete(keys, **how)
        if any(key.startswith(f"{layout.BLOBS}/") for key in keys):
            self._directory = self._later


@pytest.mark.parametrize("directory", CLOSED[1:])  # the first has gone by then
async def test_where_it_cannot_be_looked_again_all_that_was_taken_comes_back(
    world: World, directory: str
) -> None:
    world.clock.advance(seconds=LATER.total_seconds())
    report = await Run(world).go(store=another(world, Closing(world.driver, directory)))
    assert report.ended and (report.blobs_taken, report.blobs_put_back) == (0, 1)
    assert layout.blob_data(UNNEEDED) in await world.keys()


async def test_data_that_may_not_be_read_is_told_and_stays(world: World) -> None:
    other = await world.blob(b"unneeded, too")
    world.clock.advance(seconds=LATER.total_seconds())
    directory = layout.blob_data(UNNEEDED).removesuffix("/data")
    report = await collected(world, directory)
    assert report.ended and (report.links_taken, report.blobs_taken) == (5, 1)
    assert [(one.repository, one.content) for one in report.troubles] == [("", directory)]
    keys = await world.keys()
    assert layout.blob_data(UNNEEDED) in keys and layout.blob_data(other) not in keys


async def test_whole_manifests_that_may_not_be_read_keep_their_repository(world: World) -> None:
    place = layout.whole_manifest(NAME, LAYER)
    await world.driver.put(place, b"type\n")
    world.clock.advance(seconds=LATER.total_seconds())
    report = await collected(world, place.rpartition("/")[0])
    assert report.ended and report.links_taken == 3
    assert [one.repository for one in report.troubles] == [NAME]


async def test_the_whole_tree_may_not_be_read(world: World) -> None:
    world.clock.advance(seconds=LATER.total_seconds())
    with pytest.raises(Forbidden):
        await collected(world, layout.REPOSITORIES)


async def test_a_directory_on_a_disk_that_may_not_be_read_stops_nothing_else(tmp_path: Path) -> None:
    files = WatchedFiles()
    driver = LocalDriver(tmp_path, files=files)
    await driver.start()
    try:
        world = World(driver=driver)
        for name in (NAME, OTHER, FIRST, LAST):
            await world.push(IMAGE, TAG, name)
            await world.blob(b"unneeded", name)
        path = str(tmp_path / CLOSED[0])

        def before(call: Call) -> None:
            if call.name == "scan" and call.arguments == (path,):
                raise PermissionError(errno.EACCES, "Permission denied", path)

        files.before = before
        world.clock.now = datetime.now(UTC) + timedelta(days=3)
        report = await Run(world).go()
        assert report.ended and (report.links_taken, report.blobs_taken) == (3, 0)
        assert [(one.repository, one.content) for one in report.troubles] == [(NAME, CLOSED[0])]
        files.before = lambda call: None
        assert await lies(world, IMAGE)
    finally:
        await driver.aclose()
