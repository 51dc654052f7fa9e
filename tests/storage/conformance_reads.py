"""The contract's sentences on reading, one test each."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from storage.contract import Driver
from storage.errors import (
    InvalidRange,
    NotFound,
    TooLarge,
)
from tests.storage.probing import (
    MIB,
    DriverTests,
    Probe,
    read,
)


class ReadConformance(DriverTests):
    """Objects as they are read."""

    # get

    @pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 1024])
    async def test_get_gives_the_whole(self, driver: Driver, probe: Probe, data: bytes) -> None:
        probe.set("a/b", data)
        assert await driver.get("a/b", limit=len(data)) == data

    async def test_get_of_nothing(self, driver: Driver) -> None:
        with pytest.raises(NotFound):
            await driver.get("a", limit=1)
        with pytest.raises(NotFound):
            await driver.get("a/b/c", limit=1)

    async def test_get_refuses_more_than_the_limit(self, driver: Driver, probe: Probe) -> None:
        probe.set("a", b"four")
        with pytest.raises(TooLarge):
            await driver.get("a", limit=3)

    # open

    async def test_open_gives_a_range(self, driver: Driver, probe: Probe) -> None:
        data = os.urandom(3 * MIB + 17)
        probe.set("a/b", data)
        size = len(data)
        for start, end in [
            (0, None), (0, 1), (1, 2), (5, 5), (MIB - 1, MIB + 1), (MIB, None), (size - 1, None),
            (size, None), (size, size), (7, size + 100), (size, size + 1),
            (100, 65536 + 100), (100, 65536 + 101),
        ]:  # fmt: skip
            async with driver.open("a/b", start, end) as opened:
                assert opened.info.size_bytes == size
                assert (opened.start, opened.end) == (start, min(size, size if end is None else end))
                got = [piece async for piece in opened.chunks()]
            assert b"".join(got) == data[start:end]
            assert all(0 < len(piece) <= MIB for piece in got)

    async def test_open_of_an_empty_object(self, driver: Driver, probe: Probe) -> None:
        probe.set("a", b"")
        assert await read(driver, "a") == b""

    async def test_a_range_that_ends_before_it_begins_is_empty(self, driver: Driver, probe: Probe) -> None:
        probe.set("a", b"12345")
        async with driver.open("a", 3, 2) as opened:
            assert (opened.start, opened.end) == (3, 3)
            assert [piece async for piece in opened.chunks()] == []

    async def test_open_has_the_time_of_the_object(self, driver: Driver) -> None:
        await driver.put("a", b"x")
        async with driver.open("a") as opened:
            assert opened.info == await driver.stat("a")

    async def test_an_open_file_is_the_whole_object(self, driver: Driver, probe: Probe) -> None:
        probe.set("a", b"0123456789")
        async with driver.open("a", 2, 4) as opened:
            if opened.file is not None:
                assert os.pread(opened.file, 100, 0) == b"0123456789"

    async def test_open_of_nothing_fails_on_entry(self, driver: Driver) -> None:
        with pytest.raises(NotFound):
            async with driver.open("a/b"):
                pytest.fail("entered")

    async def test_a_range_behind_the_end_fails_on_entry(self, driver: Driver, probe: Probe) -> None:
        probe.set("a/b", b"12345")
        for end in (None, 7):
            with pytest.raises(InvalidRange) as caught:
                async with driver.open("a/b", 6, end):
                    pytest.fail("entered")
            assert caught.value.size == 5

    async def test_what_is_open_stays_as_it_was(self, driver: Driver, probe: Probe) -> None:
        data = os.urandom(2 * MIB)
        probe.set("a", data)
        async with driver.open("a") as opened:
            await driver.put("a", b"new")
            await driver.delete(["a"])
            assert b"".join([piece async for piece in opened.chunks()]) == data

    # stat

    async def test_stat(self, driver: Driver, probe: Probe) -> None:
        before = datetime.now(UTC) - timedelta(seconds=2)
        await driver.put("a/b", b"12345")
        info = await driver.stat("a/b")
        assert info.size_bytes == 5
        assert info.modified_at.utcoffset() == timedelta(0)
        assert before <= info.modified_at <= datetime.now(UTC) + timedelta(seconds=2)
        probe.set("a/b", b"123456")
        assert (await driver.stat("a/b")).size_bytes == 6

    async def test_a_put_of_the_same_bytes_renews_the_time(self, driver: Driver) -> None:
        await driver.put("a", b"x")
        first = (await driver.stat("a")).modified_at
        while (await driver.stat("a")).modified_at == first:
            await driver.put("a", b"x", durable=False)
        assert (await driver.stat("a")).modified_at > first

    async def test_stat_of_nothing(self, driver: Driver) -> None:
        with pytest.raises(NotFound):
            await driver.stat("a/b")
