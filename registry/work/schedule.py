"""Work that repeats while a process serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from registry import logs

_LOG = logging.getLogger(__name__)


class Schedule:
    """Background jobs of one process; each runs alone, and a failure is logged and tried again next time."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def once(self, name: str, job: Callable[[], Awaitable[object]]) -> None:
        """Run a job in the background now."""
        self._tasks.append(asyncio.create_task(_attempt(name, job), name=name))

    def every(
        self, name: str, seconds: float, job: Callable[[], Awaitable[object]], *, at_once: bool = True
    ) -> None:
        """Run a job again `seconds` after each end, and the first time `at_once` or so long from now."""

        async def repeat() -> None:
            if not at_once:
                await asyncio.sleep(seconds)
            while True:
                await _attempt(name, job)
                await asyncio.sleep(seconds)

        self._tasks.append(asyncio.create_task(repeat(), name=name))

    async def stop(self) -> None:
        """Cancel what runs and wait for its clean-up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _attempt(name: str, job: Callable[[], Awaitable[object]]) -> None:
    try:
        await job()
    except Exception as error:  # noqa: BLE001 (a job that fails must not end the others, nor the server)
        logs.event(_LOG, logging.WARNING, "job.failed", exception=error, job=name)
