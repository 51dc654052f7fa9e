"""A blob on its way from elsewhere, as one process sees it: whoever reads it follows it as it grows."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter

from registry.errors import BlobUnknown, RegistryError
from registry.mirror.failures import answer
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.remote.errors import UpstreamError
from registry.remote.upstream import Upstream
from registry.store.store import Store
from registry.store.transfers import Segment
from storage.contract import ObjectInfo
from storage.errors import InvalidRange, NotFound, StorageError

# What readers do not get before all was seen to have the digest: without its end nobody takes it for whole.
_HELD_BACK = 16 << 10
# What comes in smaller pieces is joined to such.
_PIECE = 64 << 10

Failure = UpstreamError | StorageError | RegistryError


class Transfer:
    """What has come of a blob: segments in the store, and behind them what is in memory still.

    `name` is the repository for which it is asked, `repositories` are those that have it at the upstreams;
    `givers` are those upstreams that this process has had bytes of it from.
    """

    def __init__(self, store: Store, name: RepositoryName, digest: Digest) -> None:
        self._store = store
        self.name = name
        self.digest = digest
        self.repositories: set[RepositoryName] = set()
        self.givers: list[Upstream] = []
        self.size_bytes: int | None = None
        self.end = 0
        self._segments: list[Segment] = []
        # Behind the last segment; each with its place in the blob.
        self._tail: list[tuple[int, bytes]] = []
        self._whole = False
        self._failure: Failure | None = None
        self._changed = asyncio.Event()

    # What whoever brings it says.

    def sized(self, size_bytes: int) -> None:
        """It has so many bytes."""
        if self.size_bytes is None:
            self.size_bytes = size_bytes
            self._tell()

    def grow(self, piece: bytes) -> None:
        """These bytes came next."""
        place = self.end
        self.end += len(piece)
        if self._tail and len(self._tail[-1][1]) + len(piece) <= _PIECE:
            # One by one they would take a hundred times as much memory.
            place, before = self._tail.pop()
            piece = before + piece
        self._tail.append((place, piece))
        self._tell()

    def stored(self, segments: Sequence[Segment]) -> None:
        """These segments come next, and take the place of what was in memory."""
        for segment in segments:
            known = self._segments[-1].end if self._segments else 0
            if segment.start == known:
                self._segments.append(segment)
        kept = self._segments[-1].end if self._segments else 0
        self._tail = [(place, piece) for place, piece in self._tail if place + len(piece) > kept]
        if kept > self.end:
            self.end = kept
            self._tell()

    def finish(self) -> None:
        """It is whole, was seen to have its digest, and lies in its place."""
        self._whole = True
        self._tail.clear()
        self._tell()

    def fail(self, failure: Failure) -> None:
        """It does not come; who reads it gets no more."""
        self._failure = failure
        self._tail.clear()
        self._tell()

    def tail(self, start: int, end: int) -> list[bytes]:
        """The bytes `[start, end)`, which have come and are not in the store."""
        return [
            piece[max(0, start - place) : end - place]
            for place, piece in self._tail
            if place < end and place + len(piece) > start
        ]

    @property
    def segments(self) -> Sequence[Segment]:
        """What of it lies in the store."""
        return self._segments

    @property
    def kept(self) -> int:
        """One behind the last byte that lies in the store."""
        return self._segments[-1].end if self._segments else 0

    @property
    def is_over(self) -> bool:
        """Whether it has come whole, or does not come."""
        return self._whole or self._failure is not None

    # What readers ask.

    async def size(self) -> int:
        """How many bytes it has, as soon as that is known. Raises what it fails for."""
        while self.size_bytes is None:
            await self._change()
        return self.size_bytes

    async def opened(self, start: int, end: int | None) -> Arriving:
        """The range `[start, end)` of it, as it comes. Raises InvalidRange, and what it fails for."""
        size = await self.size()
        if size <= _HELD_BACK:
            # Nothing of it is sent before, but an error can be.
            try:
                await self.settled()
            except UpstreamError as error:
                raise self.told(error) from error
        if start > size:
            raise InvalidRange(str(self.digest), size)
        return Arriving(
            self, ObjectInfo(size, self._store.effects.now()), start, size if end is None else min(end, size)
        )

    def told(self, error: UpstreamError) -> RegistryError:
        """What clients are told when it fails for an error."""
        return answer(error, BlobUnknown(detail={"digest": str(self.digest)}))

    async def chunks(self, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes of a range as they come, the end of it all when it was seen to have the digest."""
        size = await self.size()
        place = start
        while place < end:
            self._require()
            until = end if self._whole else min(end, self.end, size - _HELD_BACK)
            if place >= until:
                await self._change()
                continue
            async for piece in self._available(place, until):
                yield piece
                place += len(piece)

    async def _available(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Some of the bytes of a range that is there."""
        if self._whole:
            async with self._store.content.open(self.digest, start, end) as opened:
                async for piece in opened.chunks():
                    yield piece
            return
        if start < self.kept:
            segment = next(one for one in self._segments if start < one.end)
            # Once it is whole the segments go; then it is looked for in its place.
            with suppress(NotFound):
                async with self._store.transfers.open(segment, start, min(end, segment.end)) as opened:
                    async for piece in opened.chunks():
                        yield piece
                        start += len(piece)
                return
            await self.settled()
            return
        # The last piece that begins no later; while it is sent, what comes next may go to the store.
        at = bisect_right(self._tail, start, key=itemgetter(0)) - 1
        if at >= 0:
            place, piece = self._tail[at]
            yield piece[start - place : end - place]

    async def growth(self, step_bytes: int) -> AsyncIterator[int]:
        """How many bytes have come, whenever that is so many more, and in the end.

        Raises what it fails for.
        """
        told = 0
        while not self._whole:
            if self.end - told >= step_bytes:
                told = self.end
                yield told
            else:
                await self._change()
        yield await self.size()

    async def settled(self) -> None:
        """Wait until it is known whether it has come whole. Raises what it failed for."""
        while not self._whole:
            await self._change()

    async def _change(self) -> None:
        self._require()
        await self._changed.wait()
        self._require()

    def _require(self) -> None:
        if self._failure is not None:
            # Many may raise the one error; each begins where it does.
            raise self._failure.with_traceback(None)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


@dataclass(frozen=True, slots=True)
class Arriving:
    """A range of a blob that is on its way, as one reads an object of the store."""

    transfer: Transfer
    info: ObjectInfo
    start: int
    end: int

    @property
    def file(self) -> None:
        """There is none yet."""

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of the range, as they come. Raises what it fails for, as clients are told."""
        try:
            async for piece in self.transfer.chunks(self.start, self.end):
                yield piece
        except UpstreamError as error:
            raise self.transfer.told(error) from error
