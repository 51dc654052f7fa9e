"""Work of one process at a time: who asks for it is told whom it waits for."""

from __future__ import annotations

import json

import pytest

from registry.core.registry import Registry
from registry.errors import ReadOnly, TooManyRequests
from registry.store import layout
from registry.work.leased import Leased, told_holder
from registry.work.operations import Progress
from tests.inmemory import World

SECONDS = 0.1


class Clock:
    """A process's own clock, a quarter of the lease's time further with each look."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ticks = True

    def __call__(self) -> float:
        self.now += SECONDS / 4 if self.ticks else 0.0
        return self.now


def leased(world: World, who: str, clock: Clock | None = None, registry: Registry | None = None) -> Leased:
    of = registry or world.registry
    return Leased(
        lambda: of, "work", "working", "moorage work status", who=who, seconds=SECONDS, clock=clock or Clock()
    )


@pytest.fixture
def world() -> World:
    return World()


async def told(work: Leased) -> list[Progress]:
    return [one async for one in work.waiting()]


async def test_nobody_is_waited_for_where_nobody_works(world: World) -> None:
    work = leased(world, "one")
    for _ in range(2):
        assert await told(work) == []
        async with work.held() as step:
            await step()


async def test_who_may_be_dead_is_named_at_once_and_waited_for_once(world: World) -> None:
    assert await leased(world, "dead").lease().acquire()
    world.clock.advance(hours=1)
    clock = Clock()
    work = leased(world, "one", clock)
    first, *more = await told(work)
    assert first.text.startswith("dead (") and "is working, or has died" in first.text
    assert "last heard of 2026-01-01 00:00:00 UTC" in first.text and "for 100ms at most" in first.text
    assert (first.done, first.total, first.unit) == (0, 1, "seconds")
    assert more and {one.text for one in more} == {first.text}
    clock.ticks = False
    async with work.held():
        holder = await work.lease().holder()
        assert holder is not None and holder.who.startswith("one (")


async def test_who_says_something_meanwhile_is_at_it(world: World) -> None:
    alive = leased(world, "alive").lease()
    assert await alive.acquire()
    work = leased(world, "one")
    async for one in work.waiting():
        assert one.done == 0
        (epoch,) = await world.keys(layout.leases("work"))
        said = {"holder": "alive", "number": 2, "released": False}
        await world.driver.put(epoch, json.dumps(said).encode())
    with pytest.raises(TooManyRequests, match=r"^alive is working already; `moorage work status` tells"):
        async with work.held():
            pass


async def test_who_may_not_write_waits_for_nobody(world: World) -> None:
    assert await leased(world, "dead").lease().acquire()
    reading = world.process()
    reading.read_only = True
    with pytest.raises(ReadOnly):
        await told(leased(world, "one", registry=reading))


def test_a_holder_that_is_silent_for_long_is_told_to_have_died() -> None:
    assert told_holder("working now", None, None) == ""
    assert told_holder("working now", "one", 12.7) == "working now: one, heard of 12s ago"
    assert "heard of 1m1s ago; it seems to have died" in told_holder("working now", "one", 61.0)
