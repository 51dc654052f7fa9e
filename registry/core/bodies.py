"""What core needs to know of a request's body."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Protocol

from registry.errors import SizeInvalid

RENEWAL = timedelta(seconds=30)


class Body(Protocol):
    """Bytes as they arrive; a connection that breaks ends them normally and leaves `cut_off` set."""

    @property
    def length(self) -> int | None:
        """What the client said that it would send, in bytes; None when it did not say."""

    @property
    def cut_off(self) -> bool:
        """Whether the connection broke before the body had ended."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...


class Passed:
    """What has the length and the end of another body; what comes of its pieces is for others to say."""

    def __init__(self, body: Body) -> None:
        self._body = body

    @property
    def length(self) -> int | None:
        """The body's own."""
        return self._body.length

    @property
    def cut_off(self) -> bool:
        """The body's own."""
        return self._body.cut_off


class Renewed(Passed):
    """A body that calls `renew` every half minute by the clock `now`, while it is being received."""

    def __init__(self, body: Body, now: Callable[[], datetime], renew: Callable[[], Awaitable[None]]) -> None:
        super().__init__(body)
        self._now = now
        self._renew = renew

    async def __aiter__(self) -> AsyncIterator[bytes]:
        due = self._now() + RENEWAL
        async for piece in self._body:
            yield piece
            if self._now() >= due:
                await self._renew()
                due = self._now() + RENEWAL


async def at_most(body: Body, size_bytes: int) -> AsyncIterator[bytes]:
    """The body's pieces. Raises SizeInvalid as soon as they are more than `size_bytes`."""
    seen = 0
    async for piece in body:
        seen += len(piece)
        if seen > size_bytes:
            raise SizeInvalid(f"the body is longer than the {size_bytes} bytes that its range names")
        yield piece


async def exactly(body: Body, size_bytes: int | None) -> AsyncIterator[bytes]:
    """The body's pieces. Raises SizeInvalid when a whole body is not of `size_bytes` (None: any size)."""
    if size_bytes is None:
        async for piece in body:
            yield piece
        return
    seen = 0
    async for piece in at_most(body, size_bytes):
        seen += len(piece)
        yield piece
    if seen < size_bytes and not body.cut_off:
        raise SizeInvalid(f"the body has {seen} bytes and its range names {size_bytes}")
