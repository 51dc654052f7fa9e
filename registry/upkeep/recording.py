"""Writes down what a serving process has counted of pulls, and that it is there and does so."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, date, datetime

from registry.core.pull_records import PullRecords, records
from registry.core.registry import Registry
from registry.logs import event
from registry.upkeep.expiry import stamped_now
from storage.errors import StorageError

LOOK_SECONDS = 5.0  # between two looks whether it is time
_SECONDS = 240.0  # between two records: five minutes are promised
_AGAIN_SECONDS = 60.0  # after one that failed
_END_SECONDS = 10.0
_LOG = logging.getLogger(__name__)


class Recording:
    """What one process records of the pulls that it answers; `who` is how people know it.

    It says that it is there before it answers anything, so that one that dies leaves that, and each time up
    to when all that it counted is recorded. What cannot be written is kept in memory and tried again; what is
    written again after a failure is the same object with the same bytes.
    """

    def __init__(
        self, registry: Callable[[], Registry], *, who: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = registry
        self._who = who
        self._clock = clock
        self._next = clock()
        self._failing = False
        self._id = ""
        self._since: datetime | None = None
        self._until: datetime | None = None
        self._number = 1
        self._left: deque[tuple[str, bytes]] = deque()
        self._lost: set[date] = set()
        self._is_known = False
        self._turn = asyncio.Lock()

    def count(self) -> None:
        """Count pulls from now on; they are in memory until writing begins."""
        pulls = self._registry().pulls
        pulls.counting = True
        self._id = self._registry().store.effects.unique()
        self._since = self._until = pulls.time

    async def begin(self) -> None:
        """Writing begins, for the first time or again: record what there is, and that we are there.

        A store that cannot be written to is served all the same, and it is tried again later.
        """
        if self._since is not None:
            try:
                await self.record()
            except StorageError as error:
                event(_LOG, logging.WARNING, "job.failed", exception=error, job="pulls.record")

    async def if_due(self) -> None:
        """Record if it is time, or if there is much to record. Raises StorageError."""
        crowded = self._registry().pulls.is_full and not self._failing
        if (
            self._since is not None
            and self._registry().may_write()
            and (crowded or self._clock() >= self._next)
        ):
            await self.record()

    async def record(self) -> None:
        """Record what was counted so far. Raises StorageError; then all is kept that was not recorded."""
        async with self._turn:
            self._failing = True
            self._next = self._clock() + _AGAIN_SECONDS
            await self._record()
            self._failing = False
            self._next = self._clock() + _SECONDS

    async def end(self) -> None:
        """Record the last, and say that we have ended; if that cannot be, it will look as if we had died."""
        if not self._is_known or not self._registry().may_write():
            return
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self.record()
                await self._records.forget_process(self._id)
        except (StorageError, TimeoutError) as error:
            event(_LOG, logging.WARNING, "job.failed", exception=error, job="pulls.record")

    @property
    def _records(self) -> PullRecords:
        return PullRecords(self._registry().store.driver)

    async def _record(self) -> None:
        pulls = self._registry().pulls
        if not self._is_known and not await self._records.any():
            now = datetime.fromtimestamp(await stamped_now(self._registry().store), UTC)
            await self._records.mark_uncovered(now.date(), "on this day the recording of pulls began")
        if pulls.is_empty and not self._left and not self._lost:
            self._until = pulls.time
            if await self._renew():
                self._until = pulls.time
                await self._renew()
            return
        # Before anything is dated: it tells the store's time.
        await self._renew()
        await self._put_left()
        batch = pulls.take()
        self._left.extend(records(self._id, self._who, self._number, batch))
        self._number += len(batch.days)
        self._lost |= batch.lost
        await self._put_left()
        self._until = batch.until
        await self._renew()

    async def _put_left(self) -> None:
        """Write what was taken, one after the other: whoever sees a record has seen those before it."""
        while self._left:
            await self._records.put(*self._left[0])
            self._left.popleft()
        for day in sorted(self._lost):
            event(_LOG, logging.WARNING, "pulls.lost", day=str(day))
            await self._records.mark_uncovered(day, "a process had no room for what it counted")
            self._lost.discard(day)

    async def _renew(self) -> bool:
        """Say that we are there; whether our clock has turned out to be wrong."""
        assert self._since is not None and self._until is not None
        now = self._registry().store.effects.now
        before = now()
        await self._records.put_process(self._id, self._who, self._since, self._until)
        stamped = await self._records.renewed_at(self._id)
        wrong = self._registry().pulls.correct(stamped, before, now())
        if wrong is not None and not self._is_known:
            self._since, self._until = self._since + wrong, self._until + wrong
        self._is_known = True
        return wrong is not None
