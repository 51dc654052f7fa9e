"""A driver that keeps what it has read on a local disk, for a store that is far away."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from storage.contract import Check, Driver, ObjectInfo, OpenObject
from storage.errors import NotFound, OutOfSpace, StorageError, Unavailable
from storage.eviction import evict
from storage.local import LocalDriver
from storage.reading import INLINE_BYTES
from storage.soundness import Soundness

# Told of what went wrong with the cache; reads go to the store then.
Tell = Callable[[StorageError], None]

_WAITING_PIECES = 4  # of up to 1 MiB, for a disk that falls behind the reader; then the object is not kept
_FILLING = 16  # objects being kept at once
_CHECKING = 2  # objects being checked at once; others are checked when they are read the next time
_TOUCH_SECONDS = 3600.0
_LARGEST = 4  # an object larger than this part of the budget would drive out too much
_ROOM = 8  # this part of the budget is what all processes together may be over before they look


class CachingDriver(Driver):
    """Passes every call on to `driver`, and reads again from `near` what it has read whole.

    `check_of` gives the check of an object whose bytes its key determines, and None for every other: only
    the former are kept, after the check has seen them, so nothing here is ever out of date. One that this
    process has not checked for a day is checked while it is read, and goes if it is damaged: nobody is given
    the same damage for ever. `near` may be shared by any number of processes, may be emptied at any moment,
    and takes about `budget_bytes`. Whether an object exists is asked of `driver`, except by `open` and `get`
    of what is kept. `hit` is told whether what could have been kept was.
    """

    def __init__(
        self,
        driver: Driver,
        near: LocalDriver,
        *,
        budget_bytes: int,
        check_of: Callable[[str], Check | None],
        tell: Tell,
        hit: Callable[[bool], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._driver = driver
        self._near = near
        self._budget = budget_bytes
        self._check_of = check_of
        self._tell = tell
        self._hit = hit
        self._clock = clock
        self._soundness = Soundness(clock)
        self._forgotten: tuple[str, ...] = ()
        self._filling: set[str] = set()
        self._checking: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._unseen_bytes = budget_bytes  # kept since the last look at the budget: at first, anything
        self._evicting = False

    @property
    def epoch(self) -> str | None:
        """The other driver's."""
        return self._driver.epoch

    async def aclose(self) -> None:
        """Let go of what is being kept."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def get(self, key: str, *, limit: int) -> bytes:
        """The whole of a small object."""
        check = self._check_of(key)
        if check is None:
            return await self._driver.get(key, limit=limit)
        with suppress(StorageError):
            data = await self._near.get(key, limit=limit)
            if await self._is_sound(key, data):
                self._hit(True)
                return data
        self._hit(False)
        data = await self._driver.get(key, limit=limit)
        if self._has_room(key, len(data)):
            self._begin(key, _pieces(data), check)
        return data

    @asynccontextmanager
    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[OpenObject]:
        """Open an object for reading a range; what is read from its beginning to its end is kept."""
        check = self._check_of(key)
        async with AsyncExitStack() as stack:
            kept: OpenObject | None = None
            if check is not None:
                with suppress(StorageError):
                    kept = await stack.enter_async_context(self._near.open(key, start, end))
            if kept is not None and self._is_believed(key, kept):
                self._hit(True)
                self._touch(kept)
                yield kept
                return
            far = await stack.enter_async_context(self._driver.open(key, start, end))
            if check is None:
                yield far
                return
            self._hit(False)
            size = far.info.size_bytes
            if kept is None and far.start == 0 and far.end == size and self._has_room(key, size):
                yield _Kept(far, lambda pieces: self._begin(key, pieces, check))
            else:
                yield far

    async def put(self, key: str, data: bytes, *, if_absent: bool = False, durable: bool = True) -> None:
        """Passed on."""
        await self._driver.put(key, data, if_absent=if_absent, durable=durable)

    async def write(
        self,
        key: str,
        chunks: AsyncIterable[bytes],
        *,
        check: Check | None = None,
        if_absent: bool = False,
        durable: bool = True,
    ) -> int:
        """Passed on: what is pushed is not always pulled."""
        return await self._driver.write(key, chunks, check=check, if_absent=if_absent, durable=durable)

    async def compose(self, key: str, sources: Sequence[str], *, size: int) -> None:
        """Passed on."""
        await self._driver.compose(key, sources, size=size)

    async def copy(self, key: str, source: str) -> None:
        """Passed on."""
        await self._driver.copy(key, source)

    async def stat(self, key: str) -> ObjectInfo:
        """Passed on."""
        return await self._driver.stat(key)

    async def children(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Passed on."""
        return await self._driver.children(prefix, after=after, limit=limit)

    async def walk(self, prefix: str, *, after: str = "") -> AsyncGenerator[str, None]:
        """Passed on."""
        async for key in self._driver.walk(prefix, after=after):
            yield key

    async def delete(self, keys: Sequence[str], *, durable: bool = True) -> None:
        """Passed on; what is kept of them goes too."""
        kept = [key for key in keys if self._check_of(key) is not None]
        await self._driver.delete(keys, durable=durable)
        if kept:
            try:
                await self._near.delete(kept, durable=False)
            except StorageError as error:
                self._tell(error)

    async def forget(self, prefixes: Sequence[str]) -> None:
        """Remove what is kept under and below these, and keep nothing there from now on, until told others.

        Raises storage errors of the cache.
        """
        self._forgotten = tuple(prefixes)
        for prefix in prefixes:
            below = [key async for key in self._near.walk(prefix)]
            await self._near.delete([prefix, *below], durable=False)

    def _is_believed(self, key: str, kept: OpenObject) -> bool:
        """Whether to give what is kept before it is known to be sound; what is due is checked meanwhile."""
        file = kept.file
        assert file is not None, "what is near lies in files"
        if not self._soundness.is_due(key, file):
            return True
        if key not in self._checking and len(self._checking) < _CHECKING:
            self._checking.add(key)
            self._start(self._look_through(key), lambda: self._checking.discard(key))
        return not self._soundness.is_suspect(key, file)

    async def _look_through(self, key: str) -> None:
        """Read and check what is kept; damage is told, and kept no longer."""
        check = self._check_of(key)
        assert check is not None
        verifying = _Verifying(key, check, who="the cache")
        try:
            async with self._near.open(key) as kept:
                async for piece in kept.chunks():
                    await asyncio.to_thread(verifying.update, piece)
                verifying.finish()
                assert kept.file is not None
                self._soundness.note(key, kept.file)
        except NotFound:
            pass  # it has made way for others
        except StorageError as error:
            await self._drop(error)

    async def _drop(self, error: StorageError) -> None:
        """Keep no longer what is damaged."""
        self._tell(error)
        with suppress(StorageError):
            await self._near.delete([error.key], durable=False)

    async def _is_sound(self, key: str, data: bytes) -> bool:
        """Whether bytes that are kept are what they were; if not, they are kept no longer."""
        check = self._check_of(key)
        assert check is not None
        verifying = _Verifying(key, check, who="the cache")
        try:
            if len(data) <= INLINE_BYTES:
                verifying.whole(data)
            else:
                await asyncio.to_thread(verifying.whole, data)
        except Unavailable as error:
            await self._drop(error)
            return False
        return True

    def _has_room(self, key: str, size_bytes: int) -> bool:
        return (
            key not in self._filling
            and len(self._filling) < _FILLING
            and size_bytes <= self._budget // _LARGEST
        )

    def _begin(self, key: str, chunks: AsyncIterable[bytes], check: Check) -> asyncio.Task[None]:
        self._filling.add(key)
        return self._start(self._keep(key, chunks, check), lambda: self._filling.discard(key))

    def _start(self, work: Coroutine[Any, Any, None], ended: Callable[[], None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)

        def end(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            ended()

        task.add_done_callback(end)
        return task

    async def _keep(self, key: str, chunks: AsyncIterable[bytes], check: Check) -> None:
        """Write an object to the cache, whole and checked or not at all; no error of it is anybody else's."""
        try:
            with suppress(OSError):  # the write says what is wrong
                os.makedirs(self._near.root, exist_ok=True)
            # Durable, or a power cut could leave the name of it with fewer bytes.
            self._unseen_bytes += await self._near.write(key, chunks, check=_Verifying(key, check))
            if key.startswith(self._forgotten):
                await self._near.delete([key], durable=False)
                return
            async with self._near.open(key) as kept:
                assert kept.file is not None
                self._soundness.note(key, kept.file)
            await self._evict(self._budget - self._budget // _ROOM)
        except OutOfSpace as error:
            # Others have taken the room that the budget counts on.
            self._tell(error)
            self._unseen_bytes = self._budget
            await self._evict(self._budget // 2)
        except StorageError as error:
            self._tell(error)

    async def _evict(self, budget_bytes: int) -> None:
        if self._evicting or self._unseen_bytes < self._budget // (2 * _ROOM):
            return
        self._evicting, self._unseen_bytes = True, 0
        try:
            await asyncio.to_thread(evict, self._near.root, budget_bytes)
        except OSError as error:
            self._tell(StorageError("", f"the cache cannot be tidied: {error.strerror}"))
        finally:
            self._evicting = False

    def _touch(self, kept: OpenObject) -> None:
        """Note that an object was read, where the file system does so seldom or never."""
        if kept.file is None:
            return
        with suppress(OSError):
            status = os.fstat(kept.file)
            if self._clock() - status.st_atime > _TOUCH_SECONDS:
                os.utime(kept.file, ns=(int(self._clock() * 1e9), status.st_mtime_ns))


class _Verifying:
    """A check whose refusal is an error of the store: what it gave was not what its key promises."""

    def __init__(self, key: str, check: Check, *, who: str = "the store") -> None:
        self._key = key
        self._who = who
        self._check = check
        self.update = check.update

    def whole(self, data: bytes) -> None:
        """All the bytes at once. Raises Unavailable."""
        self.update(data)
        self.finish()

    def finish(self) -> None:
        try:
            self._check.finish()
        except Exception as error:
            raise Unavailable(self._key, f"{self._who} gave other bytes than it should: {error}") from error


class _Kept:
    """An object that is written to the cache as it is read, at the reader's pace, when that is to its end."""

    file = None

    def __init__(self, far: OpenObject, begin: Callable[[AsyncIterable[bytes]], asyncio.Task[None]]) -> None:
        self._far = far
        self._begin = begin
        self.info, self.start, self.end = far.info, far.start, far.end

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes of the store."""
        waiting: asyncio.Queue[bytes | None] = asyncio.Queue()
        writing = self._begin(_until_none(waiting))
        ended = False
        try:
            async for piece in self._far.chunks():
                if waiting.qsize() < _WAITING_PIECES:
                    waiting.put_nowait(piece)
                else:
                    writing.cancel()
                yield piece
            ended = True
        finally:
            if ended:
                waiting.put_nowait(None)
            else:
                writing.cancel()


async def _until_none(waiting: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
    while (piece := await waiting.get()) is not None:
        yield piece


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data
