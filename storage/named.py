"""A driver whose errors say which store it is, for work on several."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from storage.contract import Check, Driver, ObjectInfo, OpenObject
from storage.errors import StorageError


@contextmanager
def naming(store: str) -> Iterator[None]:
    """Have the errors of what is done inside say that it was this store."""
    try:
        yield
    except StorageError as error:
        error.name(store)
        raise


class NamedDriver(Driver):
    """Passes every call on to `driver`, and has errors tell `store`, a few words for people."""

    def __init__(self, driver: Driver, store: str) -> None:
        self._driver = driver
        self._store = store

    @property
    def epoch(self) -> str | None:
        """The other driver's."""
        return self._driver.epoch

    async def get(self, key: str, *, limit: int) -> bytes:
        """Passed on."""
        with naming(self._store):
            return await self._driver.get(key, limit=limit)

    async def put(self, key: str, data: bytes, *, if_absent: bool = False, durable: bool = True) -> None:
        """Passed on."""
        with naming(self._store):
            await self._driver.put(key, data, if_absent=if_absent, durable=durable)

    @asynccontextmanager
    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[OpenObject]:
        """Passed on; what is raised where it is read, and has no name yet, comes from there."""
        with naming(self._store):
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
        """Passed on."""
        with naming(self._store):
            return await self._driver.write(key, chunks, check=check, if_absent=if_absent, durable=durable)

    async def compose(self, key: str, sources: Sequence[str], *, size: int) -> None:
        """Passed on."""
        with naming(self._store):
            await self._driver.compose(key, sources, size=size)

    async def copy(self, key: str, source: str) -> None:
        """Passed on."""
        with naming(self._store):
            await self._driver.copy(key, source)

    async def stat(self, key: str) -> ObjectInfo:
        """Passed on."""
        with naming(self._store):
            return await self._driver.stat(key)

    async def children(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Passed on."""
        with naming(self._store):
            return await self._driver.children(prefix, after=after, limit=limit)

    async def walk(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        """Passed on."""
        with naming(self._store):
            async for key in self._driver.walk(prefix, after=after):
                yield key

    async def delete(self, keys: Sequence[str], *, durable: bool = True) -> None:
        """Passed on."""
        with naming(self._store):
            await self._driver.delete(keys, durable=durable)
