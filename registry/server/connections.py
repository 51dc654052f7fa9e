"""The connections of one serving process: counted, and what happens to one too many."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from typing import cast

from registry.errors import Unavailable
from registry.logs import event
from registry.server.answers import refusal

logger = logging.getLogger(__name__)

# One that is turned away may still be sending its request: closing a socket that holds unread bytes resets
# the connection, and the answer is lost with it. So we read on for a moment, for so many at a time.
LINGER_SECONDS = 1.0
_LINGERING = 64
_TELL_SECONDS = 30.0


class Connections:
    """Counts the connections of a listener against a bound, of which each worker has its own.

    They count from when they are taken until their socket is closed, so also while a client is to say what
    it needs for TLS.
    """

    def __init__(self, most: int, *, retry_after_seconds: int = 5) -> None:
        self.most = most
        self._open = 0
        self.refused = 0  # and not closed yet
        self._full = False
        self.refusal = refusal(
            Unavailable(
                f"this server has {most} connections already; try again shortly",
                headers={"Retry-After": str(retry_after_seconds)},
            )
        )

    def __len__(self) -> int:
        return self._open

    def admit(self, taken: socket.socket) -> socket.socket | None:
        """The same connection, counted until it is closed; None when there is no room for it."""
        if self._open >= self.most:
            if not self._full:
                self._full = True
                event(logger, logging.WARNING, "connections.full", limit=self.most)
            return None
        self._open += 1
        return _Counted(taken, self._release)

    def refuse(self, taken: socket.socket) -> socket.socket | None:
        """The same connection, which is to be told so by `turned_away`; None when those are too many, too."""
        if self.refused >= _LINGERING:
            return None
        self.refused += 1
        return _Counted(taken, self._forget)

    def turned_away(self) -> asyncio.Protocol:
        """What answers 503 on a connection and reads on for a moment."""
        return _TurnedAway(self.refusal)

    def _release(self) -> None:
        self._open -= 1
        # Said again only after there was some room, or a flood would fill the log.
        if self._open <= self.most * 9 // 10:
            self._full = False

    def _forget(self) -> None:
        self.refused -= 1


class _Counted(socket.socket):
    """A connection that says when it is closed, which whoever has it does in the end, whatever happens."""

    __slots__ = ("_ended",)

    def __init__(self, taken: socket.socket, ended: Callable[[], None]) -> None:
        super().__init__(taken.family, taken.type, taken.proto, taken.detach())
        self._ended: Callable[[], None] | None = ended

    def close(self) -> None:
        super().close()
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()


class _TurnedAway(asyncio.Protocol):
    """Reads what a refused client sends and heeds none of it, until the client or the moment has ended."""

    def __init__(self, refusal: bytes) -> None:
        self._refusal = refusal

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        transport.write(self._refusal)
        if transport.can_write_eof():
            transport.write_eof()
        self._timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, transport.abort)

    def connection_lost(self, _: Exception | None) -> None:
        self._timer.cancel()


class Exhaustion:
    """Descriptors that run out are an event and no error: those that wait are served late.

    Said at most every half minute, since it may happen in every second of a flood.
    """

    def __init__(self, limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._told_at: float | None = None

    def tell(self, error: OSError) -> None:
        """Say that a connection could not be taken."""
        now = self._clock()
        if self._told_at is None or now - self._told_at >= _TELL_SECONDS:
            self._told_at = now
            event(logger, logging.WARNING, "connections.delayed", reason=error.strerror, limit=self._limit)
