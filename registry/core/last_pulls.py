"""When something was last pulled, and of which days that cannot be known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from registry.core.pull_records import Process, PullRecords
from registry.core.pulls import Counts
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag

# A process that has recorded nothing for so long has died, or cannot.
SILENCE = timedelta(hours=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Coverage:
    """The days of which not every pull is known, in order, and up to when all processes have recorded.

    `recorded_until` is None when none records at present; nobody serves then, or only who may not write.
    """

    uncovered: tuple[date, ...]
    recorded_until: datetime | None


class LastPulls:
    """The days on which everything was last pulled, as far as it was since one day.

    Whoever acts on it treats `uncovered_until` as a day on which everything was pulled, and waits a day more
    than it wants: pulls just before midnight may be counted for the day before.
    """

    def __init__(self, coverage: Coverage) -> None:
        self.uncovered_until = max(coverage.uncovered, default=None)
        self.recorded_until = coverage.recorded_until
        self._days: dict[str, dict[str, date]] = {}

    def of(self, name: RepositoryName, tag: Tag | None, digest: Digest | None) -> date | None:
        """When the tag was last pulled, whatever it named, or the manifest, by whatever name; None: never."""
        of_name = self._days.get(name, {})
        found = [of_name.get(tag or ""), of_name.get(str(digest or ""))]
        return max((day for day in found if day is not None), default=None)

    def note(self, counts: Counts, day: date) -> None:
        """Note what was pulled on a day; days come in order."""
        for name, references in counts.items():
            of_name = self._days.setdefault(name, {})
            for tag, digest in references:
                of_name[digest] = day
                if tag:
                    of_name[tag] = day


async def last_pulls(records: PullRecords, since: date, now: datetime) -> LastPulls:
    """What was pulled since a day, by what is recorded; `now` is the store's time.

    It holds one day for each tag and manifest pulled, and all that is known of one day. Raises Unavailable.
    """
    # Before the days are read: up to when all have recorded, all of it is found there.
    last = LastPulls(await coverage(records, since, now))
    uncovered = set()
    for day in await records.days():
        if day >= since:
            known = await records.read(day)
            if known.damaged:
                uncovered.add(day)
            last.note(known.counts, day)
    # And what was found to be unknown meanwhile.
    uncovered.update(await records.uncovered())
    last.uncovered_until = max(
        (day for day in (last.uncovered_until, *uncovered) if day is not None and day >= since), default=None
    )
    return last


async def coverage(records: PullRecords, since: date, now: datetime) -> Coverage:
    """Of which days since one not every pull is known; `now` is the store's time."""
    processes = await records.processes()
    marked = await records.uncovered()
    # The first mark says when recording began, or what was let go of; without one nobody has ever counted.
    begun = min(marked) if marked else (None if await records.any() else now.date())
    uncovered = {day for day in marked if day >= since}
    if begun is not None:
        uncovered.update(_days(since, begun))
    alive = []
    for process in processes:
        if now - process.until > SILENCE:
            uncovered.update(missed(process, since, now))
        else:
            alive.append(process.until)
    return Coverage(tuple(sorted(uncovered)), min(alive, default=None))


def missed(process: Process, since: date, now: datetime) -> Iterator[date]:
    """The days since one on which a silent process may have answered pulls that nobody recorded."""
    return _days(max(since, process.until.date()), now.date())


def _days(first: date, last: date) -> Iterator[date]:
    return (first + number * _DAY for number in range((last - first).days + 1))
