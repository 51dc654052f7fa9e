"""The storage contract: bytes under keys, in ten methods.

Keys are relative and `/`-separated; their segments are made of `[A-Za-z0-9._-]`, are never empty, `.` or
`..`, and never begin with `.tmp-` (drivers keep unfinished objects under such names). No key is a path prefix
of another. Every method may raise `InvalidKey`, `TooLarge`, `Unavailable`, `OutOfSpace` or `Forbidden`
besides what its own docstring names; all of them are `StorageError`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from storage.errors import NotFound


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """Size in bytes, and the time (aware, UTC, by the store's own clock) at which the object was written."""

    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class InMemory:
    """Chunks for a `write` that lie in memory all together: a driver need not gather them bit by bit."""

    pieces: Sequence[bytes]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece


class Check(Protocol):
    """Looks at the bytes of a `write` as they pass, in a worker thread, and may refuse them at the end."""

    def update(self, piece: bytes | bytearray | memoryview, /) -> None:
        """Sees every piece once, in order."""

    def finish(self) -> None:
        """Runs before the object becomes visible; what it raises leaves nothing behind."""


class OpenObject(Protocol):
    """An object held open for reading: `info` of the whole object, and the range `[start, end)` asked for."""

    @property
    def info(self) -> ObjectInfo:
        """Of the whole object, whatever the range."""

    @property
    def start(self) -> int:
        """The first byte of the range."""

    @property
    def end(self) -> int:
        """One behind the last byte of the range, clamped to the object's size."""

    @property
    def file(self) -> int | None:
        """An open descriptor of the whole object, for sendfile, valid while the object is open; else None."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of the range, in pieces of at most 1 MiB."""


class Presigner(Protocol):
    """Gives out addresses by which an object can be read past us, by whoever holds one and for a while."""

    async def presign(self, key: str, method: Literal["GET", "HEAD"], *, lifetime_seconds: int) -> str:
        """A URL for one method on one object, whether it exists or not; it is as good as a password."""


class Driver(Protocol):
    """A place that keeps bytes under keys, atomically: no reader ever sees half of an object."""

    @property
    def epoch(self) -> str | None:
        """Names what a non-durable write survives: equal epochs, no power cut since (None: never equal)."""

    async def get(self, key: str, *, limit: int) -> bytes:
        """The whole of a small object.

        Raises NotFound; TooLarge when the object has more than `limit` bytes.
        """

    async def put(self, key: str, data: bytes, *, if_absent: bool = False, durable: bool = True) -> None:
        """Put `data` under `key`, replacing what lies there in one step.

        With `if_absent` exactly one of several concurrent callers with different bytes wins; equal bytes are
        success for all of them, so who needs a single winner writes a nonce.
        `durable=False` is for what a power cut may take; it is atomic all the same and survives `kill -9`.
        Over a durable object it is wrong: a power cut may leave neither the old bytes nor the new.

        Raises AlreadyExists (with `if_absent`, when other bytes lie there).
        """

    def open(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AbstractAsyncContextManager[OpenObject]:
        """Open an object for reading the range `[start, end)` (end None: to the end; clamped to the size).

        Fails on entry, never first on a chunk. A range that ends before it begins has no bytes. What is
        replaced or deleted meanwhile is read as it was.

        Raises NotFound; InvalidRange when `start` is behind the size (`start == size` gives no bytes).
        """

    async def write(
        self,
        key: str,
        chunks: AsyncIterable[bytes],
        *,
        check: Check | None = None,
        if_absent: bool = False,
        durable: bool = True,
    ) -> int:
        """Stream `chunks` into an object that appears whole or not at all; the size in bytes.

        Pieces are gathered to about 1 MiB; one hop to a thread shows each to `check` and writes them. Of what
        is `InMemory` one hop may take all.
        What `check` or the iterator raises, and a cancellation, leave nothing behind; a cancellation may come
        too late, and then the object is there, whole.

        Raises AlreadyExists (with `if_absent`, when other bytes lie there).
        """

    async def compose(self, key: str, sources: Sequence[str], *, size: int) -> None:
        """Join `sources` in order into `key`, which appears whole and durable; then remove them.

        `size` is their total in bytes. A crash may leave sources behind. With all sources present `key` is
        always replaced; with any missing it succeeds only if `key` has `size` already. One source is a move,
        no source an empty object; a source that is `key` itself stays as the result. Modified time:
        unspecified.

        Raises NotFound when a source is missing and `key` does not have `size`; Unavailable when the sources
        have another total. Both leave everything as it was. When the bytes of a single source cannot be made
        durable (Unavailable, OutOfSpace), that source is gone: a disk that is asked again may lie.
        """

    async def copy(self, key: str, source: str) -> None:
        """A second object with the same bytes, durable; onto an existing key it succeeds and leaves that.

        Modified time: unspecified.

        Raises NotFound when there is no `source`.
        """

    async def stat(self, key: str) -> ObjectInfo:
        """Size and modified time. Raises NotFound."""

    async def children(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """The immediate names below `prefix` that have an object at or below them, in byte order.

        `prefix` is a key without a trailing `/`, or "" for the root. Only names greater than `after` are
        given, at most `limit` of them. A prefix below which nothing lies has no children. Who needs certainty
        while others write or delete uses `walk`.
        """

    def walk(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        """Every key below `prefix` that is greater than the key `after`, in byte order of the full key.

        It may be resumed at any time with the last key seen.
        """

    async def delete(self, keys: Sequence[str], *, durable: bool = True) -> None:
        """Remove the objects under `keys`; keys without an object are no error, siblings stay.

        After a power cut what was removed with `durable=False` may be there again.
        """


async def exists(driver: Driver, key: str) -> bool:
    """Whether an object lies under the key."""
    try:
        await driver.stat(key)
    except NotFound:
        return False
    return True
