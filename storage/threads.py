"""Whole steps of file work in threads of the driver's own, by way of aiofiles' bridge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar, TypeVarTuple, Unpack

import aiofiles.os

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def _call(function: Callable[..., T], *arguments: object) -> T:
    return function(*arguments)


_END = object()
_bridge = aiofiles.os.wrap(_call)


class _Lane:
    """An executor for one call, which remembers the call: asyncio's future forgets it when cancelled."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._executor = executor
        self.call: Future[Any] | None = None

    def submit(self, function: Callable[..., T], /, *arguments: Any) -> Future[T]:
        self.call = self._executor.submit(function, *arguments)
        return self.call


async def _ended(call: Future[Any]) -> None:
    """Wait for a call whatever its outcome; a cancellation meanwhile is raised when it has ended."""
    waiter = asyncio.wrap_future(call)
    cancelled = False
    while not waiter.done():
        try:
            await asyncio.wait([waiter])
        except asyncio.CancelledError:
            cancelled = True
    if not waiter.cancelled():
        waiter.exception()  # marked as seen
    if cancelled:
        raise asyncio.CancelledError


class Threads:
    """Runs at most `limit` steps at a time; the others wait their turn."""

    def __init__(self, limit: int) -> None:
        self._executor = ThreadPoolExecutor(limit, thread_name_prefix="storage")

    async def run(
        self,
        function: Callable[[Unpack[Ts]], T],
        *arguments: *Ts,
        abandon: Callable[[], None] | None = None,
    ) -> T:
        """The outcome of one step.

        When cancelled, it calls `abandon` and returns only when the step has ended, or will never begin: what
        the caller does next never races with it.
        """
        lane: Any = _Lane(self._executor)
        try:
            outcome: T = await _bridge(function, *arguments, executor=lane)
            return outcome
        except asyncio.CancelledError:
            if lane.call is not None and not lane.call.cancel():
                if abandon is not None:
                    abandon()
                await _ended(lane.call)
            raise

    async def run_always(self, function: Callable[[], None]) -> None:
        """A step that a cancellation does not keep from beginning: for cleaning up."""
        call = self._executor.submit(function)
        await _ended(call)
        call.result()

    async def finish(
        self, work: Generator[None, None, None], abandon: Callable[[], None] | None = None
    ) -> None:
        """Run a generator to its end, one turn a step, so that a cancellation waits for one turn at most."""
        ended = False
        try:
            while await self.run(_turn, work, abandon=abandon):
                pass
            ended = True
        finally:
            if not ended:
                await self.run_always(work.close)

    async def items(self, work: Generator[T | None, None, None], a_step: int) -> AsyncGenerator[T, None]:
        """What a generator yields, except None; each step ends after `a_step` of its yields, None counted."""
        try:
            while batch := await self.run(_take, work, a_step):
                for item in batch:
                    if item is not None:
                        yield item
                if len(batch) < a_step:
                    # The end, without a hop to a thread to hear of it.
                    return
        finally:
            work.close()

    async def close(self) -> None:
        """Wait for the steps under way, then end the threads."""
        await asyncio.to_thread(self._executor.shutdown)


def _take(work: Generator[T, None, None], count: int) -> list[T]:
    return list(islice(work, count))


def _turn(work: Generator[None, None, None]) -> bool:
    return next(work, _END) is not _END
