"""The contract's sentences on objects made of objects, one test each."""

from __future__ import annotations

import os

import pytest

from storage.contract import Driver
from storage.errors import (
    NotFound,
    Unavailable,
)
from tests.storage.probing import (
    MIB,
    DriverTests,
    Probe,
    outcomes,
    pieces,
)


class JoinConformance(DriverTests):
    """Objects made of objects."""

    # compose

    @pytest.mark.parametrize(
        "sizes", [[], [0], [5], [0, 0], [3, 0, 4], [MIB, 1, 5 * MIB], [9 * MIB, 1], [1] * 300]
    )
    async def test_compose_joins_in_order_and_removes(
        self, driver: Driver, probe: Probe, sizes: list[int]
    ) -> None:
        data = [os.urandom(size) for size in sizes]
        sources = [f"parts/{len(data) - number:04}/x" for number in range(len(data))]
        for source, part in zip(sources, data, strict=True):
            await driver.put(source, part, durable=False)
        await driver.compose("whole/a", sources, size=sum(sizes))
        assert probe.get("whole/a") == b"".join(data)
        assert probe.names() == {"whole/a"}
        assert await driver.children("") == ["whole"]

    @pytest.mark.parametrize("count", [0, 1, 2])
    async def test_compose_always_replaces(self, driver: Driver, probe: Probe, count: int) -> None:
        for before in (b"0" * count, b"something else"):
            probe.set("key", before)
            sources = [f"part{number}" for number in range(count)]
            for source in sources:
                probe.set(source, b"x")
            await driver.compose("key", sources, size=count)
            assert probe.get("key") == b"x" * count
            assert probe.names() == {"key"}

    async def test_compose_leaves_siblings_of_the_sources(self, driver: Driver, probe: Probe) -> None:
        for key in ("parts/1", "parts/2", "parts/3"):
            probe.set(key, b"x")
        await driver.compose("parts/whole", ["parts/1", "parts/2"], size=2)
        assert probe.names() == {"parts/3", "parts/whole"}

    @pytest.mark.parametrize("sources", [["1"], ["1", "2"], ["2", "1"], ["0", "1", "2"]])
    async def test_compose_again_is_done_already(
        self, driver: Driver, probe: Probe, sources: list[str]
    ) -> None:
        probe.set("key", b"whole")
        probe.set("2", b"left by a crash")
        await driver.compose("key", sources, size=5)
        assert probe.get("key") == b"whole"

    @pytest.mark.parametrize("sources", [["1"], ["1", "2"], ["2", "1"]])
    async def test_compose_without_a_source(self, driver: Driver, probe: Probe, sources: list[str]) -> None:
        probe.set("2", b"kept")
        with pytest.raises(NotFound):
            await driver.compose("key", sources, size=5)
        assert probe.names() == {"2"}
        probe.set("key", b"of another size")
        with pytest.raises(NotFound):
            await driver.compose("key", sources, size=5)
        assert probe.get("key") == b"of another size"
        assert probe.get("2") == b"kept"
        assert probe.names() == {"2", "key"}

    async def test_compose_refuses_another_size(self, driver: Driver, probe: Probe) -> None:
        probe.set("1", b"one")
        probe.set("2", b"two")
        for sources in (["1"], ["1", "2"], []):
            with pytest.raises(Unavailable):
                await driver.compose("key", sources, size=5)
        assert probe.names() == {"1", "2"}

    @pytest.mark.parametrize("others", [[], ["2"]])
    async def test_compose_onto_a_source_keeps_it(
        self, driver: Driver, probe: Probe, others: list[str]
    ) -> None:
        probe.set("1", b"one")
        probe.set("2", b"two")
        await driver.compose("1", ["1", *others], size=3 + 3 * len(others))
        assert probe.get("1") == b"one" + b"two" * len(others)

    async def test_two_composes_of_the_same_both_succeed(self, driver: Driver, probe: Probe) -> None:
        for count in (1, 2, 20):
            sources = [f"parts/{number}" for number in range(count)]
            for source in sources:
                probe.set(source, b"x" * 1000)
            results = await outcomes(*(driver.compose("key", sources, size=1000 * count) for _ in range(4)))
            assert results == [None] * 4
            assert probe.get("key") == b"x" * 1000 * count
            assert probe.names() == {"key"}

    async def test_compose_of_a_copy_onto_the_other(self, driver: Driver, probe: Probe) -> None:
        await driver.put("a/1", b"data")
        await driver.copy("a/2", "a/1")
        await driver.compose("a/1", ["a/2"], size=4)
        assert probe.get("a/1") == b"data"
        assert probe.names() == {"a/1"}

    # copy

    async def test_copy(self, driver: Driver, probe: Probe) -> None:
        probe.set("a/b", b"data")
        await driver.copy("c/d", "a/b")
        assert probe.get("a/b") == b"data"
        assert probe.get("c/d") == b"data"
        assert probe.names() == {"a/b", "c/d"}

    async def test_a_copy_is_an_object_of_its_own(self, driver: Driver, probe: Probe) -> None:
        await driver.put("a", b"one")
        await driver.copy("b", "a")
        await driver.copy("c", "a")
        await driver.put("a", b"new")
        await driver.write("c", pieces(b"newer"))
        assert probe.get("b") == b"one"
        await driver.delete(["a"])
        assert probe.get("b") == b"one"
        assert probe.names() == {"b", "c"}

    async def test_copy_leaves_what_is_there(self, driver: Driver, probe: Probe) -> None:
        probe.set("a", b"source")
        probe.set("b", b"there")
        await driver.copy("b", "a")
        await driver.copy("a", "a")
        assert probe.get("b") == b"there"
        assert probe.names() == {"a", "b"}

    async def test_copy_of_nothing(self, driver: Driver, probe: Probe) -> None:
        with pytest.raises(NotFound) as caught:
            await driver.copy("b/c", "a")
        assert caught.value.key == "a"
        assert probe.names() == set()
