"""Drivers for work that must not be felt: so many calls a second, or as fast as somebody lets them read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from storage.contract import Check, Driver, ObjectInfo, OpenObject

_LISTED = 1000  # keys of a walk that count as one call: what a store gives in one answer
_BURST_SECONDS = 0.1


class PacedDriver(Driver):
    """Passes every call on to `driver`, when its turn has come: `per_second` of them, 0 for no limit.

    A delete counts as one call for each thousand keys, a walk as one for each thousand that it gives.
    """

    def __init__(
        self, driver: Driver, per_second: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._driver = driver
        self._seconds = 1 / per_second if per_second else 0.0
        self._clock = clock
        self._next = 0.0

    @property
    def epoch(self) -> str | None:
        """The other driver's."""
        return self._driver.epoch

    async def get(self, key: str, *, limit: int) -> bytes:
        """In its turn."""
        await self._turn()
        return await self._driver.get(key, limit=limit)

    async def put(self, key: str, data: bytes, *, if_absent: bool = False, durable: bool = True) -> None:
        """In its turn."""
        await self._turn()
        await self._driver.put(key, data, if_absent=if_absent, durable=durable)

    def open(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AbstractAsyncContextManager[OpenObject]:
        """In its turn; what is read then is not paced."""
        return self._open(key, start, end)

    @asynccontextmanager
    async def _open(self, key: str, start: int, end: int | None) -> AsyncIterator[OpenObject]:
        await self._turn()
        async with self._driver.open(key, start, end) as opened:
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
        """In its turn; what is written then is not paced."""
        await self._turn()
        return await self._driver.write(key, chunks, check=check, if_absent=if_absent, durable=durable)

    async def compose(self, key: str, sources: Sequence[str], *, size: int) -> None:
        """In its turn."""
        await self._turn()
        await self._driver.compose(key, sources, size=size)

    async def copy(self, key: str, source: str) -> None:
        """In its turn."""
        await self._turn()
        await self._driver.copy(key, source)

    async def stat(self, key: str) -> ObjectInfo:
        """In its turn."""
        await self._turn()
        return await self._driver.stat(key)

    async def children(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """In its turn."""
        await self._turn()
        return await self._driver.children(prefix, after=after, limit=limit)

    async def walk(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        """A turn for each thousand keys."""
        count = 0
        async for key in self._driver.walk(prefix, after=after):
            if count % _LISTED == 0:
                await self._turn()
            count += 1
            yield key

    async def delete(self, keys: Sequence[str], *, durable: bool = True) -> None:
        """A turn for each thousand keys."""
        for at in range(0, len(keys), _LISTED):
            await self._turn()
            await self._driver.delete(keys[at : at + _LISTED], durable=durable)

    async def _turn(self) -> None:
        """Wait for the next turn; others come in between even where there is no limit."""
        now = self._clock()
        self._next = max(self._next, now - _BURST_SECONDS) + self._seconds
        await asyncio.sleep(max(0.0, self._next - now))


class ReadPacedDriver(PacedDriver):
    """Passes every call on, and hands the size of each piece that is read to `read` before it goes on."""

    def __init__(self, driver: Driver, read: Callable[[int], Awaitable[None]]) -> None:
        super().__init__(driver, 0)
        self._read = read

    async def get(self, key: str, *, limit: int) -> bytes:
        """As one piece."""
        data = await super().get(key, limit=limit)
        await self._read(len(data))
        return data

    @asynccontextmanager
    async def _open(self, key: str, start: int, end: int | None) -> AsyncIterator[OpenObject]:
        async with super()._open(key, start, end) as opened:
            yield _Paced(opened, self._read)


class _Paced(OpenObject):
    """An open object whose pieces are handed on one by one; there is no file to read it past that."""

    file = None

    def __init__(self, opened: OpenObject, read: Callable[[int], Awaitable[None]]) -> None:
        self._opened = opened
        self._read = read

    @property
    def info(self) -> ObjectInfo:
        return self._opened.info

    @property
    def start(self) -> int:
        return self._opened.start

    @property
    def end(self) -> int:
        return self._opened.end

    async def chunks(self) -> AsyncIterator[bytes]:
        async for piece in self._opened.chunks():
            await self._read(len(piece))
            yield piece
