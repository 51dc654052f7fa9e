"""A driver that counts what is asked of another."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager

from storage.contract import Check, Driver, ObjectInfo, OpenObject


class MeteredDriver(Driver):
    """Passes every call on to `driver`; counts calls, and bytes of objects, by the method's name.

    `calls` counts each call when it is made, whatever comes of it. `bytes` counts what was read or written by
    calls that succeeded: the range asked for with `open`, since its file may be sent unseen, and nothing
    for `compose` and `copy`, which move no bytes through the program.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.calls: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    @property
    def epoch(self) -> str | None:
        """The other driver's."""
        return self._driver.epoch

    def reset(self) -> None:
        """Count from nothing again."""
        self.calls.clear()
        self.bytes.clear()

    async def get(self, key: str, *, limit: int) -> bytes:
        """Counted: the call, and the bytes read."""
        self.calls["get"] += 1
        data = await self._driver.get(key, limit=limit)
        self.bytes["get"] += len(data)
        return data

    async def put(self, key: str, data: bytes, *, if_absent: bool = False, durable: bool = True) -> None:
        """Counted: the call, and the bytes put."""
        self.calls["put"] += 1
        await self._driver.put(key, data, if_absent=if_absent, durable=durable)
        self.bytes["put"] += len(data)

    @asynccontextmanager
    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[OpenObject]:
        """Counted: the call, and the length of the range."""
        self.calls["open"] += 1
        async with self._driver.open(key, start, end) as opened:
            self.bytes["open"] += opened.end - opened.start
            yield opened

    async def write(
        self,
        key: str,
        chunks: AsyncIterable[bytes],
        *,
        check: Check | None = None,
        if_absent: bool = False,
        durable: bool = True,
    ) -> int:
        """Counted: the call, and the bytes written."""
        self.calls["write"] += 1
        size = await self._driver.write(key, chunks, check=check, if_absent=if_absent, durable=durable)
        self.bytes["write"] += size
        return size

    async def compose(self, key: str, sources: Sequence[str], *, size: int) -> None:
        """Counted: the call."""
        self.calls["compose"] += 1
        await self._driver.compose(key, sources, size=size)

    async def copy(self, key: str, source: str) -> None:
        """Counted: the call."""
        self.calls["copy"] += 1
        await self._driver.copy(key, source)

    async def stat(self, key: str) -> ObjectInfo:
        """Counted: the call."""
        self.calls["stat"] += 1
        return await self._driver.stat(key)

    async def children(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Counted: the call."""
        self.calls["children"] += 1
        return await self._driver.children(prefix, after=after, limit=limit)

    async def walk(self, prefix: str, *, after: str = "") -> AsyncGenerator[str, None]:
        """Counted: the call, when the first key is asked for."""
        self.calls["walk"] += 1
        async for key in self._driver.walk(prefix, after=after):
            yield key

    async def delete(self, keys: Sequence[str], *, durable: bool = True) -> None:
        """Counted: the call."""
        self.calls["delete"] += 1
        await self._driver.delete(keys, durable=durable)
