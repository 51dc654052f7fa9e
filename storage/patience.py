"""Where short turns of file work are done: on the event loop, or in threads while the disk is slow."""

from __future__ import annotations

from collections.abc import Callable

_TURNS = 100
_SPENT_SECONDS = 0.25
_SLOW_SECONDS = 0.005
_ASIDE_SECONDS = 30.0
_COUNTED_SECONDS = 0.1  # the third turn that hangs is the last that the loop waits for


class Patience:
    """Decides where short turns run: when a hundred of them took over a quarter second, 30 s in threads.

    A turn is a few calls that take microseconds each and a hop to a thread a hundred of them, while a disk or
    a network file system that hangs would stop every connection of the process. Of one turn `counted_seconds`
    count at most. A turn also waits for the interpreter's lock and for a processor, which cannot be told from
    a disk: so the sum decides, not how many were slow.
    """

    def __init__(self, clock: Callable[[], float], counted_seconds: float = _COUNTED_SECONDS) -> None:
        self.clock = clock
        self.slow = 0
        """How many turns took over 5 ms so far."""
        self._counted_seconds = counted_seconds
        self._turns = 0
        self._spent = 0.0
        self._aside_until = float("-inf")

    @property
    def exhausted(self) -> bool:
        """Whether turns go to threads now."""
        return self.clock() < self._aside_until

    def took(self, began: float) -> None:
        """Note a turn on the loop that began at `began` by the clock and has ended."""
        now = self.clock()
        taken = now - began
        self.slow += taken > _SLOW_SECONDS
        self._turns += 1
        self._spent += min(taken, self._counted_seconds)
        if self._spent > _SPENT_SECONDS:
            self._aside_until = now + _ASIDE_SECONDS
        if self._turns == _TURNS or self._spent > _SPENT_SECONDS:
            self._turns = 0
            self._spent = 0.0
