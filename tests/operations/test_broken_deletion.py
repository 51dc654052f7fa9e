"""A deletion of a repository that breaks off: it says how far it came, and the same once more ends it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from registry.core.operations import operations as core_operations
from registry.core.trash_operations import operations as trash_operations
from registry.model.digests import Digest
from registry.model.names import Tag
from storage.errors import Forbidden
from storage.memory import MemoryDriver
from tests.bundles.failing import Failing
from tests.inmemory import NAME, World, image
from tests.operations.asking import Client, api

KEPT = timedelta(days=7)
NOTES = ("one", "two")


async def scene() -> tuple[World, Failing]:
    """A repository of two images, in a store that can be stopped."""
    store = Failing(MemoryDriver(), lambda: Forbidden("", "the store says no"))
    world = World(driver=store)
    for note in NOTES:
        await world.push(image(note), Tag(note))
    return world, store


def client_of(world: World) -> Client:
    """Who may do everything."""
    table = [*core_operations(lambda: world.registry), *trash_operations(lambda: world.registry, KEPT)]
    return Client(api(table))


@pytest.mark.parametrize("writes", [True, False], ids=["reads work", "nothing works"])
async def test_wherever_it_stops_the_same_once_more_takes_the_rest_and_all_can_be_had_again(
    writes: bool,
) -> None:
    told = []
    for step in range(1000):
        world, store = await scene()
        client = client_of(world)
        store.left, store.writes = step, writes
        answer = await client.do("repo.delete", repository=NAME)
        store.left = None
        if not store.failed:
            break
        [(_, message)] = answer.errors
        told.append(message)
        again = await client.do("repo.delete", repository=NAME)
        # All of it was gone, and only that was not noted.
        assert again.status == 200 or (again.status, "0 of 2 tags" in message) == (404, writes), message
        assert (await client.do("repo.show", repository=NAME)).status == 404
        for run in (await client.do("trash.list", repository=NAME)).json()["result"]["runs"]:
            assert (await client.do("trash.restore", run=run["run"])).status == 200
        for note in NOTES:
            assert (await world.repository().manifest(Tag(note))).digest == Digest.of(image(note))
    refused = "the registry's storage refuses writes (permissions, or a read-only file system)"
    rest = "delete it once more to have the rest go, too; what is gone lies in the trash"
    if writes:
        how_far = "of team/app there still are 0 of 2 tags, 1 of 2 manifests, 2 of 2 links to blobs"
        # Before anything is gone there is nothing to tell.
        assert told[0] == refused
    else:
        how_far = "of team/app some may be gone, and how much cannot be told now"
    assert f"the store says no; {how_far}: {rest}" in told
