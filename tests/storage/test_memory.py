"""The memory driver keeps the contract, by a clock and an epoch of the test's choosing."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from storage.keys import TEMPORARY_PREFIX
from storage.memory import MemoryDriver
from tests.storage.conformance import DriverConformance


class MemoryProbe:
    """Looks into the dictionary of a memory driver."""

    def __init__(self, driver: MemoryDriver) -> None:
        self._driver = driver

    def get(self, key: str) -> bytes | None:
        """The bytes."""
        there = self._driver._objects.get(key)
        return None if there is None else there[0]

    def set(self, key: str, data: bytes) -> None:
        """There is one way into a dictionary that is kept in step with its index."""
        self._driver._store(key, data, if_absent=False)

    def names(self) -> frozenset[str]:
        """All keys."""
        assert not any(TEMPORARY_PREFIX in key for key in self._driver._objects)
        return frozenset(self._driver._objects)


class TestMemoryDriver(DriverConformance):
    """The contract."""

    @pytest.fixture
    def driver(self) -> MemoryDriver:
        """An empty one."""
        return MemoryDriver()

    @pytest.fixture
    def probe(self, driver: MemoryDriver) -> MemoryProbe:
        """Its dictionary."""
        return MemoryProbe(driver)


async def test_the_clock_stamps_what_is_written() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    ticks = itertools.count()
    driver = MemoryDriver(clock=lambda: start + timedelta(days=next(ticks)))
    await driver.put("a", b"")
    await driver.put("b", b"")
    assert (await driver.stat("a")).modified_at == start
    assert (await driver.stat("b")).modified_at == start + timedelta(days=1)


def test_the_epoch_is_as_told() -> None:
    assert MemoryDriver(epoch=None).epoch is None
    assert MemoryDriver(epoch="boot 2").epoch == "boot 2"
