"""What a plan comes to: what is told of each thing, and whether too much would go."""

from __future__ import annotations

from collections import Counter

from registry.model.digests import Digest
from registry.upkeep.retention.judging import Decision, TagFacts
from registry.upkeep.retention.planning import Plan
from registry.upkeep.retention.reports import Decided


class Shares:
    """How much there is below each prefix, the first segment of names, and how much of it goes.

    `reasons` says of which prefixes too much would go, and what to do about it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._there: Counter[tuple[str, str]] = Counter()
        self._gone: Counter[tuple[str, str]] = Counter()
        self._stopped: set[str] = set()
        self.reasons: list[str] = []

    def count(self, plan: Plan) -> None:
        """Count what a plan finds, and would remove."""
        for key, there, gone in _counts(plan):
            self._there[key] += there
            self._gone[key] += gone

    def weigh(self) -> None:
        """All is counted: see where too much would go. What is allowed after this counts anew."""
        for key in sorted(self._gone):
            self._see(key)
        self._gone.clear()

    def allow(self, plan: Plan) -> bool:
        """Whether what a plan removes may go, by what there was and by what has gone since."""
        prefix = _prefix(plan)
        for key, _, gone in _counts(plan) if prefix not in self._stopped else ():
            self._gone[key] += gone
            self._see(key)
        return prefix not in self._stopped

    def _see(self, key: tuple[str, str]) -> None:
        there, gone = self._there[key], self._gone[key]
        if gone * 100 <= self._most * there:
            return
        prefix, kind = key
        share = -(-gone * 100 // max(there, 1))
        self._stopped.add(prefix)
        self.reasons.append(
            f"{gone} of the {there} {kind} of {prefix} would go, {share} %, and at most {self._most} %"
            " may. If it is meant, run `moorage retention run --max-delete-percent"
            f" {min(100, share)}`, or raise retention.max_delete_percent"
        )


def _prefix(plan: Plan) -> str:
    return plan.name.partition("/")[0]


def _counts(plan: Plan) -> list[tuple[tuple[str, str], int, int]]:
    prefix = _prefix(plan)
    return [
        ((prefix, "tags"), plan.tags_all, plan.tags_gone),
        ((prefix, "manifests"), plan.manifests_all, len(plan.manifests)),
    ]


def decided_by(plan: Plan) -> list[Decided]:
    """What becomes of everything in a repository that a rule is about."""
    going = {facts.tag for tags in plan.attached.values() for facts in tags}
    found = [of_tag(plan, one) for one in plan.decisions if one.tag not in going]
    for digest in plan.manifests:
        found.append(of_manifest(plan, digest))
        found += [of_attached(plan, facts, digest) for facts in plan.attached.get(digest, [])]
    return [*found, of_repository(plan)] if plan.empty_rule else found


def of_tag(plan: Plan, one: Decision) -> Decided:
    """What becomes of a tag."""
    return Decided(plan.name, one.tag, str(one.digest), one.stays, one.rule, one.reason)


def of_manifest(plan: Plan, digest: Digest) -> Decided:
    """That a manifest goes which no tag leads to."""
    return Decided(plan.name, "", str(digest), False, plan.manifests_rule, plan.manifests_reason)


def of_attached(plan: Plan, facts: TagFacts, subject: Digest) -> Decided:
    """That a tag goes with what it belongs to."""
    reason = f"belongs to {subject}, which goes"
    return Decided(plan.name, facts.tag, str(facts.digest), False, plan.manifests_rule, reason)


def of_repository(plan: Plan) -> Decided:
    """That a repository goes off the lists."""
    return Decided(plan.name, "", "", False, plan.empty_rule, "there is nothing in it")
