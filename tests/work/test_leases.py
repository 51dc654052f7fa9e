"""A lease has one holder at a time as long as everybody is quick, and passes on when its holder is silent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from registry.store import layout
from registry.work.leases import Lease, LeaseLost
from storage.memory import MemoryDriver
from tests.inmemory import Clock, World, effects

SECONDS = 60.0


class Hand:
    """A process's own clock, which has nothing to do with anybody else's."""

    def __init__(self, began: float) -> None:
        self.now = began

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def world() -> World:
    return World()


class Process:
    """One process's view of the lease."""

    def __init__(self, world: World, who: str, began: float = 0.0, driver: Any = None) -> None:
        self.clock = Hand(began)
        self.lease = Lease(
            driver or world.driver,
            world.store.effects,
            "work",
            who=who,
            seconds=SECONDS,
            clock=self.clock,
        )

    async def waits(self, seconds: float) -> bool:
        """Let time pass by its own clock, and look again."""
        self.clock.now += seconds
        return await self.lease.acquire()


async def epochs(world: World) -> list[str]:
    return [key.rpartition("/")[2].lstrip("0") for key in await world.keys(layout.leases("work"))]


async def test_it_is_free_at_first_and_told_by_whom_it_is_held(world: World) -> None:
    one = Process(world, "one")
    assert await one.lease.holder() is None
    assert await one.lease.acquire()
    holder = await Process(world, "other").lease.holder()
    assert holder is not None and holder.who.startswith("one (")


async def test_one_of_two_that_ask_at_once_has_it(world: World) -> None:
    """In every order of their calls: each is a coroutine that is driven here step by step."""
    for late in range(4):
        world = World()
        winners = await together(world, late)
        assert winners.count(True) == 1, late


async def together(world: World, late: int) -> list[bool]:
    gate = asyncio.Event()
    calls = 0

    class Slow(MemoryDriver):
        async def put(self, key: str, data: bytes, **how: Any) -> None:
            nonlocal calls
            if calls == late:
                await gate.wait()
            calls += 1
            await world.driver.put(key, data, **how)

        async def get(self, key: str, *, limit: int) -> bytes:
            return await world.driver.get(key, limit=limit)

        async def children(self, prefix: str, **how: Any) -> list[str]:
            return await world.driver.children(prefix, **how)

        async def delete(self, keys: Any, **how: Any) -> None:
            await world.driver.delete(keys, **how)

    slow, quick = Process(world, "slow", driver=Slow()), Process(world, "quick")
    asking = asyncio.create_task(slow.lease.acquire())
    await asyncio.sleep(0)
    won = await quick.lease.acquire()
    gate.set()
    return [won, await asking]


async def test_it_is_had_at_once_when_it_was_released(world: World) -> None:
    one, other = Process(world, "one"), Process(world, "other", 1000.0)
    assert await one.lease.acquire()
    assert not await other.lease.acquire()
    await one.lease.release()
    assert await other.lease.holder() is None
    assert await other.lease.acquire()
    # Nothing of what was released is said in the name of the new holder.
    await one.lease.release()
    holder = await one.lease.holder()
    assert holder is not None and holder.who.startswith("other (")


async def test_it_passes_on_after_silence_by_the_clock_of_the_one_who_takes_it(world: World) -> None:
    """Neither the store's clock nor that of the holder counts."""
    one, other = Process(world, "one"), Process(world, "other", 5000.0)
    assert await one.lease.acquire()
    world.clock.advance(days=30)
    one.clock.now += 30 * 86400
    assert not await other.waits(0)
    assert not await other.waits(SECONDS - 0.1)
    assert not other.lease.is_alive
    assert await other.waits(0.1)
    assert await epochs(world) == ["1", "2"]


async def test_a_holder_that_speaks_keeps_it(world: World) -> None:
    one, other = Process(world, "one"), Process(world, "other")
    assert await one.lease.acquire()
    assert not await other.waits(0)
    for _ in range(20):
        one.clock.now += SECONDS / 4
        await one.lease.beat()
        assert not await other.waits(SECONDS - 1)
        assert other.lease.is_alive
    assert await epochs(world) == ["1"]


async def test_a_beat_costs_nothing_until_a_quarter_of_the_time_is_over(world: World) -> None:
    one = Process(world, "one")
    assert await one.lease.acquire()
    world.counted.calls.clear()
    for _ in range(100):
        one.clock.now += SECONDS / 4 / 101
        await one.lease.beat()
    assert not world.counted.calls
    one.clock.now += SECONDS / 4
    await one.lease.beat()
    assert world.counted.calls == {"children": 1, "put": 1}


async def test_a_slow_holder_finds_out_before_it_says_another_word(world: World) -> None:
    one, other = Process(world, "one"), Process(world, "other")
    assert await one.lease.acquire()
    assert not await other.waits(0)
    assert await other.waits(SECONDS)
    one.clock.now += SECONDS
    said = await world.driver.get((await world.keys(layout.leases("work")))[0], limit=1000)
    with pytest.raises(LeaseLost):
        await one.lease.beat()
    assert await world.driver.get((await world.keys(layout.leases("work")))[0], limit=1000) == said
    # What it lets go of is not the new holder's.
    await one.lease.release()
    holder = await one.lease.holder()
    assert holder is not None and holder.who.startswith("other (")
    assert not await Process(world, "third").lease.acquire()


async def test_of_two_that_wait_for_a_dead_holder_one_gets_it(world: World) -> None:
    dead, one, two = Process(world, "dead"), Process(world, "one"), Process(world, "two")
    assert await dead.lease.acquire()
    assert not await one.waits(0) and not await two.waits(0)
    assert await one.waits(SECONDS)
    # It looks once more, and sees a new holder whom it has to wait for.
    assert not await two.waits(SECONDS)
    assert not await two.waits(SECONDS - 1)
    assert await two.waits(1)
    assert await epochs(world) == ["2", "3"]
    one.clock.now += SECONDS
    with pytest.raises(LeaseLost):
        await one.lease.beat()


async def test_who_saw_an_older_epoch_does_not_get_it_once_more(world: World) -> None:
    """Between the look and the claim of one, others have gone through two epochs."""
    dead, slow = Process(world, "dead"), Process(world, "slow")
    assert await dead.lease.acquire()
    assert not await slow.waits(0)
    slow.clock.now += SECONDS
    gate, reached = asyncio.Event(), asyncio.Event()

    class Waiting(MemoryDriver):
        async def put(self, key: str, data: bytes, **how: Any) -> None:
            reached.set()
            await gate.wait()
            await world.driver.put(key, data, **how)

    slow.lease._driver = _But(world.driver, Waiting())
    claiming = asyncio.create_task(slow.lease.acquire())
    await reached.wait()
    for who in ("two", "three", "four"):
        quick = Process(world, who)
        assert not await quick.waits(0)
        assert await quick.waits(SECONDS)
    gate.set()
    assert not await claiming
    holder = await quick.lease.holder()
    assert holder is not None and holder.who.startswith("four (")
    quick.clock.now += SECONDS
    await quick.lease.beat()


class _But:
    """A driver with the `put` of another."""

    def __init__(self, inner: Any, other: Any) -> None:
        self.put = other.put
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def test_old_epochs_go(world: World) -> None:
    for number in range(10):
        process = Process(world, str(number))
        assert await process.lease.acquire()
        await process.lease.release()
    assert await epochs(world) == ["9", "10"]


@pytest.mark.parametrize(
    "garbage", [b"", b"\0", b"[]", b"{}", b'{"holder":1}', b'{"holder":"x","number":"y"}']
)
async def test_what_cannot_be_read_is_a_silent_holder(world: World, garbage: bytes) -> None:
    """A power cut may have torn it."""
    await world.driver.put(layout.leases("work") + f"/{7:020d}", garbage)
    one = Process(world, "one")
    assert await one.lease.holder() is None
    assert not await one.waits(0)
    assert not await one.waits(SECONDS - 1)
    assert await one.waits(1)
    assert await epochs(world) == ["7", "8"]


async def test_what_is_no_epoch_is_left_alone(world: World) -> None:
    await world.driver.put(layout.leases("work") + "/notes", b"mine")
    one = Process(world, "one")
    assert await one.lease.acquire()
    assert await epochs(world) == ["1", "notes"]


async def test_leases_of_other_names_are_others(world: World) -> None:
    assert await Process(world, "one").lease.acquire()
    other = Lease(world.driver, effects(Clock()), "other work", who="two", seconds=SECONDS, clock=lambda: 0.0)
    with pytest.raises(Exception, match="key"):
        await other.acquire()
    other = Lease(world.driver, effects(Clock()), "other", who="two", seconds=SECONDS, clock=lambda: 0.0)
    assert await other.acquire()
