"""A store that stops at one of its operations: since its process dies there, or since it is full."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from storage.contract import Driver, OpenObject

T = TypeVar("T")


class Failing(Driver):
    """In front of a driver: the first `left` operations are done, and no later one; each raises `error`.

    With `writes` only those count, and fail, that take room; deleting frees some. While `left` is None all is
    as ever. Of a delete of several objects each is an operation.
    """

    def __init__(
        self,
        inner: Driver,
        error: Callable[[], BaseException],
        *,
        left: int | None = None,
        writes: bool = False,
    ) -> None:
        self._inner = inner
        self._error = error
        self.writes = writes
        self.left = left
        self.failed = False

    @property
    def epoch(self) -> str | None:
        return self._inner.epoch

    def _step(self, *, writes: bool) -> None:
        if self.left is None or (self.writes and not writes):
            return
        if self.left == 0:
            self.failed = True
            raise self._error()
        self.left -= 1

    async def _do(self, call: Coroutine[Any, Any, T], *, writes: bool = False) -> T:
        try:
            self._step(writes=writes)
        except BaseException:
            call.close()
            raise
        return await call

    async def get(self, key: str, *, limit: int) -> bytes:
        return await self._do(self._inner.get(key, limit=limit))

    async def put(self, key: str, data: bytes, *, if_absent: bool = False, durable: bool = True) -> None:
        await self._do(self._inner.put(key, data, if_absent=if_absent, durable=durable), writes=True)

    @asynccontextmanager
    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[OpenObject]:
        self._step(writes=False)
        async with self._inner.open(key, start, end) as opened:
            yield opened

    async def write(self, key: str, chunks: Any, **how: Any) -> int:
        return await self._do(self._inner.write(key, chunks, **how), writes=True)

    async def compose(self, key: str, sources: Sequence[str], *, size: int) -> None:
        await self._do(self._inner.compose(key, sources, size=size), writes=True)

    async def copy(self, key: str, source: str) -> None:
        await self._do(self._inner.copy(key, source), writes=True)

    async def stat(self, key: str) -> Any:
        return await self._do(self._inner.stat(key))

    async def children(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        return await self._do(self._inner.children(prefix, after=after, limit=limit))

    async def walk(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        self._step(writes=False)
        async for key in self._inner.walk(prefix, after=after):
            yield key

    async def delete(self, keys: Sequence[str], *, durable: bool = True) -> None:
        for key in keys:
            await self._do(self._inner.delete([key], durable=durable))
