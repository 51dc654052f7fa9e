"""The connections on which bodies are read: whoever does not use theirs for a while lends it to others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from storage.errors import Unavailable

_IDLE_SECONDS = 1.0
_LOOK_SECONDS = 0.2


class Holder(Protocol):
    """Who reads a body, and can go on later on another connection."""

    def part_with_connection(self) -> None:
        """Close it."""


class Connections:
    """`most` at once. Where there are so many, those go first that have not been read from for a second.

    Who finds none of these either waits for `patience_seconds` at most. So clients that are slow to pull,
    however many, keep nobody from pulling.
    """

    def __init__(
        self, most: int, patience_seconds: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._free = asyncio.Semaphore(most)
        self._patience = patience_seconds
        self._clock = clock
        self._idle: dict[Holder, float] = {}  # since when; the longest first

    async def take(self, key: str) -> None:
        """Have one more. Raises Unavailable."""
        end = self._clock() + self._patience
        while True:
            if self._free.locked():
                self._part()
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._free.acquire()
                return
            except TimeoutError:
                if self._clock() >= end:
                    message = f"all {self._most} connections for bodies are in use"
                    raise Unavailable(key, f"{message} (storage.s3.max_connections)") from None

    def give_back(self) -> None:
        """Have one less."""
        self._free.release()

    def rests(self, holder: Holder) -> None:
        """Say that nothing is being read on its connection from now on."""
        self._idle[holder] = self._clock()

    def goes_on(self, holder: Holder) -> None:
        """Say that it does not rest any more."""
        self._idle.pop(holder, None)

    def _part(self) -> None:
        for holder, since in self._idle.items():
            if self._clock() - since >= _IDLE_SECONDS:
                del self._idle[holder]
                holder.part_with_connection()
                self.give_back()
            return
