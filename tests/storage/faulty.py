"""A driver that fails or stops where a test wants it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from storage.contract import Check, Driver, ObjectInfo, OpenObject

Method = Literal["get", "put", "open", "write", "compose", "copy", "stat", "children", "walk", "delete"]
When = Literal["before", "after"]
Keys = Callable[[str], bool]
Hook = Callable[[], Awaitable[None]]


@dataclass
class Pause:
    """A call that has been stopped: wait until one comes, and let it go on."""

    _reached: asyncio.Event = field(default_factory=asyncio.Event)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    async def reached(self) -> None:
        """Return when a call has come to the pause."""
        await self._reached.wait()

    def release(self) -> None:
        """Let the calls that wait here go on, and all later ones."""
        self._released.set()

    async def __call__(self) -> None:
        self._reached.set()
        await self._released.wait()


@dataclass
class _Rule:
    method: Method
    hook: Hook
    key: Keys
    when: When
    skip: int
    times: int | None


class FaultyDriver(Driver):
    """Passes calls on to `driver`, except as told.

    A rule is for one method and for the keys that `key` accepts (those of any source too; the prefix of a
    listing). It passes over the first `skip` such calls and is used up after `times` (None: never). With
    `when="before"` the call has no effect; with `"after"` it has, and only the answer is lost.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._rules: list[_Rule] = []
        self.calls: list[tuple[Method, tuple[str, ...]]] = []

    def hook(
        self,
        method: Method,
        hook: Hook,
        *,
        key: Keys = lambda key: True,
        when: When = "before",
        skip: int = 0,
        times: int | None = 1,
    ) -> None:
        """Await `hook()` at such a call; what it raises, the call raises."""
        self._rules.append(_Rule(method, hook, key, when, skip, times))

    def fail(
        self,
        method: Method,
        error: BaseException,
        *,
        key: Keys = lambda key: True,
        when: When = "before",
        skip: int = 0,
        times: int | None = 1,
    ) -> None:
        """Raise `error` at such a call."""

        async def raising() -> None:
            raise error

        self.hook(method, raising, key=key, when=when, skip=skip, times=times)

    def pause(
        self, method: Method, *, key: Keys = lambda key: True, when: When = "before", skip: int = 0
    ) -> Pause:
        """Stop such a call, once, until it is released."""
        pause = Pause()
        self.hook(method, pause, key=key, when=when, skip=skip)
        return pause

    def heal(self) -> None:
        """Forget all rules."""
        self._rules.clear()

    @property
    def epoch(self) -> str | None:
        """The other driver's."""
        return self._driver.epoch

    async def get(self, key: str, *, limit: int) -> bytes:
        async with self._around("get", key):
            return await self._driver.get(key, limit=limit)

    async def put(self, key: str, data: bytes, *, if_absent: bool = False, durable: bool = True) -> None:
        async with self._around("put", key):
            await self._driver.put(key, data, if_absent=if_absent, durable=durable)

    @asynccontextmanager
    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[OpenObject]:
        """A rule with `when="after"` strikes once the object is open, still on entry."""
        await self._come("open", "before", (key,))
        async with self._driver.open(key, start, end) as opened:
            await self._come("open", "after", (key,))
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
        async with self._around("write", key):
            return await self._driver.write(key, chunks, check=check, if_absent=if_absent, durable=durable)

    async def compose(self, key: str, sources: Sequence[str], *, size: int) -> None:
        async with self._around("compose", key, *sources):
            await self._driver.compose(key, sources, size=size)

    async def copy(self, key: str, source: str) -> None:
        async with self._around("copy", key, source):
            await self._driver.copy(key, source)

    async def stat(self, key: str) -> ObjectInfo:
        async with self._around("stat", key):
            return await self._driver.stat(key)

    async def children(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        async with self._around("children", prefix):
            return await self._driver.children(prefix, after=after, limit=limit)

    async def walk(self, prefix: str, *, after: str = "") -> AsyncGenerator[str, None]:
        """A rule with `when="after"` strikes behind the last key."""
        await self._come("walk", "before", (prefix,))
        async for key in self._driver.walk(prefix, after=after):
            yield key
        await self._come("walk", "after", (prefix,))

    async def delete(self, keys: Sequence[str], *, durable: bool = True) -> None:
        async with self._around("delete", *keys):
            await self._driver.delete(keys, durable=durable)

    @asynccontextmanager
    async def _around(self, method: Method, *keys: str) -> AsyncIterator[None]:
        await self._come(method, "before", keys)
        yield
        await self._come(method, "after", keys)

    async def _come(self, method: Method, when: When, keys: tuple[str, ...]) -> None:
        if when == "before":
            self.calls.append((method, keys))
        for rule in [*self._rules]:
            if rule.method != method or rule.when != when or not any(map(rule.key, keys)):
                continue
            if rule.skip:
                rule.skip -= 1
                continue
            if rule.times is not None:
                rule.times -= 1
                if not rule.times:
                    self._rules.remove(rule)
            await rule.hook()
