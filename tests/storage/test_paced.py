"""The paced driver changes nothing, and keeps its pace; time passes here only when it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from storage.contract import Driver
from storage.memory import MemoryDriver
from storage.paced import PacedDriver, ReadPacedDriver
from tests.storage.conformance import DriverConformance
from tests.storage.probing import pieces, read, walked
from tests.storage.test_memory import MemoryProbe


class TestPacedDriver(DriverConformance):
    """The contract, kept through the wrapper."""

    @pytest.fixture
    def inner(self) -> MemoryDriver:
        """What is wrapped."""
        return MemoryDriver()

    @pytest.fixture
    def driver(self, inner: MemoryDriver) -> Driver:
        """The wrapper."""
        return PacedDriver(inner, 0)

    @pytest.fixture
    def probe(self, inner: MemoryDriver) -> MemoryProbe:
        """The dictionary inside."""
        return MemoryProbe(inner)


class TestReadPacedDriver(TestPacedDriver):
    """The contract, kept through the other."""

    @pytest.fixture
    def driver(self, inner: MemoryDriver) -> Driver:
        """The wrapper."""

        async def read(_: int) -> None:
            await asyncio.sleep(0)

        return ReadPacedDriver(inner, read)


async def test_each_piece_that_is_read_is_told_and_waited_for() -> None:
    told: list[int] = []

    async def tell(size_bytes: int) -> None:
        told.append(size_bytes)

    driver = ReadPacedDriver(MemoryDriver(), tell)
    await driver.put("a", bytes(3 << 19))
    async with driver.open("a", 5) as opened:
        assert told == [] and opened.file is None
        assert [len(piece) async for piece in opened.chunks()] == told == [1 << 20, (1 << 19) - 5]
    assert len(await driver.get("a", limit=1 << 21)) == told[-1] == 3 << 19


class Time:
    """Passes only for those who wait for it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waited: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """What `asyncio.sleep` would do, at once; the turn of others comes all the same."""
        if seconds > 0:
            self.waited.append(seconds)
            self.now += seconds
        await _real_sleep(0)


_real_sleep = asyncio.sleep


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(asyncio, "sleep", time.sleep)
    return time


async def test_it_keeps_its_rate(time: Time) -> None:
    driver = PacedDriver(MemoryDriver(), 100, clock=time)
    began = time.now
    for number in range(1000):
        await driver.put(f"k{number:04d}", b"")
    # What the first tenth of a second may save up is all that comes sooner.
    assert 9.85 <= time.now - began <= 10.0


async def test_who_was_idle_may_not_catch_up(time: Time) -> None:
    driver = PacedDriver(MemoryDriver(), 100, clock=time)
    await driver.put("a", b"")
    time.now += 3600
    began = time.now
    for _ in range(100):
        await driver.stat("a")
    assert 0.85 <= time.now - began <= 1.0


async def test_a_slow_store_is_waited_for_and_no_longer(time: Time) -> None:
    driver = PacedDriver(MemoryDriver(), 100, clock=time)
    await driver.put("a", b"")
    time.waited.clear()
    for _ in range(50):
        time.now += 0.02
        await driver.stat("a")
    assert time.waited == []


async def test_no_limit_waits_for_nothing_and_lets_others_come_in_between(time: Time) -> None:
    driver = PacedDriver(MemoryDriver(), 0, clock=time)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while turns < 1000:
            turns += 1
            await _real_sleep(0)

    task = asyncio.create_task(other())
    for number in range(100):
        await driver.put(f"k{number}", b"")
    assert time.waited == []
    assert 99 <= turns <= 101
    task.cancel()


async def _walk(driver: Driver) -> None:
    assert len(await walked(driver, "many")) == 2500


CALLS: dict[str, tuple[int, Callable[[Driver], Awaitable[object]]]] = {
    "get": (1, lambda driver: driver.get("a", limit=10)),
    "put": (1, lambda driver: driver.put("b", b"1")),
    "open": (1, lambda driver: read(driver, "a")),
    "write": (1, lambda driver: driver.write("c", pieces(b"1", b"2"))),
    "compose": (1, lambda driver: driver.compose("d", ["a"], size=1)),
    "copy": (1, lambda driver: driver.copy("e", "a")),
    "stat": (1, lambda driver: driver.stat("a")),
    "children": (1, lambda driver: driver.children("many")),
    "walk": (3, _walk),
    "delete": (3, lambda driver: driver.delete([f"many/{number}" for number in range(2500)])),
}


@pytest.mark.parametrize("call", CALLS)
async def test_each_call_counts_as_what_it_costs(time: Time, call: str) -> None:
    inner = MemoryDriver()
    await inner.put("a", b"1")
    for number in range(2500):
        await inner.put(f"many/{number}", b"")
    driver = PacedDriver(inner, 1, clock=time)
    await driver.stat("a")
    began = time.now
    turns, make = CALLS[call]
    await make(driver)
    assert time.now - began == pytest.approx(turns)


async def test_several_at_once_share_one_rate(time: Time) -> None:
    driver = PacedDriver(MemoryDriver(), 10, clock=time)
    ends: list[float] = []

    async def put(number: int) -> None:
        await driver.put(f"k{number}", b"")
        ends.append(driver._next)

    await asyncio.gather(*(put(number) for number in range(30)))
    assert max(ends) - 1000.0 == pytest.approx(2.9, abs=0.11)
