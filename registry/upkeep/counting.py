"""Who counts what repositories hold: one process at a time, by a lease, on its own schedule or when asked."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

from registry.core.quotas import Quotas
from registry.core.registry import Registry
from registry.logs import event
from registry.removal.mark import Step
from registry.store.quotas import QuotaIndex
from registry.store.store import Store
from registry.upkeep.expiry import stamped_now
from registry.upkeep.recounting import Recount
from registry.upkeep.settings import UsageSettings
from registry.upkeep.usage import Ledger, count, largest
from registry.upkeep.usage_reports import MOST_ROWS, Count, UsageReports
from registry.work.leased import LEASE_SECONDS, Leased
from registry.work.pace import paced
from registry.work.reports import is_due

SCHEDULE = "schedule"
_EPOCHS = 100
MOST_ADDED = 10_000  # each look at a quota reads their names
_LOG = logging.getLogger(__name__)


class Counting:
    """Counts of one process; `who` is how other processes know it.

    One that does not come to its end leaves nothing, and the next begins anew.
    """

    def __init__(
        self,
        registry: Callable[[], Registry],
        settings: UsageSettings,
        *,
        who: str,
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._settings = settings
        self.leased = Leased(
            registry, "usage", "counting", "moorage usage show", who=who, seconds=lease_seconds, clock=clock
        )

    def reports(self) -> UsageReports:
        """What counts have left in the store."""
        return UsageReports(self._registry().store)

    def quotas(self) -> Quotas:
        """The quotas of the registry."""
        return self._registry().quotas

    async def if_due(self) -> None:
        """Count if nobody has for long enough."""
        if self._settings.enabled:
            await self.leased.when_due(self._is_due, self._scheduled)

    async def run(self, by: str) -> AsyncIterator[Count]:
        """Count now. Raises TooManyRequests while another process does."""
        self._registry().require_writable()
        async with self.leased.held() as step, aclosing(self._count(by, step)) as run:
            async for report in run:
                yield report

    async def _scheduled(self, step: Step) -> None:
        async with aclosing(self._count(SCHEDULE, step)) as run:
            async for report in run:
                if report.ended:
                    event(
                        _LOG,
                        logging.INFO,
                        "usage.counted",
                        repositories=report.repositories,
                        blobs=report.blobs,
                        bytes=report.size_bytes,
                    )

    async def _count(self, by: str, step: Step) -> AsyncGenerator[Count, None]:
        store = paced(self._registry().store, self._settings.requests_per_second)
        reports = UsageReports(store)
        # By the store's own clock: reports are found by their names, whoever wrote them.
        began = await stamped_now(store)
        report = Count(datetime.fromtimestamp(began, UTC), by)
        if by == SCHEDULE:
            await self._forget(store)
        recount = Recount(store, self._registry().quotas.limits)
        await recount.begin(began)
        ledger = Ledger(recount.prefixes)
        async for _ in count(store, ledger, report, step):
            yield report
        await step()
        report.quotas = await recount.end(ledger)
        report.epochs = await self._epochs(reports)
        rows = await store.effects.aside(lambda: list(ledger.rows()))
        report.rows = len(rows)
        rows = await store.effects.aside(largest, rows, MOST_ROWS)
        key = reports.new(report.began)
        await step()
        await reports.put_rows(key, rows)
        report.ended = datetime.fromtimestamp(await stamped_now(store), UTC)
        await reports.save(key, report)
        await reports.trim(key)
        yield report

    async def _forget(self, store: Store) -> None:
        """Let go of quotas that are none any more: nobody adds to them, and they may come back."""
        quotas = QuotaIndex(store.driver)
        for prefix in await quotas.prefixes():
            if prefix not in self._registry().quotas.limits:
                await quotas.forget(prefix)

    async def _epochs(self, reports: UsageReports) -> list[str]:
        """In which epochs of the machines that count there was a count, this one's last."""
        newest = await reports.newest()
        before = [] if newest is None else newest[1].epochs
        epoch = self._registry().store.driver.epoch
        return [*(one for one in before if one != epoch), *([] if epoch is None else [epoch])][-_EPOCHS:]

    async def _is_due(self) -> bool:
        reports = self.reports()
        began = await reports.began()
        if began is None:
            return True
        store = self._registry().store
        if is_due(timedelta(seconds=await stamped_now(store) - began), self._settings.interval):
            return True
        quotas = self._registry().quotas
        newest = await reports.newest() if quotas.limits else None
        if newest is not None and store.driver.epoch not in (None, *newest[1].epochs):
            # What pushes had added just before a power cut may be lost.
            return True
        for prefix in quotas.limits:
            # A quota holds from when it was counted; one to which very much was added is slow to look at.
            if (await quotas.index.counts(prefix)).last is None or len(
                await quotas.index.added(prefix)
            ) > MOST_ADDED:
                return True
        return False
