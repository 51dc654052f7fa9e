"""A driver that tells how long the calls of another took, and which failed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from storage.contract import Check, Driver, ObjectInfo, OpenObject
from storage.errors import NotFound, StorageError

# Called with the operation, its outcome (`ok` or the name of the error's class) and its time in seconds.
Observe = Callable[[str, str, float], None]


class TimedDriver(Driver):
    """Passes every call on to `driver`, and tells `observe` of it.

    Small reads (`get`, `stat`) are told of only when they fail: on a local disk they take microseconds, and
    being told of each would cost as much again. That nothing lies under a key is an answer, no failure.
    """

    def __init__(
        self, driver: Driver, observe: Observe, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._driver = driver
        self._observe = observe
        self._clock = clock

    @property
    def epoch(self) -> str | None:
        """The other driver's."""
        return self._driver.epoch

    async def get(self, key: str, *, limit: int) -> bytes:
        """Told of when it fails."""
        try:
            return await self._driver.get(key, limit=limit)
        except StorageError as error:
            self._failed("get", error)
            raise

    async def put(self, key: str, data: bytes, *, if_absent: bool = False, durable: bool = True) -> None:
        """Timed."""
        with self._timed("put"):
            await self._driver.put(key, data, if_absent=if_absent, durable=durable)

    def open(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AbstractAsyncContextManager[OpenObject]:
        """Passed on unseen."""
        return self._driver.open(key, start, end)

    async def write(
        self,
        key: str,
        chunks: AsyncIterable[bytes],
        *,
        check: Check | None = None,
        if_absent: bool = False,
        durable: bool = True,
    ) -> int:
        """Timed; the time includes that of the one who sends the chunks."""
        with self._timed("write"):
            return await self._driver.write(key, chunks, check=check, if_absent=if_absent, durable=durable)

    async def compose(self, key: str, sources: Sequence[str], *, size: int) -> None:
        """Timed."""
        with self._timed("compose"):
            await self._driver.compose(key, sources, size=size)

    async def copy(self, key: str, source: str) -> None:
        """Timed."""
        with self._timed("copy"):
            await self._driver.copy(key, source)

    async def stat(self, key: str) -> ObjectInfo:
        """Told of when it fails."""
        try:
            return await self._driver.stat(key)
        except StorageError as error:
            self._failed("stat", error)
            raise

    async def children(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Timed."""
        with self._timed("children"):
            return await self._driver.children(prefix, after=after, limit=limit)

    async def walk(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        """Told of when it fails: its time is that of the one who walks."""
        try:
            async for key in self._driver.walk(prefix, after=after):
                yield key
        except StorageError as error:
            self._failed("walk", error)
            raise

    async def delete(self, keys: Sequence[str], *, durable: bool = True) -> None:
        """Timed."""
        with self._timed("delete"):
            await self._driver.delete(keys, durable=durable)

    def _timed(self, operation: str) -> _Timed:
        return _Timed(operation, self._observe, self._clock)

    def _failed(self, operation: str, error: StorageError) -> None:
        if not isinstance(error, NotFound):
            self._observe(operation, type(error).__name__, 0.0)


class _Timed:
    """One call on its way."""

    __slots__ = ("_began", "_clock", "_observe", "_operation")

    def __init__(self, operation: str, observe: Observe, clock: Callable[[], float]) -> None:
        self._operation = operation
        self._observe = observe
        self._clock = clock

    def __enter__(self) -> None:
        self._began = self._clock()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outcome = type(error).__name__ if isinstance(error, StorageError) else "ok"
        self._observe(self._operation, outcome, self._clock() - self._began)
