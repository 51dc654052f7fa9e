"""The bound on upload sessions, over several processes."""

from __future__ import annotations

import pytest

from registry.errors import TooManyRequests
from registry.model.digests import Digest
from tests.inmemory import NAME, Bytes, World


@pytest.fixture
def world() -> World:
    made = World()
    made.registry = made.process(sessions=20)
    return made


async def begin(world: World, number: int) -> list[str]:
    repository = world.repository()
    return [(await repository.begin_upload("sha256")).uuid for _ in range(number)]


async def refuses(world: World) -> bool:
    try:
        await begin(world, 1)
    except TooManyRequests as error:
        assert int(error.headers["Retry-After"]) > 0
        return True
    return False


async def test_one_too_many_is_refused_until_one_has_ended(world: World) -> None:
    (first, second, *_) = await begin(world, 20)
    assert await refuses(world)
    await world.repository().cancel_upload(first)
    assert [await refuses(world) for _ in range(2)] == [False, True]
    await world.repository().finish_upload(second, Digest.of(b"content"), Bytes(b"content"), None)
    assert [await refuses(world) for _ in range(2)] == [False, True]
    # Such a push needs no session.
    await world.blob(b"whole")


async def test_what_other_processes_began_counts_when_the_bound_is_near(world: World) -> None:
    other = world.process(sessions=20)
    for _ in range(15):
        await other.repository(NAME, "tester").begin_upload("sha256")
    # Its own 18 are near the bound; then it sees all 33.
    await begin(world, 18)
    assert await refuses(world)


async def test_what_other_processes_ended_counts_no_more(world: World) -> None:
    uuids = await begin(world, 20)
    other = world.process(sessions=20)
    for uuid in uuids:
        await other.repository(NAME, "tester").cancel_upload(uuid)
    world.clock.advance(seconds=11)
    assert not await refuses(world)


async def test_a_flood_is_not_answered_by_listing_each_time(world: World) -> None:
    await begin(world, 20)
    world.counted.calls.clear()
    for _ in range(50):
        assert await refuses(world)
    assert world.counted.calls["children"] <= 1
