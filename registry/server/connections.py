"""The connections of one serving process: counted, and what happens to one too many."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from registry.errors import Unavailable
from registry.logs import event
from registry.server.answers import refusal

logger = logging.getLogger(__name__)

# One that is turned away may still be sending its request: closing a socket that holds unread bytes resets
# the connection, and the answer is lost with it. So we read on for a moment, for so many at a time.
_LINGER_SECONDS = 1.0
_LINGERING = 64
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_TELL_SECONDS = 30.0


class Connections:
    """Counts connections against a bound, of which each worker has its own.

    Whoever takes a connection asks `admit`, and calls `release` when an admitted one has ended; the others
    are given to `refuse`.
    """

    def __init__(self, most: int, *, retry_after_seconds: int = 5) -> None:
        self.most = most
        self._open = 0
        self._full = False
        self._turned_away: set[_TurnedAway] = set()
        self.refusal = refusal(
            Unavailable(
                f"this server has {most} connections already; try again shortly",
                headers={"Retry-After": str(retry_after_seconds)},
            )
        )

    def __len__(self) -> int:
        return self._open

    def admit(self) -> bool:
        """Count one more connection, if there is room for it."""
        if self._open >= self.most:
            if not self._full:
                self._full = True
                event(logger, logging.WARNING, "connections.full", limit=self.most)
            return False
        self._open += 1
        return True

    def release(self) -> None:
        """One that was admitted has ended."""
        self._open -= 1
        # Said again only after there was some room, or a flood would fill the log.
        if self._open <= self.most * 9 // 10:
            self._full = False

    def refuse(self, transport: asyncio.Transport) -> None:
        """Answer 503 on a connection that was not admitted, and close it.

        The protocol that the connection was made for hears no more of it, not even its end.
        """
        transport.set_protocol(_TurnedAway(transport, self._turned_away))
        transport.write(self.refusal)
        if len(self._turned_away) > _LINGERING:
            transport.close()
        elif transport.can_write_eof():
            transport.write_eof()


class _TurnedAway(asyncio.Protocol):
    """Reads what a refused client sends and heeds none of it, until the client or the moment has ended."""

    def __init__(self, transport: asyncio.Transport, among: set[_TurnedAway]) -> None:
        self._transport = transport
        self._among = among
        self._among.add(self)
        self._timer = asyncio.get_running_loop().call_later(_LINGER_SECONDS, transport.abort)

    def connection_lost(self, _: Exception | None) -> None:
        self._timer.cancel()
        self._among.discard(self)


class Exhaustion:
    """The event loop's exception handler: descriptors that run out are an event and no error.

    asyncio takes no connection for a second then. Those that wait are served late, and nothing else happens;
    said at most every half minute, since it may happen in every second of a flood.
    """

    def __init__(self, limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._told_at: float | None = None

    def __call__(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """Handle what asyncio could hand to nobody."""
        error = context.get("exception")
        if isinstance(error, ValueError) and "_start_serving" in context["message"]:
            # The second is over, and the listening socket was closed meanwhile, since the end was asked for.
            return
        if not (isinstance(error, OSError) and error.errno in _EXHAUSTED and "socket" in context):
            loop.default_exception_handler(dict(context))
            return
        now = self._clock()
        if self._told_at is None or now - self._told_at >= _TELL_SECONDS:
            self._told_at = now
            event(logger, logging.WARNING, "connections.delayed", reason=error.strerror, limit=self._limit)
