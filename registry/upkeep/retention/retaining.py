"""Who runs retention: one process at a time, on its own schedule or when an operator asks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime

from registry.core.last_pulls import Coverage, LastPulls, last_pulls
from registry.core.pull_records import PullRecords
from registry.core.registry import Registry
from registry.errors import RegistryError, TooManyRequests, Unsupported
from registry.logs import event
from registry.model.names import RepositoryName, Tag
from registry.model.patterns import RepositoryPattern
from registry.removal.mark import Step
from registry.removal.releasing import Releasing
from registry.store.store import Store
from registry.upkeep.expiry import stamped_now
from registry.upkeep.leased import LEASE_SECONDS, Leased
from registry.upkeep.reports import Kept
from registry.upkeep.retention.in_use import InUse, read_in_use
from registry.upkeep.retention.judging import Decision, Pulls
from registry.upkeep.retention.planning import Plan, Planning
from registry.upkeep.retention.reports import Decided, Retention, Retentions, TagExplained
from registry.upkeep.settings import UpkeepSettings
from registry.work.effects import bounded_effects
from storage.paced import PacedDriver

BY = "retention"
EVERYWHERE = RepositoryPattern("**")
_AT_ONCE = 200  # manifests of one removal
_LOG = logging.getLogger(__name__)


class Retaining:
    """Runs of retention in one process; `who` is how other processes know it."""

    def __init__(
        self,
        registry: Callable[[], Registry],
        settings: UpkeepSettings,
        *,
        who: str,
        pulls: Callable[[], Awaitable[Pulls]] | None = None,
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._rules = settings.retention
        self._pulls = pulls or self._recorded
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

    async def if_due(self) -> None:
        """Run if nobody has for long enough; if the rules are not enforced, only tell what they would do."""
        if not self._rules.rules or not self._registry().may_write() or not await self._is_due():
            return
        try:
            async with aclosing(self._held("schedule", EVERYWHERE, self._rules.max_delete_percent)) as run:
                async for report in run:
                    if report.ended:
                        _tell(report)
        except TooManyRequests:
            return
        except Unsupported as error:
            event(_LOG, logging.ERROR, "retention.stopped", reason=error.message)

    async def run(
        self, by: str, repositories: RepositoryPattern, percent: int | None
    ) -> AsyncIterator[Retention]:
        """Remove what no rule keeps. Raises TooManyRequests while another process does, Unsupported."""
        self._registry().require_writable()
        self.require_rules()
        if not self._rules.enforce:
            raise Unsupported(
                "retention.enforce is false, so nothing is removed; see what would be with --dry-run, then"
                " set it"
            )
        most = self._rules.max_delete_percent if percent is None else percent
        async with aclosing(self._held(by, repositories, most)) as run:
            async for report in run:
                yield report

    async def rehearse(
        self, by: str, repositories: RepositoryPattern, percent: int | None
    ) -> AsyncIterator[Retention]:
        """Tell what a run would do, by our own clock; writes nothing. Raises Unsupported."""
        self.require_rules()
        most = self._rules.max_delete_percent if percent is None else percent
        store = self._store()
        report = Retention(store.effects.now(), by, dry_run=True)
        planning = await self._planning(store, report.began.timestamp(), _let_others)
        async for so_far in self._weigh(report, planning, repositories, most):
            yield so_far
        report.ended = store.effects.now()
        yield report

    async def explain(self, name: RepositoryName, tag: Tag) -> TagExplained:
        """What a run would do with a tag, and why. Raises ManifestUnknown, Unsupported."""
        store = self._store()
        digest = await store.links.tag(name, tag)
        planning = await self._planning(store, store.effects.now().timestamp(), _let_others)
        plan = await planning.of(name) or Plan(name)
        nothing = Decided(name, tag, str(digest), True, "", "no rule is about it")
        decided = next((one for one in _decided(plan) if one.tag == tag), nothing)
        facts = plan.facts.get(tag)
        pulled = (await self._pulls()).of(name, tag, digest)
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

    async def _held(
        self, by: str, repositories: RepositoryPattern, most: int
    ) -> AsyncGenerator[Retention, None]:
        async with self.leased.held() as step:
            store = self._store()
            now = await stamped_now(store)
            reports = self.reports()
            report = Retention(datetime.fromtimestamp(now, UTC), by, dry_run=not self._rules.enforce)
            planning = await self._planning(store, now, step)
            key = reports.new(report.began)
            await reports.save(key, report)
            await reports.trim()
            async for so_far in self._weigh(report, planning, repositories, most):
                yield so_far
            if self._rules.enforce and not report.stopped:
                report.decisions, report.decisions_left_out = [], 0
                async for so_far in self._remove(report, planning, store, repositories):
                    yield so_far
            report.ended = store.effects.now()
            await reports.save(key, report)
            yield report

    async def _weigh(
        self, report: Retention, planning: Planning, repositories: RepositoryPattern, most: int
    ) -> AsyncIterator[Retention]:
        """Look at everything, and see whether more would go of a prefix than may."""
        there: Counter[tuple[str, str]] = Counter()
        gone: Counter[tuple[str, str]] = Counter()
        async for plan in self._plans(planning, repositories):
            prefix = plan.name.partition("/")[0]
            there[prefix, "tags"] += plan.tags_all
            there[prefix, "manifests"] += plan.manifests_all
            gone[prefix, "tags"] += plan.tags_gone
            gone[prefix, "manifests"] += len(plan.manifests)
            report.after = plan.name
            report.repositories += 1
            report.tags += plan.tags_all
            report.tags_gone += plan.tags_gone
            report.manifests += plan.manifests_all
            report.manifests_gone += len(plan.manifests)
            report.repositories_gone += bool(plan.empty_rule)
            if plan.problem:
                report.trouble(Kept(plan.name, "", plan.problem))
            for decided in _decided(plan):
                report.decide(decided)
            yield report
        for (prefix, kind), count in sorted(gone.items()):
            if count * 100 > most * there[prefix, kind]:
                share = count * 100 / there[prefix, kind]
                report.stopped.append(
                    f"{count} of the {there[prefix, kind]} {kind} of {prefix} would go, {share:.0f} %, and at"
                    f" most {most} % may; if that is meant, run `moorage retention run --max-delete-percent"
                    f" {min(100, int(share) + 1)}`, or raise retention.max_delete_percent"
                )

    async def _remove(
        self, report: Retention, planning: Planning, store: Store, repositories: RepositoryPattern
    ) -> AsyncIterator[Retention]:
        """Do it, by what there is now, and not by what there was at the first look."""
        releasing = Releasing(store, self._registry().intents, BY)
        report.tags_gone = report.manifests_gone = report.repositories_gone = 0
        async for plan in self._plans(planning, repositories):
            report.after = plan.name
            try:
                await self._remove_from(report, plan, releasing)
            except RegistryError as error:
                # One repository that cannot be cleaned must not keep the others waiting.
                report.trouble(Kept(plan.name, "", error.message))
            yield report

    async def _remove_from(self, report: Retention, plan: Plan, releasing: Releasing) -> None:
        for decision in plan.going:
            entries = plan.facts[decision.tag].entries
            if await releasing.release_tag(plan.name, decision.tag, decision.digest, entries):
                report.tags_gone += 1
                report.decide(_of_tag(plan, decision))
        going = sorted(plan.manifests)
        for start in range(0, len(going), _AT_ONCE):
            gone = await releasing.release_manifests(plan.name, going[start : start + _AT_ONCE])
            for digest in sorted(gone):
                report.manifests_gone += 1
                report.decide(_of_manifest(plan, str(digest)))
                for facts in plan.attached.get(digest, []):
                    if await releasing.release_tag(plan.name, facts.tag, facts.digest, facts.entries):
                        report.tags_gone += 1
                        report.decide(_of_attached(plan, facts.tag, str(facts.digest), str(digest)))
        if plan.empty_rule and await releasing.release_repository(plan.name):
            report.repositories_gone += 1
            report.decide(_of_repository(plan))

    async def _plans(self, planning: Planning, repositories: RepositoryPattern) -> AsyncIterator[Plan]:
        catalog = self._registry().store.catalog
        names = catalog.names() if await catalog.is_complete() else catalog.tree()
        async for name in names:
            if repositories.matches(name) and (plan := await planning.of(name)) is not None:
                yield plan

    async def _planning(self, store: Store, now: float, step: Step) -> Planning:
        in_use: InUse = await asyncio.to_thread(read_in_use, self._rules.in_use)
        return Planning(
            store,
            self._rules.rules,
            in_use,
            await self._pulls(),
            now=now,
            grace=self._settings.gc.grace_period,
            step=step,
        )

    async def _recorded(self) -> Pulls:
        """What was pulled, as far as servers have recorded it."""
        store = self._registry().store
        now = store.effects.now()
        since = (now - self._settings.usage.keep_pulls_for).date()
        if not any(rule.goes_by_pulls for rule in self._rules.rules):
            return LastPulls(Coverage((), None))
        return await last_pulls(PullRecords(store.driver), since, now)

    def _store(self) -> Store:
        """The store at the pace of collections, nothing remembered."""
        store = self._registry().store
        paced = PacedDriver(store.driver, self._settings.gc.requests_per_second)
        effects = bounded_effects(store.effects)
        return Store(paced, effects, manifest_cache_bytes=0, beneath=paced, blocked=store.blocked)

    async def _is_due(self) -> bool:
        store = self._registry().store
        newest = await Retentions(store).newest()
        if newest is None:
            return True
        age = await stamped_now(store) - (await store.driver.stat(newest[0])).modified_at.timestamp()
        return age >= self._rules.interval.total_seconds()


def _decided(plan: Plan) -> list[Decided]:
    going = {facts.tag for tags in plan.attached.values() for facts in tags}
    found = [_of_tag(plan, one) for one in plan.decisions if one.tag not in going]
    for digest in sorted(plan.manifests):
        found.append(_of_manifest(plan, str(digest)))
        attached = plan.attached.get(digest, [])
        found += [_of_attached(plan, facts.tag, str(facts.digest), str(digest)) for facts in attached]
    return [*found, _of_repository(plan)] if plan.empty_rule else found


def _of_tag(plan: Plan, one: Decision) -> Decided:
    return Decided(plan.name, one.tag, str(one.digest), one.stays, one.rule, one.reason)


def _of_manifest(plan: Plan, digest: str) -> Decided:
    return Decided(plan.name, "", digest, False, plan.manifests_rule, plan.manifests_reason)


def _of_attached(plan: Plan, tag: str, digest: str, subject: str) -> Decided:
    reason = f"belongs to {subject}, which goes"
    return Decided(plan.name, tag, digest, False, plan.manifests_rule, reason)


def _of_repository(plan: Plan) -> Decided:
    return Decided(plan.name, "", "", False, plan.empty_rule, "there is nothing in it")


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


async def _let_others() -> None:
    await asyncio.sleep(0)
