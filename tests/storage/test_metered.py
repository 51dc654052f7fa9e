"""The metered driver changes nothing, and counts."""

from __future__ import annotations

import pytest

from storage.contract import Driver
from storage.errors import AlreadyExists, NotFound
from storage.memory import MemoryDriver
from storage.metered import MeteredDriver
from tests.storage.conformance import DriverConformance
from tests.storage.probing import pieces, read, walked
from tests.storage.test_memory import MemoryProbe


class TestMeteredDriver(DriverConformance):
    """The contract, kept through the wrapper."""

    @pytest.fixture
    def inner(self) -> MemoryDriver:
        """What is wrapped."""
        return MemoryDriver()

    @pytest.fixture
    def driver(self, inner: MemoryDriver) -> Driver:
        """The wrapper."""
        return MeteredDriver(inner)

    @pytest.fixture
    def probe(self, inner: MemoryDriver) -> MemoryProbe:
        """The dictionary inside."""
        return MemoryProbe(inner)


async def test_calls_and_bytes_are_counted_by_method() -> None:
    driver = MeteredDriver(MemoryDriver())
    await driver.put("a", b"12345")
    await driver.put("b", b"1", durable=False)
    assert await driver.write("c/d", pieces(b"12", b"3")) == 3
    await driver.get("a", limit=10)
    await read(driver, "a", 1, 4)
    await driver.copy("e", "a")
    await driver.compose("f", ["a", "b"], size=6)
    await driver.stat("f")
    await driver.children("")
    await walked(driver, "")
    await driver.delete(["f", "c/d"])
    assert driver.calls == {
        "put": 2, "write": 1, "get": 1, "open": 1, "copy": 1, "compose": 1, "stat": 1, "children": 1,
        "walk": 1, "delete": 1,
    }  # fmt: skip
    assert driver.bytes == {"put": 6, "write": 3, "get": 5, "open": 3}


async def test_what_fails_counts_as_a_call_without_bytes() -> None:
    driver = MeteredDriver(MemoryDriver())
    await driver.put("a", b"12345")
    driver.reset()
    with pytest.raises(AlreadyExists):
        await driver.put("a", b"other", if_absent=True)
    with pytest.raises(NotFound):
        await driver.get("b", limit=1)
    assert driver.calls == {"put": 1, "get": 1}
    assert not driver.bytes
