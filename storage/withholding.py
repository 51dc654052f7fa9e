"""A driver that neither gives nor takes some objects, wherever in the program that is tried."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from storage.contract import Check, Driver, ObjectInfo, OpenObject
from storage.errors import NotFound, Withheld


class WithholdingDriver(Driver):
    """Passes every call on to `driver`, but for objects of which `withheld` says that nobody may have them.

    To who reads them they are not there; to write them raises Withheld, and what was being written when they
    came to be withheld is removed again. They can be removed, and a walk still gives their keys.
    """

    def __init__(self, driver: Driver, withheld: Callable[[str], bool]) -> None:
        self._driver = driver
        self._withheld = withheld

    @property
    def epoch(self) -> str | None:
        """The other driver's."""
        return self._driver.epoch

    async def get(self, key: str, *, limit: int) -> bytes:
        """Passed on. Raises NotFound for what is withheld."""
        self._read(key)
        return await self._driver.get(key, limit=limit)

    async def put(self, key: str, data: bytes, *, if_absent: bool = False, durable: bool = True) -> None:
        """Passed on. Raises Withheld."""
        self._write(key)
        await self._driver.put(key, data, if_absent=if_absent, durable=durable)
        await self._written(key)

    def open(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AbstractAsyncContextManager[OpenObject]:
        """Passed on. Raises NotFound for what is withheld."""
        return _missing(key) if self._withheld(key) else self._driver.open(key, start, end)

    async def write(
        self,
        key: str,
        chunks: AsyncIterable[bytes],
        *,
        check: Check | None = None,
        if_absent: bool = False,
        durable: bool = True,
    ) -> int:
        """Passed on. Raises Withheld."""
        self._write(key)
        written = await self._driver.write(key, chunks, check=check, if_absent=if_absent, durable=durable)
        await self._written(key)
        return written

    async def compose(self, key: str, sources: Sequence[str], *, size: int) -> None:
        """Passed on. Raises Withheld."""
        self._write(key)
        await self._driver.compose(key, sources, size=size)
        await self._written(key)

    async def copy(self, key: str, source: str) -> None:
        """Passed on. Raises Withheld, NotFound for a source that is withheld."""
        self._read(source)
        self._write(key)
        await self._driver.copy(key, source)
        await self._written(key)

    async def stat(self, key: str) -> ObjectInfo:
        """Passed on. Raises NotFound for what is withheld."""
        self._read(key)
        return await self._driver.stat(key)

    async def children(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Passed on; of a prefix below which all is withheld there are none."""
        if self._withheld(f"{prefix}/_"):
            return []
        return await self._driver.children(prefix, after=after, limit=limit)

    def walk(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        """Passed on: who removes what is withheld finds it."""
        return self._driver.walk(prefix, after=after)

    async def delete(self, keys: Sequence[str], *, durable: bool = True) -> None:
        """Passed on."""
        await self._driver.delete(keys, durable=durable)

    def _read(self, key: str) -> None:
        if self._withheld(key):
            raise NotFound(key)

    def _write(self, key: str) -> None:
        if self._withheld(key):
            raise Withheld(key)

    async def _written(self, key: str) -> None:
        """Whoever looked for it before it was there has not removed it."""
        if self._withheld(key):
            await self._driver.delete([key])
            raise Withheld(key)


@asynccontextmanager
async def _missing(key: str) -> AsyncIterator[OpenObject]:
    raise NotFound(key)
    yield
