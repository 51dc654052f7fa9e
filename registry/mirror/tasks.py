"""Work that goes on when those who wait for it leave, and ends with the process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, TypeVar

from registry.errors import RegistryError
from registry.logs import event
from registry.remote.errors import UpstreamError
from storage.errors import StorageError

T = TypeVar("T")

_LOG = logging.getLogger(__name__)


class Tasks:
    """The work of one namespace."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}

    async def once(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """What comes of the work, or of what of it is under way."""
        task = self._tasks.get(key)
        if task is None:

            async def run() -> T:
                return await work()

            task = self.start(key, run())
        result: T = await asyncio.shield(task)
        return result

    def start(self, key: Hashable, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin some work, of which there is none under way."""
        task = asyncio.create_task(work)
        self._tasks[key] = task

        def ended(task: asyncio.Task[T]) -> None:
            del self._tasks[key]
            error = None if task.cancelled() else task.exception()
            # Those who waited are told the others, if any were left.
            if error is not None and not isinstance(error, UpstreamError | RegistryError | StorageError):
                event(_LOG, logging.ERROR, "job.failed", exception=error, job="mirror")

        task.add_done_callback(ended)
        return task

    @property
    def each(self) -> list[asyncio.Task[Any]]:
        """What is under way."""
        return list(self._tasks.values())

    async def aclose(self) -> None:
        """End it."""
        tasks = self.each
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
