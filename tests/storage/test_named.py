"""The driver that names its store changes nothing but the text of errors."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from storage.contract import Driver
from storage.errors import NotFound, StorageError, Unavailable
from storage.memory import MemoryDriver
from storage.named import NamedDriver
from tests.bundles.failing import Failing
from tests.storage.conformance import DriverConformance
from tests.storage.probing import pieces, walked
from tests.storage.test_memory import MemoryProbe


class TestNamedDriver(DriverConformance):
    """The contract, kept through the wrapper."""

    @pytest.fixture
    def inner(self) -> MemoryDriver:
        """What is wrapped."""
        return MemoryDriver()

    @pytest.fixture
    def driver(self, inner: MemoryDriver) -> Driver:
        """The wrapper."""
        return NamedDriver(inner, "the target")

    @pytest.fixture
    def probe(self, inner: MemoryDriver) -> MemoryProbe:
        """The dictionary inside."""
        return MemoryProbe(inner)


async def test_every_call_that_fails_says_where() -> None:
    failing = Failing(MemoryDriver(), lambda: Unavailable("a", "no answer"), left=0)
    driver = NamedDriver(failing, "the target, /srv")

    async def opened() -> None:
        async with driver.open("a"):
            pass

    for call in (
        driver.get("a", limit=1),
        driver.put("a", b""),
        opened(),
        driver.write("a", pieces(b"1")),
        driver.compose("a", [], size=0),
        driver.copy("a", "b"),
        driver.stat("a"),
        driver.children(""),
        walked(driver, ""),
        driver.delete(["a"]),
    ):
        with pytest.raises(Unavailable, match=r"^the target, /srv: no answer: 'a'$") as raised:
            await call
        assert raised.value.message == "no answer"


async def test_what_is_written_from_another_store_and_breaks_there_is_told_of_that_one() -> None:
    source, target = (NamedDriver(MemoryDriver(), name) for name in ("the source", "the target"))

    async def chunks() -> AsyncIterator[bytes]:
        await source.get("gone", limit=1)
        yield b""

    with pytest.raises(NotFound, match=r"^the source: no such object: 'gone'$"):
        await target.write("a", chunks())
    await source.put("a", b"1")
    with pytest.raises(StorageError, match=r"^the target: no such object: 'gone'$"):
        async with source.open("a"):
            await target.get("gone", limit=1)
    with pytest.raises(Unavailable, match=r"^the source: cut off: 'a'$"):
        async with source.open("a"):
            raise Unavailable("a", "cut off")
