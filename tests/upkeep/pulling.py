"""What the tests of recorded pulls share: processes that count, and what is known of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from typing import Any

from registry.core.pull_records import PullRecords
from registry.core.registry import Registry
from registry.core.uploads import UploadLimits
from registry.model.digests import Digest
from registry.model.names import Tag
from registry.store.effects import Effects
from registry.store.store import Store
from registry.upkeep.folding import Folding
from registry.upkeep.recording import Recording
from storage.contract import Driver
from tests.inmemory import NAME, TAG, Clock, World, effects

DIGEST = Digest.of(b"manifest")
KEEP = timedelta(days=400)
Known = Counter[tuple[date, str]]


class Process:
    """A process that serves, as far as pulls are concerned; its clock may be another than the store's."""

    def __init__(self, driver: Driver, made: Effects, *, who: str = "one") -> None:
        store = Store(driver, made, manifest_cache_bytes=0)
        self.registry = Registry(
            store,
            uploads=UploadLimits(open=10, chunks=10, in_flight=10),
            max_references=10,
            allow_missing_layers=False,
            deletes=True,
            read_only=False,
        )
        self.seconds = 0.0
        self.recording = Recording(lambda: self.registry, who=who, clock=lambda: self.seconds)
        self.folding = Folding(lambda: self.registry, KEEP, who=who, lease_seconds=0.001)
        self.recording.count()

    def pull(self, tag: Tag | None = TAG, digest: Digest = DIGEST, times: int = 1) -> None:
        """Answer pulls of a manifest, by its tag or by its digest alone."""
        for _ in range(times):
            self.registry.pulls.note(NAME, tag or digest, digest)


def process(world: World, driver: Any = None, clock: Clock | None = None, who: str = "one") -> Process:
    """A process on the store of a world, by its clock or one that is wrong."""
    made = world.store.effects if clock is None else effects(clock)
    return Process(driver or world.driver, made, who=who)


def now(world: World) -> datetime:
    """The store's time."""
    return world.clock.now


async def known(driver: Driver) -> Known:
    """How often each tag (or, by its digest alone, `@`) is known to have been pulled on each day."""
    found: Known = Counter()
    records = PullRecords(driver)
    for day in await records.days():
        for references in (await records.read(day)).counts.values():
            for (tag, _), times in references.items():
                found[day, tag or "@"] += times
    return found


class Interrupted:
    """A driver before whose call of a number something else happens, as other processes would do it.

    Something else again happens before what it `writes`.
    """

    def __init__(self, inner: Driver, number: int, act: Callable[[], Awaitable[object]]) -> None:
        self._inner = inner
        self.act = act
        self.left = number
        self.writes: Callable[[], Awaitable[object]] | None = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            await self._before()
            if name == "write" and self.writes is not None:
                await self.writes()
            return await method(*arguments, **options)

        return call

    @asynccontextmanager
    async def open(self, key: str) -> AsyncIterator[Any]:
        """Open it, something else having happened."""
        await self._before()
        async with self._inner.open(key) as opened:
            yield opened

    async def walk(self, prefix: str) -> AsyncIterator[str]:
        """Walk, something else happening before any key."""
        async for key in self._inner.walk(prefix):
            await self._before()
            yield key
        await self._before()

    async def _before(self) -> None:
        self.left -= 1
        if self.left == 0:
            await self.act()
