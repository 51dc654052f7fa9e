"""Adds up what processes have recorded of pulls, finds those that died, and lets go of what is old."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from registry.core.last_pulls import SILENCE, missed
from registry.core.pull_records import PullRecords
from registry.core.registry import Registry
from registry.removal.mark import Step
from registry.store.store import Store
from registry.upkeep.expiry import stamped_now
from registry.work.leased import LEASE_SECONDS, Leased
from registry.work.pace import let_others
from registry.work.reports import ReportsOf, is_due

LOOK_SECONDS = 3600.0
_DAY = timedelta(days=1)
_RECENT = 2 * _DAY  # days that ended before are looked at once a day, for what was recorded late
# By then a record that was begun is there, so that of two folds at once one has all that the other has.
_SETTLED = timedelta(minutes=10)


@dataclass(slots=True)
class Folded:
    """What one pass has done: `joined` records, `died` processes, days that are not kept any more."""

    began: datetime
    by: str
    ended: datetime | None = None
    joined: int = 0
    died: int = 0
    expired: int = 0


class Folding:
    """The passes of one process, by a lease; `who` is how other processes know it.

    Two at once do no harm, nor does one that dies anywhere.
    """

    def __init__(
        self,
        registry: Callable[[], Registry],
        keep_for: timedelta,
        *,
        who: str,
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._keep_for = keep_for
        self._who = who
        self._leased = Leased(
            registry, "pulls", "adding up pulls", who=who, seconds=lease_seconds, clock=clock
        )

    async def if_due(self) -> None:
        """Make a pass if nobody has for an hour."""
        await self._leased.when_due(self._is_due, self.run)

    async def run(self, step: Step = let_others) -> Folded:
        """One pass: over the last days, and the first one of a day over all, with a `step` between them."""
        self._registry().require_writable()
        store = self._registry().store
        records = PullRecords(store.driver)
        now = datetime.fromtimestamp(await stamped_now(store), UTC)
        newest = await self._reports(store).newest()
        report = Folded(now, self._who)
        is_first = newest is None or newest[1].began.date() != now.date()
        oldest = now.date() - self._keep_for
        if is_first:
            await self._bury(records, report, oldest, now)
        days = await records.days()
        for day in days:
            if day >= oldest and (is_first or day >= now.date() - _RECENT):
                await step()
                await self._fold(records, day, report, now)
        if is_first:
            await self._expire(records, [day for day in days if day < oldest], report, step)
        report.ended = datetime.fromtimestamp(await stamped_now(store), UTC)
        reports = self._reports(store)
        key = reports.new(now)
        await reports.save(key, report)
        await reports.trim(key)
        return report

    async def _bury(self, records: PullRecords, report: Folded, oldest: date, now: datetime) -> None:
        """Mark the days of those who died, from where what they recorded ends; then their records go.

        And one day more than they were heard of: one that cannot write may yet answer.
        """
        for process in await records.processes():
            if now - process.renewed_at > SILENCE:
                why = f"{process.who} has died, or could not record what it counted"
                days = [*missed(process, oldest, now), process.renewed_at.date() + _DAY]
                for day in sorted({*days}):
                    await records.mark_uncovered(day, why)
                await records.forget_process(process.id)
                report.died += 1

    async def _fold(self, records: PullRecords, day: date, report: Folded, now: datetime) -> None:
        found = await records.read(day, before=now - _SETTLED)
        if found.damaged:
            await records.mark_uncovered(day, "what was recorded of it is damaged")
        if found.joined or found.damaged or found.folds > 1:
            await records.fold(day, found, self._registry().store.effects.unique())
            report.joined += found.joined
        elif len(found.names) > found.folds:
            found.names = found.names[found.folds :]
            await records.tidy(day, found)

    async def _expire(self, records: PullRecords, days: list[date], report: Folded, step: Step) -> None:
        """Let go of what is older than it is kept for; that it was let go of is known before."""
        for day in days[-1:]:
            await records.mark_uncovered(day, "what was recorded until then is not kept any more")
        for day in days:
            await step()
            await records.forget(day)
            report.expired += 1
        if days:
            await records.forget_marks([day for day in await records.uncovered() if day < days[-1]])

    async def _is_due(self) -> bool:
        """Whether the last pass ended an hour ago, by the store's own clock."""
        store = self._registry().store
        newest = await self._reports(store).newest()
        if newest is None:
            return True
        age = await stamped_now(store) - (await store.driver.stat(newest[0])).modified_at.timestamp()
        return is_due(timedelta(seconds=age), timedelta(seconds=LOOK_SECONDS))

    def _reports(self, store: Store) -> ReportsOf[Folded]:
        return ReportsOf(store, "pulls", Folded)
