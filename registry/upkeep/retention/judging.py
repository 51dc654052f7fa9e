"""Which tags of a repository stay, and why; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag, subject_of
from registry.model.selection import matches_any
from registry.model.units import format_duration
from registry.model.versions import Version
from registry.upkeep.settings import RetentionRule

_DAY = timedelta(days=1)


class Pulls(Protocol):
    """What is known of pulls; on the day `uncovered_until`, and before it, anything may have been pulled."""

    @property
    def uncovered_until(self) -> date | None:
        """The last day of which not every process has told."""

    def of(self, name: RepositoryName, tag: Tag | None, digest: Digest | None) -> date | None:
        """The day of the last pull by the tag or the digest; None when none is known."""


@dataclass(frozen=True, slots=True)
class TagFacts:
    """What is known of a tag: `pushed` (s) orders pushes, `written` (s) is the last by the store's own clock.

    The first is older where the store was copied from another. `history` is what its history was before the
    tag was read. `listed` is what its manifest leads to and matters, None where that was not looked at; what
    is `unread` may lead to anything.
    """

    tag: Tag
    digest: Digest
    pushed: float
    written: float
    history: int = 0
    listed: frozenset[Digest] | None = None
    unread: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a tag stays, and by which rule or for which reason."""

    tag: Tag
    digest: Digest
    stays: bool
    rule: str
    reason: str


def title(rule: RetentionRule, number: int) -> str:
    """What a rule is called: its name, or which one it is."""
    return rule.name or f"rule {number}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What decides in one repository: the rules with their titles, and what is used.

    `grace` is how long after it was set a tag stays in any case. `in_use` maps digests to who says so.
    """

    name: RepositoryName
    rules: Sequence[tuple[str, RetentionRule]]
    now: float
    grace: timedelta
    in_use: Mapping[Digest, str]
    pulls: Pulls

    def of(self, tags: Sequence[TagFacts]) -> list[Decision]:
        """What becomes of each tag."""
        kept_by: dict[Tag, tuple[str, str]] = {}
        limited: dict[Tag, list[str]] = {}
        for called, rule in self.rules:
            if not rule.limits_tags:
                continue
            selection = rule.selection
            covered = [one for one in tags if selection.has(one.tag) and subject_of(one.tag) is None]
            for one in covered:
                limited.setdefault(one.tag, []).append(called)
            for tag, reason in self._kept(rule, covered):
                kept_by.setdefault(tag, (called, reason))
        return [self._decide(one, kept_by.get(one.tag), limited.get(one.tag, [])) for one in tags]

    def _decide(self, one: TagFacts, kept: tuple[str, str] | None, limited: list[str]) -> Decision:
        def decision(rule: str, reason: str, *, stays: bool = True) -> Decision:
            return Decision(one.tag, one.digest, stays, rule, reason)

        if (subject := subject_of(one.tag)) is not None:
            return decision("", f"belongs to {subject}, and goes when that goes")
        if not limited:
            return decision("", "no rule is about it")
        if kept is not None:
            return decision(*kept)
        if reason := self.held(one):
            return decision("", reason)
        return decision(", ".join(limited), "nothing keeps it", stays=False)

    def held(self, one: TagFacts) -> str:
        """Why a tag stays whatever the rules let go; empty if it need not."""
        for digest in (one.digest, *sorted(one.listed or ())):
            if digest in self.in_use:
                return f"in use: {self.in_use[digest]}"
        if self.now - one.written <= self.grace.total_seconds():
            return f"set less than {format_duration(self.grace.total_seconds())} ago"
        return "its manifest cannot be read, so it may be in use" if one.unread else ""

    def is_always_kept(self, tag: str) -> bool:
        """Whether a rule that lets tags go says that this one always stays."""
        return any(rule.limits_tags and matches_any(rule.always, tag) for _, rule in self.rules)

    def _kept(self, rule: RetentionRule, tags: Sequence[TagFacts]) -> Iterator[tuple[Tag, str]]:
        """The tags that a rule keeps, and why; the newest are counted as images, whatever tags they have."""
        for one in tags:
            if matches_any(rule.always, one.tag):
                yield one.tag, "always kept"
        if rule.newest_pushed is not None:
            pushed = {one.digest: one.pushed for one in sorted(tags, key=lambda one: one.pushed)}
            # Where it cannot be told which of them is newer, as in a tree that was copied, all of them are.
            least = sorted(pushed.values(), reverse=True)[: rule.newest_pushed][-1:]
            chosen = [digest for digest, at in pushed.items() if at >= least[0]]
            yield from _of(tags, chosen, f"among the newest {rule.newest_pushed} pushed")
        if rule.newest_versions is not None:
            yield from _of(
                tags,
                _newest_versions(tags, rule.newest_versions),
                f"among the newest {rule.newest_versions} versions",
            )
        if rule.newest_pulled is not None:
            chosen = self._newest_pulled(tags, rule.newest_pulled)
            yield from _of(tags, chosen, f"among the newest {rule.newest_pulled} pulled")
        for one in tags:
            if rule.pushed_within is not None and self._is_within(_pushed(one), rule.pushed_within):
                yield one.tag, f"pushed within {_told(rule.pushed_within)}"
            if rule.pulled_within is not None and self._is_within(self._used(one), rule.pulled_within):
                yield one.tag, f"pulled or pushed within {_told(rule.pulled_within)}{self._doubt(one)}"

    def _newest_pulled(self, tags: Sequence[TagFacts], count: int) -> list[Digest]:
        """The images last used; of those that share the day of the last one, all."""
        used: dict[Digest, float] = {}
        for one in tags:
            # A push counts to the end of the day after, as a pull does.
            day = max(self._used(one), end_of(datetime.fromtimestamp(_pushed(one), UTC).date()))
            used[one.digest] = max(day, used.get(one.digest, day))
        least = sorted(used.values(), reverse=True)[:count][-1:]
        return [digest for digest, day in used.items() if day >= least[0]]

    def _used(self, one: TagFacts) -> float:
        """The last moment (s) at which a tag may have been used; of pulls only the day is known."""
        days = [self.pulls.of(self.name, one.tag, one.digest), self.pulls.uncovered_until]
        days += [self.pulls.of(self.name, None, digest) for digest in one.listed or ()]
        return max([_pushed(one), *(end_of(day) for day in days if day is not None)])

    def _doubt(self, one: TagFacts) -> str:
        until = self.pulls.uncovered_until
        if until is None or self._used(one) > end_of(until):
            return ""
        return f" (until {until} not every server has told what was pulled)"

    def _is_within(self, at: float, span: timedelta) -> bool:
        return self.now - at < span.total_seconds()


def _of(tags: Iterable[TagFacts], digests: Iterable[Digest], reason: str) -> Iterator[tuple[Tag, str]]:
    chosen = frozenset(digests)
    return ((one.tag, reason) for one in tags if one.digest in chosen)


def _newest_versions(tags: Iterable[TagFacts], count: int) -> set[Digest]:
    """The images with the highest versions; what precedes a release is none."""
    highest: dict[Digest, Version] = {}
    for one in tags:
        version = Version.parse(one.tag)
        if version is not None and not version.prerelease:
            highest[one.digest] = max(version, highest.get(one.digest, version))
    return set(sorted(highest, key=lambda digest: (highest[digest], digest), reverse=True)[:count])


def _pushed(one: TagFacts) -> float:
    return max(one.pushed, one.written)


def end_of(day: date) -> float:
    """The end of the day after, UTC: days are told coarsely."""
    midnight = datetime.combine(day, datetime.min.time(), UTC)
    return (midnight + 2 * _DAY).timestamp()


def _told(span: timedelta) -> str:
    return format_duration(span.total_seconds())
