"""A manifest that lies about the size of a blob, again and again."""

from __future__ import annotations

import json

import pytest

from registry.errors import ManifestBlobUnknown, ManifestInvalid, TooManyRequests
from registry.model.digests import Digest
from registry.store import layout
from tests.inmemory import World, image

LAYER = b"layer"


@pytest.fixture
def world() -> World:
    return World()


def lying(size_bytes: int) -> bytes:
    """An image whose layer has another size than it says."""
    document = json.loads(image("lying"))
    document["layers"][0]["size"] = size_bytes
    return json.dumps(document).encode()


async def refuses(world: World, size_bytes: int) -> int:
    """How often the store was opened for reading while the push was refused."""
    before = world.counted.calls["open"]
    with pytest.raises(ManifestInvalid):
        await world.push_alone(lying(size_bytes))
    return world.counted.calls["open"] - before


async def test_a_wrong_size_has_the_blob_read_once(world: World) -> None:
    for blob in (b"{}", LAYER):
        await world.blob(blob)
    assert [await refuses(world, size) for size in (4, 4, 7, 9)] == [1, 0, 0, 0]
    # What was written anew is looked at anew.
    world.clock.advance(seconds=1)
    await world.blob(LAYER)
    assert [await refuses(world, 4) for _ in range(2)] == [1, 0]


async def test_damage_that_comes_later_is_found_all_the_same(world: World) -> None:
    await world.push(image("sound"))
    await refuses(world, 4)
    world.clock.advance(seconds=1)
    await world.driver.put(layout.blob_data(Digest.of(LAYER)), b"lay")
    with pytest.raises(ManifestBlobUnknown, match="damaged"):
        await world.push_alone(image("sound"))


async def test_a_blob_is_read_by_one_push_at_a_time(world: World) -> None:
    for blob in (b"{}", LAYER):
        await world.blob(blob)
    references = world.registry.pushes._references
    references._being_hashed.add(Digest.of(LAYER))
    with pytest.raises(TooManyRequests) as caught:
        await world.push_alone(lying(4))
    assert caught.value.headers["Retry-After"]
    # Of sound data nobody has to wait for that.
    await world.push_alone(image("sound"))
