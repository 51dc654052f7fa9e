"""Objects made of objects, copied by the store itself wherever it can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from storage.errors import NotFound, Unavailable
from storage.keys import TEMPORARY_PREFIX
from storage.s3.copying import copy
from storage.s3.direct import Direct
from storage.s3.lanes import Lane
from storage.s3.reading import get, get_range, stat
from storage.s3.removal import delete
from storage.s3.room import Room
from storage.s3.uploads import PartsUpload, begun
from storage.s3.writing import put

# Below this lie, for as long as it takes, the halves of what has more parts than an upload may have.
_JOINS = f"{TEMPORARY_PREFIX}joins"
_AT_ONCE = 8  # requests for one object


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of an object: from `start` to `end` (excluded) of `size`."""

    key: str
    start: int
    end: int
    size: int

    @property
    def count(self) -> int:
        """How many bytes that are."""
        return self.end - self.start


Part = tuple[Span, ...]
"""What one part of an upload is made of: one span is copied by the store, unless it is too small for that."""


def planned(sources: Sequence[tuple[str, int]], least: int, most: int) -> list[Part]:
    """The parts in which objects of these sizes are joined, all but the last of `least` to `most` bytes."""
    parts: list[Part] = []
    small: list[Span] = []  # to be re-sent together
    for key, size in sources:
        start = 0
        missing = least - sum(span.count for span in small)
        if small or size < least:
            taken = min(size, missing)
            if taken:
                small.append(Span(key, 0, taken, size))
            start = taken
            if taken == missing:
                parts.append(tuple(small))
                small = []
        while size - start >= least:
            # What is left over must be able to be a part.
            end = size if size - start <= most else start + min(most, size - start - least)
            parts.append((Span(key, start, end, size),))
            start = end
        if start < size and not small:
            small.append(Span(key, start, size, size))
    if small:
        parts.append(tuple(small))
    return parts


class Joining:
    """Joins and copies objects of one bucket; what is re-sent takes from `room`."""

    def __init__(self, metadata: Direct, bodies: Lane, room: Room) -> None:
        self._metadata = metadata
        self._bodies = bodies
        self._room = room
        self._options = metadata.options

    async def sizes(self, keys: Sequence[str]) -> list[int | None]:
        """The sizes of objects, None for those that are missing."""
        return await _together(self._size(key) for key in keys)

    async def join(self, key: str, sources: Sequence[tuple[str, int]]) -> None:
        """Put the bytes of the sources, in order, under `key`. Raises NotFound for one that has gone."""
        total = sum(size for _, size in sources)
        if len(sources) == 1 and total <= self._options.copy_part_bytes:
            await copy(self._bodies.direct, key, sources[0][0])
            return
        most = max(self._options.copy_part_bytes, total // (self._options.most_parts // 2) + 1)
        parts = planned(sources, self._options.least_part_bytes, most)
        if len(parts) > self._options.most_parts:
            await self._join_in_groups(key, sources)
        elif len(parts) <= 1 and all(len(part) > 1 or part[0].count < part[0].size for part in parts):
            await self._resend(key, parts)
        elif len(parts) == 1:
            if parts[0][0].key != key:
                await copy(self._bodies.direct, key, parts[0][0].key)
        else:
            async with begun(self._bodies, key) as upload:
                await _together(
                    self._put_part(upload, number, part) for number, part in enumerate(parts, start=1)
                )
                await upload.complete()

    async def _join_in_groups(self, key: str, sources: Sequence[tuple[str, int]]) -> None:
        """Join as many sources at a time as one upload can take, and then what they have become."""
        step = self._options.most_parts // 2
        joined: list[tuple[str, int]] = []
        try:
            for first in range(0, len(sources), step):
                group = sources[first : first + step]
                joined.append((f"{_JOINS}/{uuid4()}", sum(size for _, size in group)))
                await self.join(joined[-1][0], group)
            await self.join(key, joined)
        finally:
            for name, _ in joined:
                await delete(self._metadata, [name])

    async def _put_part(self, upload: PartsUpload, number: int, part: Part) -> None:
        first = part[0]
        if len(part) == 1 and first.count >= self._options.least_part_bytes:
            whole = (first.start, first.end) == (0, first.size)
            await upload.copy_part(number, first.key, None if whole else (first.start, first.end))
            return
        count = sum(span.count for span in part)
        async with self._held(first.key, count):
            await upload.put_part(number, await self._read(part))

    async def _resend(self, key: str, parts: Sequence[Part]) -> None:
        spans = parts[0] if parts else ()
        count = sum(span.count for span in spans)
        async with self._held(key, count):
            await put(self._bodies.direct, key, await self._read(spans), if_absent=False)

    @asynccontextmanager
    async def _held(self, key: str, count: int) -> AsyncIterator[None]:
        """Room for what is re-sent."""
        holder = object()
        await self._room.wait(key, holder, count)
        try:
            yield
        finally:
            self._room.give(count)
            self._room.sent(holder)

    async def _read(self, spans: Sequence[Span]) -> bytes:
        return b"".join(await _together(self._bytes(span) for span in spans))

    async def _bytes(self, span: Span) -> bytes:
        if span.count == span.size:
            data = await get(self._bodies.direct, span.key, span.size)
        else:
            data = await get_range(self._bodies.direct, span.key, span.start, span.end)
        if len(data) != span.count:
            raise Unavailable(span.key, "the object was replaced while it was being joined to others")
        return data

    async def _size(self, key: str) -> int | None:
        try:
            return (await stat(self._metadata, key)).size_bytes
        except NotFound:
            return None


async def _together(calls: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """The outcomes of some calls, a few at a time; the first that fails ends the others, and then all."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(call: Coroutine[Any, Any, Any]) -> Any:
        try:
            async with turns:
                return await call
        finally:
            call.close()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(call)) for call in calls]
    except BaseExceptionGroup as failed:
        first = failed.exceptions[0]
        raise first from first.__cause__
    return [task.result() for task in tasks]
