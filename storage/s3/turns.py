"""How many requests a process makes at once, and how often it makes one again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from storage.errors import StorageError, Unavailable
from storage.s3.errors import Doubtful
from storage.s3.options import S3Options

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 5.0


class Turns:
    """`most` at once, the others in turn, but not behind a store that hangs.

    Who waits gives up once none has come back for `patience_seconds`. `setting` says how many there are.
    """

    def __init__(self, most: int, patience_seconds: float, setting: str) -> None:
        self._most = most
        self._free = asyncio.Semaphore(most)
        self._setting = f"{most} requests at once (storage.s3.{setting})"
        self._patience = patience_seconds
        self._came_back_at = float("-inf")
        self._over = False

    async def take(self, key: str) -> None:
        """Have one of the turns. Raises Unavailable."""
        if self._over:
            raise Unavailable(key, "the store is not in use any more")
        if not self._free.locked():
            await self._free.acquire()
            return
        while True:
            try:
                async with asyncio.timeout(self._patience):
                    await self._free.acquire()
                return
            except TimeoutError:
                if time.monotonic() - self._came_back_at >= self._patience:
                    message = f"all {self._setting} wait for the store, which has answered none for long"
                    raise Unavailable(key, message) from None

    def give_back(self) -> None:
        """Have it no longer."""
        self._came_back_at = time.monotonic()
        self._free.release()

    async def all_ended(self) -> None:
        """Wait for those under way; nobody has a turn after that."""
        self._over = True
        for _ in range(self._most):
            await self._free.acquire()


class Attempts:
    """How often a request may be made: so often, and none begins after the time that one alone may take."""

    def __init__(self, options: S3Options) -> None:
        self._most = options.attempts
        self._until = time.monotonic() + options.read_timeout_seconds
        self._made = 1

    async def another(self, error: StorageError) -> None:
        """Wait before the next attempt; raises what became of the last one when there is none."""
        if self._made >= self._most or time.monotonic() >= self._until:
            raise (error.final() if isinstance(error, Doubtful) else error) from error.__cause__
        await pause(self._made)
        self._made += 1


async def attempted(options: S3Options, once: Callable[[], Awaitable[T]]) -> T:
    """The outcome of a request, made again when it was doubtful and there is time for it."""
    attempts = Attempts(options)
    while True:
        try:
            return await once()
        except Doubtful as error:
            await attempts.another(error)


async def pause(attempt: int) -> None:
    """Wait before the next attempt: longer each time, and never all at the same moment."""
    longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0**attempt)
    await asyncio.sleep(random.uniform(longest / 2, longest))  # noqa: S311 (spreads load, hides nothing)


async def finished(work: Coroutine[Any, Any, T]) -> T:
    """The outcome of what is not broken off: whoever is cancelled waits until it has ended."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await ended(task)
        raise


async def ended(task: asyncio.Future[Any]) -> None:
    """Wait for a task whatever its outcome; whoever waits is being cancelled or has failed already."""
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            continue
    if not task.cancelled():
        task.exception()  # marked as seen
