"""Who scrubs: one process at a time, by a lease, at a limited pace, on its own schedule or when asked."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from datetime import UTC, datetime, timedelta

from registry.core.registry import Registry
from registry.core.sources import Sources
from registry.logs import event
from registry.removal.mark import Step
from registry.store.store import Store
from registry.upkeep.expiry import stamped_now
from registry.upkeep.repairing import Save
from registry.upkeep.scrub import scrub
from registry.upkeep.scrub_reports import Scrub, ScrubReports
from registry.upkeep.settings import ScrubSettings
from registry.work.effects import bounded_effects
from registry.work.leased import LEASE_SECONDS, Leased
from registry.work.pace import let_others
from registry.work.reports import is_due
from storage.paced import ReadPacedDriver

_NAP_SECONDS = 5.0  # at most, between two signs of life
_BURST_SECONDS = 0.1
_LOG = logging.getLogger(__name__)


class Scrubbing:
    """Scrubs of one process; `who` is how other processes know it, `scheduled` whether it does so unasked.

    `sources` gives what else has some of the content, while a scrub goes on.
    """

    def __init__(
        self,
        registry: Callable[[], Registry],
        settings: ScrubSettings,
        *,
        who: str,
        scheduled: bool,
        sources: Callable[[], AbstractAsyncContextManager[Sources | None]] = nullcontext,
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._settings = settings
        self.scheduled = scheduled
        self._sources = sources
        self._clock = clock
        self.leased = Leased(
            registry,
            "scrub",
            "scrubbing",
            "moorage scrub status",
            who=who,
            seconds=lease_seconds,
            clock=clock,
        )
        self._next = 0.0

    def reports(self) -> ScrubReports:
        """What scrubs have left in the store."""
        return ScrubReports(self._registry().store)

    async def if_due(self) -> None:
        """Scrub if nobody has for long enough, or go on where somebody has stopped."""
        if self.scheduled:
            await self.leased.when_due(self._is_due, lambda step: self._told(self._held(step, "schedule")))

    async def run(self, by: str) -> AsyncIterator[Scrub]:
        """Scrub now. Raises TooManyRequests while another process does."""
        self._registry().require_writable()
        async with self.leased.held() as step, aclosing(self._held(step, by)) as run:
            async for report in run:
                yield report

    async def rehearse(self, by: str) -> AsyncIterator[Scrub]:
        """Verify everything and tell what is damaged; writes nothing."""
        report = Scrub(self._registry().store.effects.now(), by, dry_run=True)
        async for so_far in self._scrub(report, _no_save, let_others):
            yield so_far

    async def _held(self, step: Step, by: str) -> AsyncGenerator[Scrub, None]:
        reports = self.reports()
        newest = await reports.newest()
        if newest is not None and newest[1].ended is None:
            key, report = newest
            report.resumed += 1
        else:
            # By the store's own clock: reports are found by their names, whoever wrote them.
            began = datetime.fromtimestamp(await stamped_now(self._registry().store), UTC)
            report = Scrub(began, by, dry_run=False)
            key = reports.new(report.began)
        await reports.save(key, report)
        await reports.trim(key)

        async def save(report: Scrub) -> None:
            await reports.save(key, report)

        async for so_far in self._scrub(report, save, step):
            yield so_far

    async def _scrub(
        self, report: Scrub, save: Save, step: Callable[[], Awaitable[None]]
    ) -> AsyncGenerator[Scrub, None]:
        async def read(size_bytes: int) -> None:
            report.bytes_read += size_bytes
            await self._keep_pace(size_bytes, step)

        inner = self._registry().store
        # Past any cache, and nothing remembered.
        driver = ReadPacedDriver(inner.beneath, read)
        store = Store(driver, bounded_effects(inner.effects), manifest_cache_bytes=0, blocked=inner.blocked)
        async with (
            self._sources() as sources,
            aclosing(scrub(store, report, sources=sources, save=save, step=step, clock=self._clock)) as run,
        ):
            async for so_far in run:
                yield so_far

    async def _keep_pace(self, size_bytes: int, step: Callable[[], Awaitable[None]]) -> None:
        """Wait until so many bytes more were due."""
        await step()
        if not self._settings.bytes_per_second:
            return
        self._next = max(self._next, self._clock() - _BURST_SECONDS)
        self._next += size_bytes / self._settings.bytes_per_second
        while (left := self._next - self._clock()) > 0:
            await asyncio.sleep(min(left, _NAP_SECONDS))
            await step()

    async def _told(self, run: AsyncGenerator[Scrub, None]) -> None:
        """Go through with a run, and tell the log what it finds."""
        # What a process before has found in the same scrub, it has told.
        newest = await self.reports().newest()
        before = newest[1].damaged if newest is not None and newest[1].ended is None else []
        told = {one.key for one in before if one.outcome != "left"}
        repaired = {one.key for one in before if one.outcome == "fetched"}
        async with aclosing(run):
            async for report in run:
                for one in report.damaged:
                    if one.outcome != "left" and one.key not in told:
                        told.add(one.key)
                        event(_LOG, logging.ERROR, "scrub.damaged", digest=one.content, outcome=one.outcome)
                    if one.outcome == "fetched" and one.key not in repaired:
                        repaired.add(one.key)
                        event(_LOG, logging.INFO, "scrub.repaired", digest=one.content, source=one.source)
                if report.ended:
                    event(
                        _LOG,
                        logging.INFO,
                        "scrub.ended",
                        objects=report.objects,
                        bytes_read=report.bytes_read,
                        damaged=len(report.damaged) + report.damaged_left_out,
                        fetched=report.fetched,
                    )

    async def _is_due(self) -> bool:
        newest = await self.reports().newest()
        if newest is None or newest[1].ended is None:
            return True
        age = await stamped_now(self._registry().store) - newest[1].began.timestamp()
        return is_due(timedelta(seconds=age), self._settings.interval)


async def _no_save(_: Scrub) -> None:
    """A dry run leaves nothing behind."""
