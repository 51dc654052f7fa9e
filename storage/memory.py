"""Objects in a dictionary: for tests, and for models of what the driver's users do."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from storage.contract import Check, Driver, ObjectInfo, OpenObject
from storage.errors import AlreadyExists, InvalidKey, InvalidRange, NotFound, TooLarge, Unavailable
from storage.keys import parents, validate, validate_prefix

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Opened:
    info: ObjectInfo
    start: int
    end: int
    data: bytes
    file: int | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        for at in range(self.start, self.end, _PIECE_BYTES):
            yield self.data[at : min(at + _PIECE_BYTES, self.end)]


class MemoryDriver(Driver):
    """Keeps everything in this process: no threads, no waiting, the same outcome each time.

    `clock` stamps the objects, `epoch` is whatever the test wants it to be.
    """

    def __init__(
        self, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC), epoch: str | None = "memory"
    ) -> None:
        self._clock = clock
        self._epoch = epoch
        self._objects: dict[str, tuple[bytes, datetime]] = {}
        self._below: dict[str, int] = {}  # how many keys lie below each prefix
        self._sorted: list[str] | None = None

    @property
    def epoch(self) -> str | None:
        """What the constructor was given."""
        return self._epoch

    async def get(self, key: str, *, limit: int) -> bytes:
        """The whole of a small object."""
        data, _ = self._find(key)
        if len(data) > limit:
            raise TooLarge(key, f"the object has {len(data)} bytes, more than the {limit} asked for")
        return data

    async def put(
        self,
        key: str,
        data: bytes,
        *,
        if_absent: bool = False,
        durable: bool = True,  # noqa: ARG002 - nothing here survives a power cut
    ) -> None:
        """Put a small object."""
        validate(key)
        self._store(key, bytes(data), if_absent)

    @asynccontextmanager
    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[OpenObject]:
        """Open an object for reading a range; there is no file."""
        data, modified_at = self._find(key)
        size = len(data)
        if not 0 <= start <= size:
            raise InvalidRange(key, size)
        stop = size if end is None else max(start, min(end, size))
        yield _Opened(ObjectInfo(size, modified_at), start, stop, data)

    async def write(
        self,
        key: str,
        chunks: AsyncIterable[bytes],
        *,
        check: Check | None = None,
        if_absent: bool = False,
        durable: bool = True,  # noqa: ARG002 - nothing here survives a power cut
    ) -> int:
        """Gather a stream into an object."""
        validate(key)
        pieces = []
        async for piece in chunks:
            if check is not None:
                check.update(piece)
            pieces.append(piece)
        if check is not None:
            check.finish()
        data = b"".join(pieces)
        self._store(key, data, if_absent)
        return len(data)

    async def compose(self, key: str, sources: Sequence[str], *, size: int) -> None:
        """Join objects."""
        validate(key)
        for source in sources:
            validate(source)
        missing = [source for source in sources if source not in self._objects]
        if missing:
            there = self._objects.get(key)
            if there is None or len(there[0]) != size:
                raise NotFound(missing[0])
        else:
            data = b"".join(self._objects[source][0] for source in sources)
            if len(data) != size:
                raise Unavailable(key, f"the sources have {len(data)} bytes, not {size}")
            self._store(key, data, if_absent=False)
        await self.delete([source for source in sources if source != key])

    async def copy(self, key: str, source: str) -> None:
        """The same bytes under a second key."""
        validate(key)
        data, _ = self._find(source)
        if key not in self._objects:
            self._store(key, data, if_absent=False)

    async def stat(self, key: str) -> ObjectInfo:
        """Size and modified time."""
        data, modified_at = self._find(key)
        return ObjectInfo(len(data), modified_at)

    async def children(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Immediate names."""
        validate_prefix(prefix)
        start = f"{prefix}/" if prefix else ""
        names = {key[len(start) :].partition("/")[0] for key in self._objects if key.startswith(start)}
        return sorted(name for name in names if name > after)[:limit]

    async def walk(self, prefix: str, *, after: str = "") -> AsyncGenerator[str, None]:
        """Keys in byte order; what is put or deleted meanwhile shows or goes if the walk is not yet past."""
        validate_prefix(prefix)
        start = f"{prefix}/" if prefix else ""
        key = max(after, start)
        while (next_key := self._next(key)) is not None and next_key.startswith(start):
            key = next_key
            yield key

    async def delete(self, keys: Sequence[str], *, durable: bool = True) -> None:  # noqa: ARG002
        """Remove objects."""
        for key in keys:
            validate(key)
        for key in keys:
            if self._objects.pop(key, None) is not None:
                self._sorted = None
                for prefix in parents(key):
                    self._below[prefix] -= 1
                    if not self._below[prefix]:
                        del self._below[prefix]

    def _find(self, key: str) -> tuple[bytes, datetime]:
        validate(key)
        try:
            return self._objects[key]
        except KeyError:
            raise NotFound(key) from None

    def _store(self, key: str, data: bytes, if_absent: bool) -> None:
        there = self._objects.get(key)
        if there is not None:
            if if_absent:
                if there[0] != data:
                    raise AlreadyExists(key)
                return
        else:
            above = parents(key)
            if key in self._below or any(prefix in self._objects for prefix in above):
                raise InvalidKey(key, "the key is a path prefix of another, or another is one of it")
            self._sorted = None
            for prefix in above:
                self._below[prefix] = self._below.get(prefix, 0) + 1
        self._objects[key] = (data, self._clock())

    def _next(self, key: str) -> str | None:
        if self._sorted is None:
            self._sorted = sorted(self._objects)
        at = bisect_right(self._sorted, key)
        return self._sorted[at] if at < len(self._sorted) else None
