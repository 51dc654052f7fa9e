from __future__ import annotations

import pytest

from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store.history import Move
from tests.inmemory import NAME, TAG, World

ONE, TWO = Digest.of(b"one"), Digest.of(b"two")


@pytest.fixture
def world() -> World:
    return World()


async def test_entries_are_read_back_oldest_first(world: World) -> None:
    begun = world.clock.now
    await world.store.history.add(NAME, TAG, ONE, None, "alice")
    world.clock.advance(seconds=1)
    await world.store.history.add(NAME, TAG, TWO, ONE, "bob")
    world.clock.advance(seconds=1)
    await world.store.history.add(NAME, TAG, None, TWO, "carol")
    keys = await world.store.history.keys(NAME, TAG)
    moves = [await world.store.history.read(key) for key in keys]
    assert moves[:2] == [Move(ONE, None, "alice", begun), Move(TWO, ONE, "bob", moves[1].at)]  # type: ignore[union-attr]
    assert moves[2] == Move(None, TWO, "carol", world.clock.now)


async def test_two_entries_of_one_moment_are_two(world: World) -> None:
    await world.store.history.add(NAME, TAG, ONE, None, "alice")
    await world.store.history.add(NAME, TAG, ONE, None, "alice")
    assert len(await world.store.history.keys(NAME, TAG)) == 2


async def test_each_tag_of_each_repository_has_its_own(world: World) -> None:
    await world.store.history.add(NAME, TAG, ONE, None, "alice")
    assert await world.store.history.keys(NAME, Tag("other")) == []
    assert await world.store.history.keys(RepositoryName("team"), TAG) == []


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"[]", b"{}", b'{"digest":"x","replaced":null,"by":"a","at":"b"}']
)
async def test_a_damaged_entry_says_nothing(world: World, content: bytes) -> None:
    await world.store.history.add(NAME, TAG, ONE, None, "alice")
    (key,) = await world.store.history.keys(NAME, TAG)
    await world.driver.put(key, content)
    assert await world.store.history.read(key) is None
    assert await world.store.history.read(f"{key}x") is None
