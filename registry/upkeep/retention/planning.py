"""What retention would do in one repository, by the rules and by what lies there now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from registry.errors import StorageDamaged
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag, subject_of
from registry.model.units import format_duration
from registry.removal.mark import Step
from registry.removal.relations import in_order, unneeded
from registry.store.store import Store
from registry.upkeep.retention.facts import Facts
from registry.upkeep.retention.in_use import InUse
from registry.upkeep.retention.judging import (
    Decision,
    Judgement,
    Pulls,
    TagFacts,
    end_of,
    title,
)
from registry.upkeep.settings import RetentionRule


@dataclass(slots=True)
class Plan:
    """What becomes of a repository: a decision for each tag that a rule is about, with the facts behind it.

    What is to go beside those tags: `manifests` that none leads to, in the order in which they are to go and
    with the time (s) at which each was given to it; and, with `empty_rule`, the repository.
    `attached` are the tags that belong to a manifest that goes. `problem` is why manifests are left alone.
    """

    name: RepositoryName
    decisions: list[Decision] = field(default_factory=list)
    tags_all: int = 0
    facts: dict[Tag, TagFacts] = field(default_factory=dict)
    manifests: dict[Digest, float] = field(default_factory=dict)
    manifests_all: int = 0
    manifests_rule: str = ""
    manifests_reason: str = ""
    attached: dict[Digest, list[TagFacts]] = field(default_factory=dict)
    empty_rule: str = ""
    problem: str = ""

    @property
    def going(self) -> list[Decision]:
        """The decisions for those tags that no rule keeps."""
        return [decision for decision in self.decisions if not decision.stays]

    @property
    def tags_gone(self) -> int:
        """How many tags go."""
        return len(self.going) + sum(len(tags) for tags in self.attached.values())


class Planning:
    """Plans for the repositories of one store; `now` is the time (s) by its own clock."""

    def __init__(
        self,
        store: Store,
        rules: Sequence[RetentionRule],
        in_use: InUse,
        pulls: Pulls,
        *,
        now: float,
        grace: timedelta,
        step: Step,
    ) -> None:
        self._store = store
        self._rules = [(title(rule, number), rule) for number, rule in enumerate(rules, 1)]
        self._in_use = in_use
        self.pulls = pulls
        self._now = now
        self._grace = grace
        self._facts = Facts(store, step=step)

    async def of(self, name: RepositoryName) -> Plan | None:
        """The plan for a repository; None when no rule is about it."""
        rules = [one for one in self._rules if one[1].selection.has_repository(name)]
        if not rules:
            return None
        plan = Plan(name)
        listed = await self._store.links.tags(name)
        plan.tags_all = len(listed)
        limits = [rule.selection for _, rule in rules if rule.limits_tags]
        patient = any(rule.untagged_for for _, rule in rules)
        tags = await self._facts.tags(
            name,
            (
                tag
                for tag in listed
                if any(selection.has(tag) for selection in limits) or (patient and subject_of(tag))
            ),
        )
        named: dict[Tag, Digest | None] = {one.tag: one.digest for one in tags}
        in_use = await self._used_in(name, named)
        judgement = Judgement(name, rules, self._now, self._grace, in_use, self.pulls)
        plan.decisions = await self._decide(judgement, tags)
        plan.facts = {one.tag: one for one in tags}
        untagged = [(called, rule) for called, rule in rules if rule.untagged_for is not None]
        if untagged:
            await self._plan_manifests(plan, untagged, judgement, listed, named)
        emptying = [called for called, rule in rules if rule.empty]
        if emptying and not await self._store.catalog.holds_content(name):
            plan.empty_rule = emptying[0]
        return plan

    def about(self, name: RepositoryName, tag: Tag) -> list[str]:
        """What the rules are called that limit which tags there are, and mean this one."""
        rules = [(called, rule.selection) for called, rule in self._rules if rule.limits_tags]
        return [called for called, chosen in rules if chosen.has_repository(name) and chosen.has(tag)]

    async def _decide(self, judgement: Judgement, tags: list[TagFacts]) -> list[Decision]:
        facts = {one.tag: one for one in tags}

        def matters(digest: Digest) -> bool:
            return digest in judgement.in_use or self.pulls.of(judgement.name, None, digest) is not None

        while True:
            decisions = await self._store.effects.aside(judgement.of, list(facts.values()))
            gone = [facts[decision.tag] for decision in decisions if not decision.stays]
            # What a manifest lists is read only where it may still save a tag; and then another may fall.
            unread = [one for one in gone if one.listed is None]
            if not unread:
                return decisions
            read = await self._facts.with_lists(judgement.name, unread, matters)
            facts.update((one.tag, replace(one, listed=one.listed or frozenset())) for one in read)

    @property
    def waits(self) -> str:
        """Why nothing goes that has no tag: it may have been pulled by digest; empty if that is known."""
        until = self.pulls.uncovered_until
        spans = [rule.untagged_for for _, rule in self._rules if rule.untagged_for is not None]
        if until is None or not spans or self._now - end_of(until) > max(*spans, self._grace).total_seconds():
            return ""
        return (
            f"until {until} not every server has told what was pulled, so nothing untagged goes until that is"
            " long enough ago"
        )

    async def _plan_manifests(
        self,
        plan: Plan,
        rules: Sequence[tuple[str, RetentionRule]],
        judgement: Judgement,
        listed: Sequence[Tag],
        named: dict[Tag, Digest | None],
    ) -> None:
        """Find what no tag leads to, and has not for as long as the most patient of the rules says.

        `listed` are all tags, and `named` is what is known of what they name.
        """
        called, rule = max(rules, key=lambda one: one[1].untagged_for or timedelta())
        span = max(rule.untagged_for or timedelta(), self._grace)
        since = self._now - span.total_seconds()
        name = plan.name
        until = self.pulls.uncovered_until
        if until is not None and end_of(until) >= since:
            return
        try:
            manifests, used = await self._facts.manifests(name, judgement.in_use)
        except StorageDamaged as error:
            # What that one lists may be any of the others.
            plan.problem = str(error)
            return
        await self._read_rest(name, listed, named)
        if unread := [tag for tag in listed if named[tag] is None]:
            plan.problem = f"what the tag {unread[0]} names cannot be read"
            return
        attached: dict[Digest, list[TagFacts]] = {}
        roots = {digest for digest in named.values() if digest is not None} | used
        for one in plan.facts.values():
            if (subject := subject_of(one.tag)) is not None:
                attached.setdefault(subject, []).append(one)
                if judgement.held(one) or judgement.is_always_kept(one.tag):
                    roots.add(subject)
        roots |= {digest for digest, one in manifests.items() if one.written >= since}
        for digest in manifests:
            pulled = self.pulls.of(name, None, digest)
            if pulled is not None and end_of(pulled) >= since:
                roots.add(digest)
        gone = unneeded(manifests, roots)
        if gone:
            gone = unneeded(manifests, roots | await self._facts.lately_tagged(name, gone, since))
        plan.manifests = {digest: manifests[digest].written for digest in in_order(gone, manifests)}
        plan.manifests_all, plan.manifests_rule = len(manifests), called
        plan.manifests_reason = f"no tag has led to it for {format_duration(span.total_seconds())}"
        plan.attached = {subject: tags for subject, tags in attached.items() if subject in gone}

    async def _used_in(self, name: RepositoryName, named: dict[Tag, Digest | None]) -> Mapping[Digest, str]:
        tags: Mapping[Tag, str] = self._in_use.tags.get(name, {})
        if not tags:
            return self._in_use.digests
        await self._read_rest(name, tags, named)
        found = {digest: file for tag, file in tags.items() if (digest := named[tag]) is not None}
        return {**self._in_use.digests, **found}

    async def _read_rest(
        self, name: RepositoryName, tags: Iterable[Tag], named: dict[Tag, Digest | None]
    ) -> None:
        """Read what those of the tags name of which that is not yet known."""
        named |= await self._facts.targets(name, [tag for tag in tags if tag not in named])
