"""Brings the content of one store into another: data, then links, then tags, each after what it rests on.

The target is sound after every step: of a repository the tags are read first, then the manifests, then the
blobs, and written the other way round. So whoever pushes to the source meanwhile is copied whole or not yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from registry.core.pull_records import PROCESSES
from registry.errors import RegistryError, Unsupported
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.store import layout, parsing
from registry.store.marks import FormatTooNew
from registry.store.store import Store
from registry.upkeep.expiry import stamped_now
from registry.upkeep.promises import check_of
from registry.upkeep.spread import merged, spread
from registry.work.operations import Progress
from storage.contract import exists
from storage.errors import Forbidden, NotFound, StorageError, TooLarge

T = TypeVar("T")

# Every process has seen the mark after ten seconds; the rest is for what had passed its last look before.
SETTLE = timedelta(seconds=20)

_BLOBS_AT_ONCE = 4
_SMALL_AT_ONCE = 32
_BATCH = 1000
SMALL_BYTES = 8 << 20  # a referrer's descriptor may have as many as its manifest
_POLL_SECONDS = 0.5
_MOST_UNREAD = 1000  # objects that the source does not give; then it is the source that fails


@dataclass(frozen=True, slots=True)
class NotCopied:
    """What the source could not give as its key promises."""

    key: str
    problem: str


@dataclass(slots=True)
class Copied:
    """What has come over so far."""

    repositories: int = 0
    objects: int = 0
    data_bytes: int = 0
    removed: int = 0
    problems: list[NotCopied] = field(default_factory=list)


class Copying:
    """One pass from `source` to `target`; `copied` tells what it has done so far.

    When the source is read-only it is the last pass: it also removes from the target what the source does not
    have, but entries of the audit trail, and lets the target take writes. Until then the target is read-only.
    """

    def __init__(
        self,
        source: Store,
        target: Store,
        *,
        with_secrets: bool,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._target = target
        self._with_secrets = with_secrets
        self._pause = pause
        self._unread, self._failed = 0, set[str]()
        self._mark: datetime | None = None
        self.copied = Copied()
        self.last = False

    async def run(self) -> AsyncIterator[Progress]:
        """Do it. Raises Unsupported, StorageError."""
        source, target = self._source, self._target
        for which, store in (("source", source), ("target", target)):
            try:
                await store.marks.check_format()
            except FormatTooNew as error:
                raise Unsupported(f"the {which} cannot be used: {error}") from None
        await self._begin()
        self._mark = await self._marked()
        if self._mark is not None:
            self.last = True
            async for step in self._settled(self._mark):
                yield step
        async for step in self._data():
            yield step
        async for step in self._repositories():
            yield step
        async for step in self._beside():
            yield step
        if await source.catalog.is_complete():
            await target.catalog.set_complete()
        if self.last:
            async for step in self._remove_lost(layout.BLOBS):
                yield step
            self.last &= await self._is_as_it_was()
            if self.last and not self.copied.problems:
                await target.marks.set_read_only(on=False)

    async def _begin(self) -> None:
        """See that the target may be written to by nobody else, and that it is another store."""
        source, target = self._source, self._target
        if not await source.driver.children("", limit=1):
            raise Unsupported("the source holds no store")
        if not await target.driver.children("", limit=1):
            await target.marks.set_read_only(on=True)
        elif not await target.marks.is_read_only():
            raise Unsupported(
                "the target has content and takes writes, which a copy could remove: choose an empty one, or"
                " stop writing to it with `moorage storage read-only on`"
            )
        elif await self._same():
            raise Unsupported("source and target are the same store")
        await target.marks.put_format()

    async def _require_ours(self) -> None:
        """Before what lies in the target is replaced or removed: it may be what was pushed there since."""
        if not await self._target.marks.is_read_only():
            raise Unsupported(
                "the target takes writes since this copy began, by `moorage storage read-only off` or since"
                " another copy to it has ended; nothing that lies there is replaced or removed any more"
            )

    async def _same(self) -> bool:
        probe = layout.intent(self._target.effects.unique())
        await self._target.driver.put(probe, b"{}", durable=False)
        try:
            return await exists(self._source.driver, probe)
        finally:
            await self._target.driver.delete([probe], durable=False)

    async def _marked(self) -> datetime | None:
        """Since when the source is read-only."""
        try:
            return (await self._source.driver.stat(layout.READ_ONLY)).modified_at
        except NotFound:
            return None

    async def _is_as_it_was(self) -> bool:
        """Whether the source is still there, and read-only since the same moment if it was.

        One whose disk was unmounted or directory moved meanwhile seems to have lost everything.
        """
        if self._mark is not None:
            return await self._marked() == self._mark
        return bool(await self._source.driver.children("", limit=1))

    async def _settled(self, marked: datetime) -> AsyncIterator[Progress]:
        """Wait until no process can still be writing to the source."""
        left = SETTLE.total_seconds()
        with suppress(Forbidden):  # its time cannot be asked for without writing
            left -= await stamped_now(self._source) - marked.timestamp()
        waited = 0.0
        while waited < min(left, SETTLE.total_seconds()):
            text = f"until nobody writes to the source any more: {left - waited:.0f} s"
            yield Progress(0, None, "items", text)
            await self._pause(_POLL_SECONDS)
            waited += _POLL_SECONDS

    # Data.

    async def _data(self) -> AsyncIterator[Progress]:
        sizes = 0

        async def weigh(key: str) -> None:
            nonlocal sizes
            with suppress(NotFound):
                size = (await self._source.driver.stat(key)).size_bytes
                # Apart from the wait, as a sum that was read before it would lose what others add.
                sizes += size

        async for _ in spread(self._missing(layout.BLOBS), weigh, width=_SMALL_AT_ONCE):
            yield Progress(0, None, "bytes", "looking for what is missing")
        async for _ in spread(self._missing(layout.BLOBS), self._bring, width=_BLOBS_AT_ONCE):
            yield Progress(self.copied.data_bytes, max(sizes, self.copied.data_bytes), "bytes", "data")

    async def _missing(self, prefix: str) -> AsyncIterator[str]:
        """The keys below a prefix that the source has and the target lacks."""
        async for key, here, there in self._both(prefix):
            if here and not there:
                yield key

    def _both(self, prefix: str) -> AsyncIterator[tuple[str, bool, bool]]:
        return merged(self._source.driver.walk(prefix), self._target.driver.walk(prefix))

    async def _bring(self, key: str) -> None:
        """Copy an object that never changes, checked on the way if the key says what its bytes are."""
        # Damaged or unreadable data is read once a pass, however many links lead to it.
        if key in self._failed:
            return
        check = check_of(key)
        async with AsyncExitStack() as stack:
            try:
                opened = await stack.enter_async_context(self._source.driver.open(key))
            except NotFound:
                return  # gone from the source meanwhile
            except StorageError as error:
                self._unreadable(key, error)
                return
            chunks = self._given(opened.chunks(), counted=check is not None)
            try:
                await self._target.driver.write(key, chunks, check=check)
            except RegistryError as error:
                self._fail(key, error.message)
                return
            except _Unreadable as broken:
                self._unreadable(key, broken.error)
                return
        self.copied.objects += 1

    async def _given(self, chunks: AsyncIterator[bytes], *, counted: bool) -> AsyncIterator[bytes]:
        try:
            async for piece in chunks:
                yield piece
                self.copied.data_bytes += len(piece) if counted else 0
        except StorageError as error:
            raise _Unreadable(error) from error

    def _fail(self, key: str, problem: str) -> None:
        self._failed.add(key)
        self.copied.problems.append(NotCopied(key, problem))

    def _unreadable(self, key: str, error: StorageError) -> None:
        """Note what the source does not give, so that a dying disk can be left. Raises it after many."""
        self._fail(key, error.message)
        self._unread += 1
        if self._unread > _MOST_UNREAD:
            raise error

    # Repositories.

    async def _repositories(self) -> AsyncIterator[Progress]:
        seen: set[RepositoryName] = set()
        async for name in self._source.catalog.tree():
            seen.add(name)
            self.copied.repositories += 1
            async for _ in self._repository(name):
                yield self._step(name)
            yield self._step(name)
        if self.last:
            async for name in self._target.catalog.tree():
                if name not in seen:
                    async for _ in self._repository(name):
                        yield self._step(name)

    async def _repository(self, name: RepositoryName) -> AsyncIterator[None]:
        tags = [
            (key, await self._read(self._source, key))
            async for key in self._source.driver.walk(layout.tags(name))
        ]
        prefixes = (layout.revisions(name), layout.whole_manifests(name), layout.layers(name))
        listed = [[key async for key in self._missing(prefix)] for prefix in prefixes]
        for keys in reversed(listed):
            async for _ in spread(_each(keys), self._link, width=_SMALL_AT_ONCE):
                yield
        wanted = [(key, value) for key, value in tags if value is not None]
        async for _ in spread(_each(wanted), self._settle, width=_SMALL_AT_ONCE):
            yield
        if self.last:
            for prefix in (layout.tags(name), *prefixes):
                async for _ in self._remove_lost(prefix):
                    yield

    async def _link(self, key: str) -> None:
        """Copy a link, or a manifest that lies whole, that the target lacks: after what it names."""
        if parsing.is_whole_manifest(key):
            await self._bring(key)
            return
        value = await self._read(self._source, key)
        if value is None:
            return
        if value:
            try:
                data = layout.blob_data(Digest.parse(value.decode("ascii", "replace")))
            except RegistryError as error:
                self._fail(key, error.message)
                return
            if not await exists(self._target.driver, data):
                await self._bring(data)
                if not await exists(self._target.driver, data):
                    return
        await self._target.driver.put(key, value)
        self.copied.objects += 1

    async def _settle(self, entry: tuple[str, bytes]) -> None:
        """Have the target say the same under a key."""
        key, value = entry
        if await self._read(self._target, key) != value:
            await self._require_ours()
            await self._target.driver.put(key, value)
            self.copied.objects += 1

    # What lies beside them.

    async def _beside(self) -> AsyncIterator[Progress]:
        fixed = (layout.REFERRERS, layout.HISTORY, layout.TRASH_DATA, layout.TRASH_LINKS, layout.PULLS)
        for prefix in (*fixed, layout.MIRRORED, layout.ORIGINS, layout.BUNDLES):
            # They are what they are from the beginning.
            async for _ in spread(self._missing(prefix), self._bring, width=_SMALL_AT_ONCE):
                yield self._step(prefix)
        changing = [layout.TRASH_OPEN, layout.TRASH_RUNS, layout.BLOCKED, layout.AUDIT]
        changing += [layout.CATALOG, layout.PINS, PROCESSES]
        if self._with_secrets:
            changing.append(layout.SECRET)
        for prefix in changing:
            async for _ in spread(self._source.driver.walk(prefix), self._follow, width=_SMALL_AT_ONCE):
                yield self._step(prefix)
        if self._with_secrets:
            # What was revoked is good for nothing in a copy either, which may be served before the last pass.
            async for step in self._remove_lost(layout.SECRET):
                yield step
        if self.last:
            # The audit trail has entries of the target's own: who served it, and what was done to it.
            kept = (layout.REFERRERS, layout.HISTORY, layout.TRASH, layout.BLOCKED, layout.CATALOG)
            beside = (layout.PULLS, layout.MIRRORED, layout.ORIGINS, layout.PINS, layout.BUNDLES)
            for prefix in (*kept, *beside):
                async for step in self._remove_lost(prefix):
                    yield step

    async def _follow(self, key: str) -> None:
        value = await self._read(self._source, key)
        if value is not None:
            await self._settle((key, value))

    async def _remove_lost(self, prefix: str) -> AsyncIterator[Progress]:
        """Remove from the target what the source does not have; it went through the source's own door."""
        lost: list[str] = []
        async for key, here, _ in self._both(prefix):
            if not here:
                lost.append(key)
            if len(lost) == _BATCH:
                await self._remove(lost)
                yield self._step(prefix)
        await self._remove(lost)
        yield self._step(prefix)

    async def _remove(self, keys: list[str]) -> None:
        if keys and not await self._is_as_it_was():
            self.last = False
            keys.clear()
        if keys:
            await self._require_ours()
            await self._target.driver.delete(keys)
            self.copied.removed += len(keys)
            keys.clear()

    async def _read(self, store: Store, key: str) -> bytes | None:
        try:
            return await store.driver.get(key, limit=SMALL_BYTES)
        except NotFound:
            return None
        except TooLarge as error:
            self._fail(key, error.message)
            return None
        except StorageError as error:
            if store is not self._source:
                raise
            self._unreadable(key, error)
            return None

    def _step(self, text: str) -> Progress:
        return Progress(self.copied.objects, None, "items", text)


class _Unreadable(Exception):
    """The source has broken off in the middle of an object."""

    def __init__(self, error: StorageError) -> None:
        super().__init__(str(error))
        self.error = error


async def _each(items: list[T]) -> AsyncIterator[T]:
    for item in items:
        yield item
