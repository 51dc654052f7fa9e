"""The contract's sentences on writing and deleting, one test each."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence

import pytest

from storage.contract import Driver, InMemory
from storage.errors import (
    AlreadyExists,
    NotFound,
)
from tests.storage.probing import (
    MIB,
    DriverTests,
    Probe,
    Recorder,
    Refused,
    outcomes,
    pieces,
    read,
    refuse,
    walked,
)


class WriteConformance(DriverTests):
    """Objects as they come and go."""

    # put

    @pytest.mark.parametrize("durable", [True, False])
    @pytest.mark.parametrize("if_absent", [True, False])
    async def test_put(self, driver: Driver, probe: Probe, if_absent: bool, durable: bool) -> None:
        await driver.put("a/b", b"one", if_absent=if_absent, durable=durable)
        assert probe.get("a/b") == b"one"
        assert probe.names() == {"a/b"}

    @pytest.mark.parametrize("durable", [True, False])
    async def test_put_replaces(self, driver: Driver, probe: Probe, durable: bool) -> None:
        probe.set("a/b", b"a longer one")
        await driver.put("a/b", b"two", durable=durable)
        assert probe.get("a/b") == b"two"
        assert probe.names() == {"a/b"}

    @pytest.mark.parametrize("durable", [True, False])
    async def test_put_if_absent_leaves_other_bytes(
        self, driver: Driver, probe: Probe, durable: bool
    ) -> None:
        for there in (b"one", b"a longer one", b""):
            probe.set("a/b", there)
            with pytest.raises(AlreadyExists):
                await driver.put("a/b", b"two", if_absent=True, durable=durable)
            assert probe.get("a/b") == there
        assert probe.names() == {"a/b"}

    @pytest.mark.parametrize("durable", [True, False])
    async def test_put_if_absent_of_equal_bytes(self, driver: Driver, probe: Probe, durable: bool) -> None:
        for data in (b"one", b""):
            probe.set("a/b", data)
            await driver.put("a/b", data, if_absent=True, durable=durable)
            assert probe.get("a/b") == data
        assert probe.names() == {"a/b"}

    async def test_one_of_many_wins_with_put_if_absent(self, driver: Driver, probe: Probe) -> None:
        for turn in range(5):
            key = f"race/{turn}/key"
            data = [b"%d" % number for number in range(12)]
            results = await outcomes(*(driver.put(key, each, if_absent=True) for each in data))
            winners = [each for each, result in zip(data, results, strict=True) if result is None]
            losers = [result for result in results if result is not None]
            assert winners == [probe.get(key)]
            assert all(isinstance(loser, AlreadyExists) for loser in losers), losers

    async def test_all_win_with_equal_bytes(self, driver: Driver, probe: Probe) -> None:
        results = await outcomes(*(driver.put("a/b", b"same", if_absent=True) for _ in range(12)))
        assert results == [None] * 12
        assert probe.get("a/b") == b"same"
        assert probe.names() == {"a/b"}

    async def test_readers_see_whole_objects_while_they_are_replaced(self, driver: Driver) -> None:
        versions = [
            bytes([letter]) * size for letter, size in ((65, 1), (66, 200_000), (67, 70_000), (68, 0))
        ]
        await driver.put("a", versions[0])
        writing = asyncio.gather(*(driver.put("a", data, durable=False) for data in versions * 5))
        while not writing.done():
            assert await driver.get("a", limit=MIB) in versions
            assert await read(driver, "a") in versions
            await asyncio.sleep(0)
        await writing

    # write

    @pytest.mark.parametrize("durable", [True, False])
    @pytest.mark.parametrize("if_absent", [True, False])
    @pytest.mark.parametrize(
        "sizes",
        [[], [0], [1], [0, 3, 0, 5], [MIB], [MIB - 1, 1, 1], [100_000] * 33, [3 * MIB, 1], [1] * 1500],
        ids=lambda sizes: f"{len(sizes)}x{sizes[0] if sizes else 0}",
    )
    async def test_write(
        self, driver: Driver, probe: Probe, sizes: list[int], if_absent: bool, durable: bool
    ) -> None:
        data = [os.urandom(size) for size in sizes]
        size = await driver.write("a/b", pieces(*data), if_absent=if_absent, durable=durable)
        assert size == sum(sizes)
        assert probe.get("a/b") == b"".join(data)
        assert probe.names() == {"a/b"}

    @pytest.mark.parametrize("sizes", [[], [0], [1], [100_000] * 33, [3 * MIB, 1], [1] * 1500])
    async def test_write_what_lies_in_memory(self, driver: Driver, probe: Probe, sizes: list[int]) -> None:
        data, recorder = [os.urandom(size) for size in sizes], Recorder()
        assert await driver.write("a/b", InMemory(data), check=recorder, durable=False) == sum(sizes)
        assert probe.get("a/b") == b"".join(data)
        assert b"".join(recorder.seen) == b"".join(data) and recorder.finished == 1

    async def test_write_replaces(self, driver: Driver, probe: Probe) -> None:
        probe.set("a/b", b"a longer one")
        await driver.write("a/b", pieces(b"t", b"wo"))
        assert probe.get("a/b") == b"two"
        assert probe.names() == {"a/b"}

    async def test_write_if_absent(self, driver: Driver, probe: Probe) -> None:
        for there in (b"one", b"longer", b""):
            probe.set("a/b", there)
            with pytest.raises(AlreadyExists):
                await driver.write("a/b", pieces(b"t", b"wo"), if_absent=True)
            assert probe.get("a/b") == there
            await driver.write("a/b", pieces(there), if_absent=True)
            assert probe.get("a/b") == there
        assert probe.names() == {"a/b"}

    async def test_write_if_absent_compares_to_the_last_byte(self, driver: Driver, probe: Probe) -> None:
        data = os.urandom(9 * MIB)
        probe.set("a", data)
        await driver.write("a", pieces(data), if_absent=True)
        with pytest.raises(AlreadyExists):
            await driver.write("a", pieces(data[:-1], bytes([data[-1] ^ 1])), if_absent=True)
        assert probe.get("a") == data

    async def test_one_of_many_wins_with_write_if_absent(self, driver: Driver, probe: Probe) -> None:
        data = [b"%d" % number for number in range(12)]
        results = await outcomes(*(driver.write("a/b", pieces(each), if_absent=True) for each in data))
        winners = [each for each, result in zip(data, results, strict=True) if isinstance(result, int)]
        assert winners == [probe.get("a/b")]
        assert sum(isinstance(result, AlreadyExists) for result in results) == 11

    async def test_the_check_sees_every_piece_in_order(self, driver: Driver) -> None:
        data = [os.urandom(size) for size in (10, 700_000, 700_000, 3, 2 * MIB, 1)]
        check = Recorder()
        await driver.write("a", pieces(*data), check=check)
        assert b"".join(check.seen) == b"".join(data)
        assert check.finished == 1

    async def test_the_check_ends_before_the_object_is_visible(self, driver: Driver, probe: Probe) -> None:
        at_the_end: list[bytes | None] = []
        check = Recorder(lambda: at_the_end.append(probe.get("a")))
        await driver.write("a", pieces(b"x" * 2 * MIB), check=check)
        assert at_the_end == [None]

    @pytest.mark.parametrize("size", [0, 1, 2 * MIB])
    async def test_what_the_check_refuses_leaves_nothing(
        self, driver: Driver, probe: Probe, size: int
    ) -> None:
        with pytest.raises(Refused):
            await driver.write("a/b", pieces(b"x" * size), check=Recorder(refuse))
        assert probe.names() == set()
        probe.set("a/b", b"before")
        with pytest.raises(Refused):
            await driver.write("a/b", pieces(b"x" * size), check=Recorder(refuse))
        assert probe.get("a/b") == b"before"
        assert probe.names() == {"a/b"}

    async def test_what_the_check_raises_meanwhile_leaves_nothing(self, driver: Driver, probe: Probe) -> None:
        class Impatient(Recorder):
            def update(self, piece: bytes | bytearray | memoryview, /) -> None:
                super().update(piece)
                if len(self.seen) == 3:
                    raise Refused

        with pytest.raises(Refused):
            await driver.write("a/b", pieces(*[b"x" * MIB] * 5), check=Impatient())
        assert probe.names() == set()

    @pytest.mark.parametrize(
        "error", [Refused(), ConnectionResetError(104, "reset by peer"), OSError(28, "full")]
    )
    @pytest.mark.parametrize("size", [0, 10, MIB, 3 * MIB])
    async def test_what_the_iterator_raises_is_raised_and_leaves_nothing(
        self, driver: Driver, probe: Probe, size: int, error: Exception
    ) -> None:
        async def breaking() -> AsyncIterator[bytes]:
            for _ in range(size // MIB):
                yield b"x" * MIB
            yield b"x" * (size % MIB)
            raise error

        check = Recorder()
        with pytest.raises(type(error)) as caught:
            await driver.write("a/b", breaking(), check=check)
        assert caught.value is error
        assert check.finished == 0
        assert probe.names() == set()

    async def test_a_cancelled_write_leaves_nothing(self, driver: Driver, probe: Probe) -> None:
        given = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"x" * MIB
            given.set()
            await asyncio.Event().wait()

        writing = asyncio.ensure_future(driver.write("a/b", endless()))
        await given.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert probe.names() == set()

    async def test_nothing_is_visible_before_the_end(self, driver: Driver, probe: Probe) -> None:
        async def looking() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"x" * MIB
                assert probe.get("a/b") is None
                assert await walked(driver, "") == []
                assert await driver.children("a") == []
                with pytest.raises(NotFound):
                    await driver.stat("a/b")

        assert await driver.write("a/b", looking()) == 3 * MIB

    # delete

    async def test_delete_is_a_batch_and_idempotent(self, driver: Driver, probe: Probe) -> None:
        for key in ("a/1", "a/2", "b/1", "c"):
            probe.set(key, b"")
        for _ in range(2):
            await driver.delete(["a/1", "b/1", "c", "missing", "x/y/z", "a/1"])
            assert probe.names() == {"a/2"}
        await driver.delete([])

    async def test_delete_of_a_thousand(self, driver: Driver, probe: Probe) -> None:
        keys = [f"a/{number}" for number in range(1000)]
        for key in keys:
            probe.set(key, b"")
        await driver.delete(keys[:-1])
        assert probe.names() == {keys[-1]}

    async def test_delete_leaves_siblings(self, driver: Driver, probe: Probe) -> None:
        for key in ("a/b/c", "a/b-c", "a/bc", "a/b.c"):
            probe.set(key, b"x")
        await driver.delete(["a/b/c"])
        assert probe.names() == {"a/b-c", "a/bc", "a/b.c"}
        await driver.delete(["a"])
        assert probe.names() == {"a/b-c", "a/bc", "a/b.c"}

    async def test_a_deleted_prefix_may_become_a_key(self, driver: Driver, probe: Probe) -> None:
        await driver.put("a/b/c", b"x")
        await driver.delete(["a/b/c"])
        await driver.put("a", b"y", if_absent=True)
        assert probe.get("a") == b"y"

    async def test_puts_and_deletes_of_neighbours_do_not_meet(self, driver: Driver, probe: Probe) -> None:
        async def again(number: int) -> None:
            key = f"a/b/{number}/c"
            for _ in range(20):
                await driver.put(key, b"x", durable=False)
                assert probe.get(key) == b"x"
                await driver.delete([key])
                assert probe.get(key) is None

        async def with_all(kind: Sequence[int]) -> None:
            await asyncio.gather(*map(again, kind))

        await with_all(range(6))
        assert probe.names() == set()
