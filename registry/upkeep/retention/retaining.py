"""Who runs retention: one process at a time, on its own schedule or when an operator asks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

from registry.core.last_pulls import Coverage, LastPulls, last_pulls
from registry.core.pull_records import PullRecords
from registry.core.registry import Registry
from registry.errors import ReadOnly, RegistryError, Unsupported
from registry.logs import event
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.patterns import RepositoryPattern
from registry.model.staged import is_staged
from registry.removal.mark import Step, handfuls
from registry.removal.releasing import Releasing
from registry.store.store import Store
from registry.upkeep.expiry import stamped_now
from registry.upkeep.reports import Kept
from registry.upkeep.retention.deciding import (
    Shares,
    decided_by,
    of_attached,
    of_manifest,
    of_repository,
    of_tag,
)
from registry.upkeep.retention.in_use import InUse, read_in_use
from registry.upkeep.retention.judging import Pulls
from registry.upkeep.retention.planning import Plan, Planning
from registry.upkeep.retention.reports import BY, Decided, Retention, Retentions, TagExplained
from registry.upkeep.retention.taken import what_became_of
from registry.upkeep.settings import UpkeepSettings
from registry.work.leased import LEASE_SECONDS, Leased
from registry.work.pace import let_others, paced
from registry.work.reports import is_due
from storage.errors import StorageError

EVERYWHERE = RepositoryPattern("**")
_AT_ONCE = 2000  # manifests of one removal
_LOOKED_AT = 5  # reports
_AGAIN = timedelta(hours=1)
_LOG = logging.getLogger(__name__)


class Retaining:
    """Runs of retention in one process; `who` is how other processes know it."""

    def __init__(
        self,
        registry: Callable[[], Registry],
        settings: UpkeepSettings,
        *,
        who: str,
        pulls: Callable[[float], Awaitable[Pulls]] | None = None,
        held: Callable[[], Awaitable[Mapping[Digest, str]]] | None = None,
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._rules = settings.retention
        self._pulls = pulls or self._recorded
        self._held_manifests = held
        self.leased = Leased(
            registry,
            "retention",
            "running retention",
            "moorage retention status",
            who=who,
            seconds=lease_seconds,
            clock=clock,
        )

    def reports(self) -> Retentions:
        """What runs have left in the store."""
        return Retentions(self._registry().store)

    def require_rules(self) -> None:
        """Raises Unsupported without rules."""
        if not self._rules.rules:
            raise Unsupported("there are no retention.rules in the configuration: nothing goes by itself")

    def require_enforced(self) -> None:
        """Raises ReadOnly, and Unsupported where the rules are not to take anything."""
        self._registry().require_writable()
        self.require_rules()
        if not self._rules.enforce:
            raise Unsupported(
                "retention.enforce is false, so nothing is removed; see what would be with --dry-run, then"
                " set it"
            )

    async def in_use(self) -> InUse:
        """What runs by the lists that are configured, and what is held. Raises Unsupported."""
        found = await asyncio.to_thread(read_in_use, self._rules.in_use)
        if self._held_manifests is not None:
            found.digests.update(await self._held_manifests())
        return found

    async def if_due(self) -> None:
        """Run if nobody has for long enough; if the rules are not enforced, only tell what they would do."""
        if self._rules.rules:
            await self.leased.when_due(self._is_due, self._scheduled)

    async def run(
        self, by: str, repositories: RepositoryPattern, percent: int | None
    ) -> AsyncIterator[Retention]:
        """Remove what no rule keeps. Raises TooManyRequests while another process does, Unsupported."""
        self.require_enforced()
        most = self._rules.max_delete_percent if percent is None else percent
        async with self.leased.held() as step, aclosing(self._held(step, by, repositories, most)) as run:
            async for report in run:
                yield report

    async def rehearse(
        self, by: str, repositories: RepositoryPattern, percent: int | None
    ) -> AsyncIterator[Retention]:
        """Tell what a run would do, by our own clock; writes nothing. Raises Unsupported."""
        self.require_rules()
        most = self._rules.max_delete_percent if percent is None else percent
        store = self._store()
        report = Retention(store.effects.now(), by, dry_run=True, repositories_asked=str(repositories))
        planning = await self._planning(store, report.began.timestamp(), let_others)
        async for so_far in self._weigh(report, planning, repositories, Shares(most)):
            yield so_far
        report.ended = store.effects.now()
        yield report

    async def why_none(self, repositories: RepositoryPattern) -> str:
        """Why a run has looked at no repository."""
        async for _ in self._names(repositories):
            return f"no rule of retention.rules is about a repository that {repositories} matches"
        return f"no repository matches {repositories}"

    async def explain(self, name: RepositoryName, tag: Tag) -> TagExplained:
        """What a run would do with a tag, and why. Raises ManifestUnknown, Unsupported."""
        store = self._store()
        digest = await store.links.tag(name, tag)
        planning = await self._planning(store, store.effects.now().timestamp(), let_others)
        plan = await planning.of(name) or Plan(name)
        nothing = Decided(name, tag, str(digest), True, "", "no rule is about it")
        decided = next((one for one in decided_by(plan) if one.tag == tag), nothing)
        facts = plan.facts.get(tag)
        pulled = planning.pulls.of(name, tag, digest)
        return TagExplained(
            name,
            tag,
            str(digest),
            decided.stays,
            decided.rule,
            decided.reason,
            planning.about(name, tag),
            None if facts is None else datetime.fromtimestamp(facts.pushed, UTC),
            None if pulled is None else pulled.isoformat(),
            self._rules.enforce,
        )

    async def became_of(self, name: RepositoryName, tag: Tag) -> str:
        """What became of a tag that is not there; empty where that is not known."""
        return await what_became_of(self._store(), name, tag)

    async def _scheduled(self, step: Step) -> None:
        most = self._rules.max_delete_percent
        async with aclosing(self._held(step, "schedule", EVERYWHERE, most)) as run:
            async for report in run:
                if report.ended:
                    _tell(report)

    async def _held(
        self, step: Step, by: str, repositories: RepositoryPattern, most: int
    ) -> AsyncGenerator[Retention, None]:
        store = self._store()
        now = await stamped_now(store)
        reports = self.reports()
        report = Retention(
            datetime.fromtimestamp(now, UTC),
            by,
            dry_run=not self._rules.enforce,
            repositories_asked=str(repositories),
        )
        key = reports.new(report.began)
        await reports.keep(key, report)
        await reports.trim(key)
        shares = Shares(most)
        try:
            planning = await self._planning(store, now, step)
            async for so_far in self._weigh(report, planning, repositories, shares):
                yield so_far
            if self._rules.enforce:
                # What runs, and what was pulled, may be another by now.
                planning = await self._planning(store, await stamped_now(store), step)
                async for so_far in self._remove(report, planning, store, repositories, shares, step):
                    yield so_far
        except Unsupported as error:
            report.stopped.append(error.message)
            report.failed = True
        report.ended = datetime.fromtimestamp(await stamped_now(store), UTC)
        await reports.keep(key, report)
        yield report

    async def _weigh(
        self,
        report: Retention,
        planning: Planning,
        repositories: RepositoryPattern,
        shares: Shares,
    ) -> AsyncIterator[Retention]:
        """Look at everything, and see below which prefixes more would go than may."""
        report.waits = planning.waits
        async for plan in self._plans(report, planning, repositories):
            shares.count(plan)
            report.after = plan.name
            report.repositories += 1
            report.tags += plan.tags_all
            report.tags_gone += plan.tags_gone
            report.manifests += plan.manifests_all
            report.manifests_gone += len(plan.manifests)
            report.repositories_gone += bool(plan.empty_rule)
            if plan.problem:
                report.trouble(Kept(plan.name, "", plan.problem))
            for decided in decided_by(plan):
                report.decide(decided)
            yield report
        shares.weigh()
        report.stopped = list(shares.reasons)

    async def _remove(
        self,
        report: Retention,
        planning: Planning,
        store: Store,
        repositories: RepositoryPattern,
        shares: Shares,
        step: Step,
    ) -> AsyncIterator[Retention]:
        """Do it, by what there is now, and not by what there was at the first look."""
        releasing = Releasing(store, self._registry().intents, BY)
        report.begin_removing()
        async for plan in self._plans(report, planning, repositories):
            report.after = plan.name
            if not shares.allow(plan):
                report.stopped = list(shares.reasons)
                continue
            try:
                await self._remove_from(report, plan, releasing, step)
            except ReadOnly:
                raise
            except (RegistryError, StorageError) as error:
                # One repository that cannot be cleaned must not keep the others waiting.
                report.trouble(Kept(plan.name, "", str(error)))
            yield report

    async def _remove_from(self, report: Retention, plan: Plan, releasing: Releasing, step: Step) -> None:
        for decision in plan.going:
            await step()
            history, told = plan.facts[decision.tag].history, of_tag(plan, decision)
            why = told.for_the_record
            if await releasing.release_tag(plan.name, decision.tag, decision.digest, history, why):
                report.tags_gone += 1
                report.decide(told)
        for some in handfuls(plan.manifests.items(), _AT_ONCE):
            await step()
            why = of_manifest(plan, some[0][0]).for_the_record
            gone = await releasing.release_manifests(plan.name, dict(some), why=why)
            for digest in sorted(gone):
                report.manifests_gone += 1
                report.decide(of_manifest(plan, digest))
                for facts in plan.attached.get(digest, []):
                    history, told = facts.history, of_attached(plan, facts, digest)
                    if await releasing.release_tag(plan.name, facts.tag, facts.digest, history, why):
                        report.tags_gone += 1
                        report.decide(told)
        if plan.empty_rule and await releasing.release_repository(plan.name):
            report.repositories_gone += 1
            report.decide(of_repository(plan))

    async def _plans(
        self, report: Retention, planning: Planning, repositories: RepositoryPattern
    ) -> AsyncIterator[Plan]:
        async for name in self._names(repositories):
            try:
                plan = await planning.of(name)
            except ReadOnly:
                raise
            except (RegistryError, StorageError) as error:
                report.trouble(Kept(name, "", str(error)))
                continue
            if plan is not None:
                yield plan

    async def _names(self, repositories: RepositoryPattern) -> AsyncIterator[RepositoryName]:
        catalog = self._registry().store.catalog
        async for name in catalog.names() if await catalog.is_complete() else catalog.tree():
            # What waits to be approved goes when that is decided.
            if repositories.matches(name) and not is_staged(name):
                yield name

    async def _planning(self, store: Store, now: float, step: Step) -> Planning:
        return Planning(
            store,
            self._rules.rules,
            await self.in_use(),
            await self._pulls(now),
            now=now,
            grace=self._settings.gc.grace_period,
            step=step,
        )

    async def _recorded(self, now: float) -> Pulls:
        """What was pulled, as far as servers have recorded it by `now` (s)."""
        if not any(rule.goes_by_pulls for rule in self._rules.rules):
            return LastPulls(Coverage((), None))
        at = datetime.fromtimestamp(now, UTC)
        since = (at - self._settings.usage.keep_pulls_for).date()
        return await last_pulls(PullRecords(self._registry().store.driver), since, at)

    def _store(self) -> Store:
        """The store at the pace of collections."""
        return paced(self._registry().store, self._settings.gc.requests_per_second)

    async def _is_due(self) -> bool:
        """Whether the last run over everything that came to an end is old enough."""
        store = self._registry().store
        now = await stamped_now(store)
        for report in await self.reports().last(_LOOKED_AT):
            if report.ended is None or report.repositories_asked != str(EVERYWHERE):
                continue
            # One that could not do its work is soon tried again.
            wait = min(self._rules.interval, _AGAIN) if report.failed else self._rules.interval
            return is_due(timedelta(seconds=now - report.ended.timestamp()), wait)
        return True


def _tell(report: Retention) -> None:
    for reason in report.stopped:
        event(_LOG, logging.ERROR, "retention.stopped", reason=reason)
    event(
        _LOG,
        logging.INFO,
        "retention.ended",
        dry_run=report.dry_run,
        tags_gone=report.tags_gone,
        manifests_gone=report.manifests_gone,
        troubles=len(report.troubles) + report.troubles_left_out,
    )
