"""The withholding driver keeps the contract for all but what it withholds; it does not give or take that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from storage.contract import Driver
from storage.errors import NotFound, Withheld
from storage.memory import MemoryDriver
from storage.withholding import WithholdingDriver
from tests.storage.conformance import DriverConformance
from tests.storage.test_memory import MemoryProbe


class TestContract(DriverConformance):
    """The contract, kept through the wrapper."""

    @pytest.fixture
    def inner(self) -> MemoryDriver:
        return MemoryDriver()

    @pytest.fixture
    def driver(self, inner: MemoryDriver) -> Driver:
        return WithholdingDriver(inner, lambda _: False)

    @pytest.fixture
    def probe(self, inner: MemoryDriver) -> MemoryProbe:
        return MemoryProbe(inner)


async def some() -> AsyncIterator[bytes]:
    yield b"bytes"


async def opened(driver: Driver) -> None:
    async with driver.open("no/one"):
        pass


Call = Callable[[Driver], Awaitable[object]]
READS: tuple[Call, ...] = (
    lambda driver: driver.get("no/one", limit=10),
    lambda driver: driver.stat("no/one"),
    lambda driver: driver.copy("other", "no/one"),
    opened,
)
WRITES: tuple[Call, ...] = (
    lambda driver: driver.put("no/one", b"bytes"),
    lambda driver: driver.write("no/one", some()),
    lambda driver: driver.compose("no/one", ["yes"], size=5),
    lambda driver: driver.copy("no/one", "yes"),
)


class Late:
    """What is withheld from the second look on: the write has begun."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self, key: str) -> bool:
        self.looks += key.startswith("no/")
        return key.startswith("no/") and self.looks > 1


@pytest.mark.parametrize("call", READS)
async def test_what_is_withheld_is_not_there(call: Call) -> None:
    inner = MemoryDriver()
    await inner.put("no/one", b"bytes")
    driver = WithholdingDriver(inner, lambda key: key.startswith("no/"))
    with pytest.raises(NotFound):
        await call(driver)
    assert await driver.children("no") == []
    assert [key async for key in driver.walk("no")] == ["no/one"], "so that it can be removed"
    await driver.delete(["no/one"])
    assert await inner.children("no") == []


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("call", WRITES)
async def test_what_is_withheld_is_not_taken(call: Call, late: bool) -> None:
    inner = MemoryDriver()
    await inner.put("yes", b"bytes")
    driver = WithholdingDriver(inner, Late() if late else lambda key: key.startswith("no/"))
    with pytest.raises(Withheld):
        await call(driver)
    assert await inner.children("no") == []
