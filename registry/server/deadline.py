"""One deadline of one connection, moved for almost nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls `late` once when the time that was last set has passed.

    It is moved with each piece of a body; a timer of the loop for each move would cost more than the move,
    so the one timer there is finds out when it fires whether it still has to wait.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, late: Callable[[], None]) -> None:
        self._loop = loop
        self._late = late
        self._due: float | None = None
        self.moved_at = loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """Be due in so many seconds from now."""
        self.moved_at = self._loop.time()
        self._due = due = self.moved_at + seconds
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._fire)
        elif self._timer.when() > due:
            self._timer.cancel()
            self._timer = self._loop.call_at(due, self._fire)

    def clear(self) -> None:
        """Be due no more, until set again."""
        self._due = None

    def close(self) -> None:
        """Never fire again."""
        self._due = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        if self._due is None:
            return
        if self._due > self._loop.time():
            self._timer = self._loop.call_at(self._due, self._fire)
        else:
            self._due = None
            self._late()
