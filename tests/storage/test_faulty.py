"""The faulty driver keeps the contract until it is told otherwise, and then fails as told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from storage.contract import Driver
from storage.errors import Unavailable
from storage.memory import MemoryDriver
from tests.storage.conformance import DriverConformance
from tests.storage.faulty import FaultyDriver, Method
from tests.storage.probing import pieces, read, walked
from tests.storage.test_memory import MemoryProbe

FAILURE = Unavailable("", "as told")


class TestFaultyDriver(DriverConformance):
    """The contract, kept while no rule is set."""

    @pytest.fixture
    def inner(self) -> MemoryDriver:
        """What is wrapped."""
        return MemoryDriver()

    @pytest.fixture
    def driver(self, inner: MemoryDriver) -> Driver:
        """The wrapper."""
        return FaultyDriver(inner)

    @pytest.fixture
    def probe(self, inner: MemoryDriver) -> MemoryProbe:
        """The dictionary inside."""
        return MemoryProbe(inner)


@pytest.fixture
def faulty() -> FaultyDriver:
    return FaultyDriver(MemoryDriver())


async def test_each_method_can_fail_before_it_has_an_effect(faulty: FaultyDriver) -> None:
    await faulty.put("a", b"x")
    calls: dict[Method, Callable[[], Awaitable[object]]] = {
        "get": lambda: faulty.get("a", limit=1),
        "put": lambda: faulty.put("a", b"y"),
        "open": lambda: read(faulty, "a"),
        "write": lambda: faulty.write("a", pieces(b"y")),
        "compose": lambda: faulty.compose("b", ["a"], size=1),
        "copy": lambda: faulty.copy("b", "a"),
        "stat": lambda: faulty.stat("a"),
        "children": lambda: faulty.children(""),
        "walk": lambda: walked(faulty, ""),
        "delete": lambda: faulty.delete(["a"]),
    }
    for method, call in calls.items():
        faulty.fail(method, FAILURE)
        with pytest.raises(Unavailable):
            await call()
        assert await faulty.get("a", limit=1) == b"x"
        assert await walked(faulty, "") == ["a"]


async def test_an_answer_can_be_lost_after_the_effect(faulty: FaultyDriver) -> None:
    faulty.fail("put", FAILURE, when="after")
    with pytest.raises(Unavailable):
        await faulty.put("a", b"x")
    assert await faulty.get("a", limit=1) == b"x"


async def test_only_the_keys_and_the_times_that_were_asked_for(faulty: FaultyDriver) -> None:
    faulty.fail("put", FAILURE, key=lambda key: key.startswith("b"), skip=1, times=2)
    await faulty.put("a", b"")
    await faulty.put("b1", b"")
    for key in ("b2", "b3"):
        with pytest.raises(Unavailable):
            await faulty.put(key, b"")
    await faulty.put("b4", b"")
    assert await walked(faulty, "") == ["a", "b1", "b4"]


async def test_a_lasting_fault_ends_when_healed(faulty: FaultyDriver) -> None:
    faulty.fail("stat", FAILURE, times=None)
    await faulty.put("a", b"")
    for _ in range(3):
        with pytest.raises(Unavailable):
            await faulty.stat("a")
    faulty.heal()
    await faulty.stat("a")


async def test_a_call_can_be_stopped_and_let_go(faulty: FaultyDriver) -> None:
    pause = faulty.pause("put", key=lambda key: key == "a")
    putting = asyncio.ensure_future(faulty.put("a", b"first"))
    await pause.reached()
    assert await walked(faulty, "") == []
    await faulty.put("a", b"second")
    pause.release()
    await putting
    assert await faulty.get("a", limit=9) == b"first"


async def test_the_calls_are_remembered_with_their_keys(faulty: FaultyDriver) -> None:
    await faulty.put("a", b"")
    await faulty.copy("b", "a")
    await faulty.delete(["a", "b"])
    assert faulty.calls == [("put", ("a",)), ("copy", ("b", "a")), ("delete", ("a", "b"))]
