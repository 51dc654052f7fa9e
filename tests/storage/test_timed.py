"""The timed driver changes nothing, and tells of what takes time or fails."""

from __future__ import annotations

import pytest

from storage.contract import Driver
from storage.errors import AlreadyExists, NotFound, TooLarge
from storage.memory import MemoryDriver
from storage.timed import TimedDriver
from tests.storage.conformance import DriverConformance
from tests.storage.probing import pieces
from tests.storage.test_memory import MemoryProbe


def unheard(operation: str, outcome: str, seconds: float) -> None:
    """Nobody listens."""


class TestTimedDriver(DriverConformance):
    """The contract, kept through the wrapper."""

    @pytest.fixture
    def inner(self) -> MemoryDriver:
        """What is wrapped."""
        return MemoryDriver()

    @pytest.fixture
    def driver(self, inner: MemoryDriver) -> Driver:
        """The wrapper."""
        return TimedDriver(inner, unheard)

    @pytest.fixture
    def probe(self, inner: MemoryDriver) -> MemoryProbe:
        """The dictionary inside."""
        return MemoryProbe(inner)


async def test_writes_and_listings_are_timed_and_failures_told() -> None:
    told: list[tuple[str, str, float]] = []
    ticks = iter(range(100))
    driver = TimedDriver(MemoryDriver(), lambda *one: told.append(one), clock=lambda: float(next(ticks)))
    await driver.put("a", b"12345")
    await driver.write("b", pieces(b"1"))
    with pytest.raises(AlreadyExists):
        await driver.put("a", b"other", if_absent=True)
    assert await driver.get("a", limit=10) == b"12345"
    await driver.stat("a")
    with pytest.raises(TooLarge):
        await driver.get("a", limit=1)
    with pytest.raises(NotFound):
        await driver.get("none", limit=1)
    with pytest.raises(NotFound):
        await driver.stat("none")
    await driver.children("")
    await driver.delete(["a"])
    assert told == [
        ("put", "ok", 1.0),
        ("write", "ok", 1.0),
        ("put", "AlreadyExists", 1.0),
        ("get", "TooLarge", 0.0),
        ("children", "ok", 1.0),
        ("delete", "ok", 1.0),
    ]
