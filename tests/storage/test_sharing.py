"""A budget divided among those who are there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from storage import local
from storage.files import Files
from storage.local import LocalDriver
from storage.sharing import Share

MIB = 1 << 20


def test_a_share_shrinks_with_the_users_and_grows_again() -> None:
    share = Share(100, least=10, most=40)
    assert share.bytes == 40
    with ExitStack() as stack:
        sizes = [stack.enter_context(share).bytes for _ in range(12)]
    assert sizes == [40, 40, 33, 25, 20, 16, 14, 12, 11, 10, 10, 10]
    assert share.bytes == 40


class Seen(Files):
    """Remembers how much each write has in hand."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def write(self, descriptor: int, pieces: Sequence[bytes | memoryview]) -> None:
        self.sizes.append(sum(map(len, pieces)))
        super().write(descriptor, pieces)


@pytest.mark.parametrize(("writers", "most"), [(1, MIB), (16, 256 << 10)])
async def test_the_more_bodies_at_once_the_less_is_gathered_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writers: int, most: int
) -> None:
    monkeypatch.setattr(local, "_GATHERED_BYTES", 4 * MIB)
    files = Seen()
    driver = LocalDriver(tmp_path, files=files)
    together = asyncio.Barrier(writers)

    async def body() -> AsyncIterator[bytes]:
        await together.wait()
        for _ in range(32):
            yield bytes(64 << 10)
        await together.wait()

    await asyncio.gather(*(driver.write(f"key{number}", body()) for number in range(writers)))
    await driver.aclose()
    assert max(files.sizes) == most
    assert sum(files.sizes) == writers * 2 * MIB


async def test_the_more_readers_the_smaller_their_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_READ_BYTES", 2 * MIB)
    driver = LocalDriver(tmp_path)
    await driver.put("key", bytes(4 * MIB))
    async with driver.open("key") as first, driver.open("key") as second:
        alone, other = first.chunks(), second.chunks()
        assert len(await anext(alone)) == MIB
        assert len(await anext(other)) == MIB
        async with driver.open("key") as third, driver.open("key") as fourth:
            more = [third.chunks(), fourth.chunks()]
            for one in more:
                await anext(one)
            assert len(await anext(alone)) == MIB // 2
    await driver.aclose()
