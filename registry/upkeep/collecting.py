"""Who collects: one process at a time, by a lease, on its own schedule or when an operator asks."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from registry.core.registry import Registry
from registry.errors import Unsupported
from registry.logs import event
from registry.removal.collector import BY, Collector
from registry.removal.mark import Step
from registry.removal.purging import Purging
from registry.removal.tally import Taken
from registry.removal.trash import FLOOR
from registry.store.store import Store
from registry.upkeep.collection import Rules, collect, overdue
from registry.upkeep.expiry import stamped_now
from registry.upkeep.reports import Collection, Kept, Reports
from registry.upkeep.settings import UpkeepSettings
from registry.work.leased import LEASE_SECONDS, Leased
from registry.work.pace import let_others, paced
from registry.work.reports import is_due
from storage.errors import Forbidden, StorageError

READ_ONLY_SECONDS = 10  # every process has noticed by then
_LOG = logging.getLogger(__name__)


class Collecting:
    """Collections of one process; `who` is how other processes know it."""

    def __init__(
        self,
        registry: Callable[[], Registry],
        settings: UpkeepSettings,
        *,
        who: str,
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._clock = clock
        self.leased = Leased(
            registry, "gc", "collecting", "moorage gc status", who=who, seconds=lease_seconds, clock=clock
        )

    @property
    def rules(self) -> Rules:
        """What is taken and kept."""
        trash = self._settings.trash
        return Rules(self._settings.gc.grace_period, trash.keep_for, trash.max_size)

    def store(self) -> Store:
        """The store as collections see it."""
        return paced(self._registry().store, self._settings.gc.requests_per_second)

    def require_writable(self) -> None:
        """Raises ReadOnly while this process may not write to the store."""
        self._registry().require_writable()

    async def if_due(self) -> None:
        """Collect if nobody has for long enough, or go on where somebody has died."""
        if self._settings.gc.enabled:
            await self.leased.when_due(self._is_due, self._scheduled)

    async def run(self, by: str) -> AsyncIterator[Collection]:
        """Collect now. Raises TooManyRequests while another process does."""
        self._registry().require_writable()
        async with self.leased.held() as step, aclosing(self._held(step, by)) as run:
            async for report in run:
                yield report

    async def empty(self, *, everything: bool, dry_run: bool = False) -> Taken:
        """Empty the trash of what is older than a day; of `everything` only while the store is read-only.

        Raises Unsupported. A `dry_run` writes nothing, and goes by our own clock.
        """
        if not everything and not dry_run:
            self._registry().require_writable()
        store = self.store()
        if everything:
            await self._require_quiet(store)
        if dry_run:
            now = store.effects.now().timestamp()
        else:
            now = await stamped_now(store)
            await self._registry().door.finish_open(now)
        collector = Collector(store, now=now, grace=self.rules.grace, step=let_others, dry_run=dry_run)
        # Also what was taken in this very second.
        floor = timedelta(seconds=-1) if everything else FLOOR
        rules = Rules(self.rules.grace, floor, None)
        due = await overdue(store, rules, now=collector.now, step=let_others, floor=floor)
        return await collector.tidy_trash(due)

    async def _require_quiet(self, store: Store) -> None:
        """Raises Unsupported unless nobody writes, as every process has noticed by now."""
        since = await store.marks.read_only_since()
        if since is None:
            raise Unsupported(
                "what is younger than a day may be needed by a push that is under way; to empty the trash"
                " of it too, first run `moorage storage read-only on`"
            )
        if await stamped_now(store) - since.timestamp() < READ_ONLY_SECONDS:
            raise Unsupported(
                f"the store is read-only for less than {READ_ONLY_SECONDS} seconds, and not every process may"
                " have noticed; try again in a moment"
            )

    async def rehearse(self, by: str) -> AsyncIterator[Collection]:
        """Tell what a collection would do, by our own clock; writes nothing."""
        store = self.store()
        report = Collection(store.effects.now(), by, dry_run=True)
        now = report.began.timestamp()
        async for step in self._collect(store, report, now, _no_save, let_others):
            yield step

    async def _scheduled(self, step: Step) -> None:
        async with aclosing(self._held(step, "schedule")) as run:
            async for report in run:
                if report.ended:
                    event(_LOG, logging.INFO, "gc.ended", **_figures(report))

    async def _held(self, step: Step, by: str) -> AsyncGenerator[Collection, None]:
        store = self.store()
        reports = Reports(store)
        newest = await reports.newest()
        if newest is not None and newest[1].ended is None:
            key, report = newest
            report.resumed += 1
        else:
            # By the store's own clock: reports are found by their names, whoever wrote them.
            began = datetime.fromtimestamp(await stamped_now(store), UTC)
            report = Collection(began, by, dry_run=False)
            key = reports.new(began)
        await reports.save(key, report)
        await reports.trim(key)
        now = await stamped_now(store)
        await self._registry().door.finish_open(now)
        await store.blocked.look()

        async def save(report: Collection) -> None:
            await reports.save(key, report)

        if store.blocked.digests:
            # What came back before its pusher knew, or was left by a purge that died.
            try:
                await Purging(store, by=BY, step=step).remove(store.blocked.digests)
            except Forbidden as error:
                # It is withheld from everybody all the same, and the rest must not wait for it.
                told = f"this was purged, and cannot be removed: {error.message}"
                report.trouble(Kept("", error.key, told))
        try:
            async for so_far in self._collect(store, report, now, save, step):
                yield so_far
        except StorageError:
            # `gc status` tells how far it got, and the next process goes on from there.
            with suppress(StorageError):
                await save(report)
            raise

    def _collect(
        self,
        store: Store,
        report: Collection,
        now: float,
        save: Callable[[Collection], Awaitable[None]],
        step: Step,
    ) -> AsyncIterator[Collection]:
        return collect(store, report, self.rules, now=now, save=save, step=step, clock=self._clock)

    async def _is_due(self) -> bool:
        store = self._registry().store
        newest = await Reports(store).newest()
        if newest is None or newest[1].ended is None:
            return True
        # By the store's own clock, which all processes see alike.
        age = await stamped_now(store) - (await store.driver.stat(newest[0])).modified_at.timestamp()
        return is_due(timedelta(seconds=age), self._settings.gc.interval)


async def _no_save(_: Collection) -> None:
    """A rehearsal leaves nothing behind."""


def _figures(report: Collection) -> dict[str, Any]:
    return {
        "links_taken": report.links_taken,
        "blobs_taken": report.blobs_taken,
        "bytes_taken": report.bytes_taken,
        "bytes_destroyed": report.bytes_destroyed,
        "troubles": len(report.troubles) + report.troubles_left_out,
    }
