"""What core offers of pulls: how often, and when last, each tag of a repository was pulled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from registry.core.last_pulls import coverage
from registry.core.operations import Limit, tag_of
from registry.core.pull_records import PullRecords
from registry.core.pulls import Counts
from registry.core.registry import Registry
from registry.errors import NameUnknown
from registry.model.names import RepositoryName, Tag
from registry.work.operations import Context, Operation, Progress, Result, argument, option

Outcome = AsyncIterator[Progress | Result]

_MOST_DAYS = 3660


@dataclass(frozen=True, slots=True)
class AskPulls:
    """Whose pulls, and of how many days."""

    reference: str = argument("a repository, or a tag of it: team/app, or team/app:1.0")
    days: Limit = option("of so many days, today being one of them", default=Limit(30))
    limit: Limit = option("at most so many tags and digests, those pulled last first", default=Limit(100))


@dataclass(frozen=True, slots=True)
class PullsOfDay:
    """How often something was pulled on a day (UTC)."""

    day: str
    pulls: int


@dataclass(slots=True)
class PullsOfReference:
    """How often a tag, or a manifest by its digest, was pulled, and when last; days without are left out."""

    reference: str
    pulls: int
    last: str
    days: list[PullsOfDay] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ShownPulls:
    """The pulls of a repository or tag from one day to another; `left_out` are over the limit.

    Of the days that are `uncovered` not every pull is known. What is recorded by all who record is told up to
    `recorded_until`; None when nobody does at present.
    """

    repository: str
    tag: str | None
    since: str
    until: str
    pulls: int
    references: list[PullsOfReference]
    left_out: int
    uncovered: list[str]
    recorded_until: datetime | None

    def told(self) -> str:
        """A line for each day on which something was pulled, the last first."""
        of = self.repository if self.tag is None else f"{self.repository}:{self.tag}"
        lines = [f"{of} was pulled {_times(self.pulls)} from {self.since} to {self.until}"]
        for one in self.references:
            lines.append(f"{one.reference}: {_times(one.pulls)}, last on {one.last}")
            lines += [f"  {of_day.day}  {of_day.pulls}" for of_day in reversed(one.days)]
        if self.left_out:
            lines.append(f"and {self.left_out} more tags and digests (--limit)")
        if self.uncovered:
            lines.append(f"not all is known of: {', '.join(_spans(self.uncovered))}")
        if self.recorded_until is not None:
            told = self.recorded_until.isoformat(sep=" ", timespec="seconds")
            lines.append(f"what servers have counted since {told} comes later")
        return "\n".join(lines)


def operations(registry: Callable[[], Registry]) -> Iterable[Operation[Any]]:
    """Operations on the registry that is open when one of them runs."""

    async def pulls_show(asked: AskPulls, _: Context) -> Outcome:
        name, tag = _named(asked.reference)
        store = registry().store
        records = PullRecords(store.driver)
        now = store.effects.now()
        since = now.date() - timedelta(days=min(asked.days, _MOST_DAYS) - 1)
        covered = await coverage(records, since, now)
        uncovered = {*covered.uncovered}
        found: dict[str, PullsOfReference] = {}
        days = [day for day in await records.days() if since <= day]
        for done, day in enumerate(days):
            known = await records.read(day, repository=name)
            if known.damaged:
                uncovered.add(day)
            _count(found, known.counts, name, tag, day)
            yield Progress(done + 1, len(days), "items", str(day))
        is_known = bool(found) or await store.catalog.is_listed(name)
        if not is_known and not await store.catalog.holds_content(name):
            raise NameUnknown(f"there is no repository {name}, and nobody has pulled from it")
        ordered = sorted(found.values(), key=lambda one: one.reference)
        ordered.sort(key=lambda one: one.last, reverse=True)
        yield Result(
            ShownPulls(
                name,
                tag,
                str(since),
                str(now.date()),
                sum(one.pulls for one in ordered),
                ordered[: asked.limit],
                max(0, len(ordered) - asked.limit),
                [str(day) for day in sorted(uncovered)],
                covered.recorded_until,
            )
        )

    return (
        Operation(
            "pulls.show",
            "Show how often, on which days and when last the tags of a repository were pulled",
            "pull",
            False,
            AskPulls,
            pulls_show,
            touches=lambda asked: (_named(asked.reference)[0], None),
            result=ShownPulls,
        ),
    )


def _named(text: str) -> tuple[RepositoryName, Tag | None]:
    return tag_of(text) if ":" in text else (RepositoryName(text), None)


def _count(
    found: dict[str, PullsOfReference], counts: Counts, name: RepositoryName, tag: Tag | None, day: date
) -> None:
    """Add the pulls of a day; days come in order."""
    of_day: dict[str, int] = {}
    for (by_tag, digest), times in counts.get(name, {}).items():
        if tag in (None, by_tag):
            reference = by_tag or digest
            of_day[reference] = of_day.get(reference, 0) + times
    for reference, times in of_day.items():
        one = found.setdefault(reference, PullsOfReference(reference, 0, ""))
        one.pulls += times
        one.last = str(day)
        one.days.append(PullsOfDay(str(day), times))


def _spans(days: list[str]) -> Iterator[str]:
    """Days that follow one another as one."""
    first = last = ""
    for day in days:
        if last and date.fromisoformat(day) - date.fromisoformat(last) == timedelta(days=1):
            last = day
            continue
        if last:
            yield first if first == last else f"{first} to {last}"
        first = last = day
    if last:
        yield first if first == last else f"{first} to {last}"


def _times(pulls: int) -> str:
    return "once" if pulls == 1 else f"{pulls} times"
