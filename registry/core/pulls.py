"""How often manifests are pulled, and on which days: counted in a process's memory until it is recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag

# What was asked for (a tag, or "" for the digest alone), and the digest of the manifest that was given.
Reference = tuple[str, str]
Counts = dict[str, dict[Reference, int]]
"""How often each reference of each repository was pulled."""

FULL = 20_000  # different pulls in memory: time to record them
MOST = 40_000  # the recording is late: further ones are lost, and their days known to be incomplete
_TOLERATED = timedelta(minutes=1)  # by which a clock may differ from the store's


@dataclass(frozen=True, slots=True)
class Batch:
    """What was pulled from one time to another, by day, and the days of which something was lost."""

    since: datetime
    until: datetime
    days: dict[date, Counts]
    lost: frozenset[date]


class Pulls:
    """The pulls that one process has answered and not recorded yet; bounded, and without any I/O.

    Days are UTC by the store's clock, as far as it is known: `now` is our own, and `correct` is told what the
    store's was meanwhile. `counting` is false where nothing will ever be recorded.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.counting = False
        self._now = now
        self._offset = timedelta(0)
        self._since = now()
        self._days: dict[date, Counts] = {}
        self._lost: set[date] = set()
        self._size = 0

    @property
    def time(self) -> datetime:
        """The store's time, as far as it is known."""
        return self._now() + self._offset

    @property
    def is_full(self) -> bool:
        """Whether it is time to record, however long ago that was done."""
        return self._size >= FULL

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to record."""
        return not self._size and not self._lost

    def note(self, name: RepositoryName, reference: Tag | Digest, digest: Digest) -> None:
        """Count that somebody was given a manifest, or was told that it is there."""
        if not self.counting:
            return
        day = (self._now() + self._offset).date()
        pulled = ("" if isinstance(reference, Digest) else reference, str(digest))
        of_name = self._days.setdefault(day, {}).setdefault(name, {})
        if pulled in of_name:
            of_name[pulled] += 1
        elif self._size < MOST:
            of_name[pulled] = 1
            self._size += 1
        else:
            self._lost.add(day)

    def correct(self, stamped: datetime, before: datetime, after: datetime) -> timedelta | None:
        """Learn that the store's time was `stamped`, between `before` and `after` by our own clock.

        When that is not what was believed, the days of what is in memory are anybody's guess: all of it goes
        to the present day, since a last pull that is too late does no harm. Then it is said by how much.
        """
        believed_from, believed_to = before + self._offset - _TOLERATED, after + self._offset + _TOLERATED
        if believed_from <= stamped <= believed_to:
            return None
        wrong = stamped - (after + self._offset)
        self._offset += wrong
        self._since = min(self._since + wrong, stamped)
        self._date_again(lambda _: stamped.date())
        return wrong

    def take(self) -> Batch:
        """Take all out of memory; whoever does has to record it."""
        first, now = self._since, self.time
        # A clock that was wrong for a while puts nothing into a day that it cannot have been.
        self._date_again(lambda day: day if first.date() <= day <= now.date() else now.date())
        batch = Batch(first, now, self._days, frozenset(self._lost))
        self._since, self._days, self._lost, self._size = now, {}, set(), 0
        return batch

    def _date_again(self, right: Callable[[date], date]) -> None:
        before, self._days, self._size = self._days, {}, 0
        for day, counts in before.items():
            self._size += add(self._days.setdefault(right(day), {}), counts)
        self._lost = {right(day) for day in self._lost}


def add(counts: Counts, more: Counts) -> int:
    """Add what was counted elsewhere; how many references are new."""
    new = 0
    for name, references in more.items():
        of_name = counts.setdefault(name, {})
        new -= len(of_name)
        for pulled, times in references.items():
            of_name[pulled] = of_name.get(pulled, 0) + times
        new += len(of_name)
    return new


def widen(counts: Counts, other: Counts) -> None:
    """Have the larger of two numbers each, where both counts begin with the same pulls."""
    for name, references in other.items():
        of_name = counts.setdefault(name, {})
        for pulled, times in references.items():
            of_name[pulled] = max(of_name.get(pulled, 0), times)
