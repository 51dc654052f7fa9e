"""What is recorded of pulls: what processes have counted of each day, and what nobody can know of it.

    days/<day>/<process>-<8-digit number>   what one process has counted since it last did; never changed
    days/<day>/fold-<uuid>                  many of those, added up
    processes/<process>                     who counts, and up to when all that it counted is recorded
    uncovered/<day>                         not every pull of the day is known

A fold says up to which number the records of each process are in it, so what it was made of may be left, and
come back, without being counted twice. A process begins a record when the one before is there for certain.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from registry.core.pulls import Batch, Counts, add, widen
from registry.store import layout
from storage.contract import Driver
from storage.errors import AlreadyExists, NotFound, Unavailable

DAYS = f"{layout.PULLS}/days"
PROCESSES = f"{layout.PULLS}/processes"
UNCOVERED = f"{layout.PULLS}/uncovered"
_FOLD = "fold-"  # behind all processes, whose names are hexadecimal
_COUNTED = re.compile(r"(.+)-([0-9]{8})")
_SMALL = 64 << 10  # bytes of what says who counts
_TRIES = 20
_BATCH = 1000


class Damaged(ValueError):
    """What lies there is no record."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process that counts, or died: all that it counted up to `until` is recorded.

    `renewed_at` is when it last said so. Both are times of the store's.
    """

    id: str
    who: str
    until: datetime
    renewed_at: datetime


@dataclass(slots=True)
class Day:
    """What is known of a day: the counts, and up to which number the records of each process are in them.

    `names` is what of all that lies there is in them; `joined` says how many single records that were not in
    any fold, and `folds` how many folds. Of what is `damaged` nothing could be read.
    """

    counts: Counts = field(default_factory=dict)
    included: dict[str, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    joined: int = 0
    folds: int = 0
    damaged: int = 0


class PullRecords:
    """The records of pulls of one store."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def any(self) -> bool:
        """Whether anybody has ever recorded a pull here."""
        return bool(await self._driver.children(layout.PULLS, limit=1))

    # Days.

    async def days(self) -> list[date]:
        """The days of which something is recorded, the first one first."""
        return _dates(await self._driver.children(DAYS))

    async def put(self, key: str, data: bytes) -> None:
        """Record what `records` made; repeated, it is the same."""
        await self._driver.put(key, data)

    async def read(self, day: date, *, repository: str | None = None, before: datetime | None = None) -> Day:
        """What is known of a day, of one repository or all; only what was written `before` a time, if given.

        Raises Unavailable when others go on rewriting it.
        """
        for _ in range(_TRIES):
            with suppress(NotFound):  # just folded: it is in what lies there now
                return await self._read(day, repository, before)
        raise Unavailable(f"{DAYS}/{day}", "the records of pulls change faster than they can be read")

    async def fold(self, day: date, found: Day, unique: str) -> None:
        """Put what was found of a day into one object, and remove what that was found in."""
        head = {"included": found.included}

        async def chunks() -> AsyncIterator[bytes]:
            for line in _lines(head, found.counts):
                yield line

        await self._driver.write(f"{DAYS}/{day}/{_FOLD}{unique}", chunks())
        await self.tidy(day, found)

    async def tidy(self, day: date, found: Day) -> None:
        """Remove what a fold makes superfluous; it does no harm when it comes back."""
        keys = [f"{DAYS}/{day}/{name}" for name in found.names]
        for start in range(0, len(keys), _BATCH):
            await self._driver.delete(keys[start : start + _BATCH], durable=False)

    async def forget(self, day: date) -> None:
        """Let go of all that is known of a day."""
        names = await self._driver.children(f"{DAYS}/{day}")
        await self.tidy(day, Day(names=names))

    # What is not known.

    async def uncovered(self) -> list[date]:
        """The days of which it is known that not every pull is, the first one first."""
        return _dates(await self._driver.children(UNCOVERED))

    async def mark_uncovered(self, day: date, why: str) -> None:
        """Have it known that not every pull of a day is."""
        with suppress(AlreadyExists):  # for another reason
            await self._driver.put(f"{UNCOVERED}/{day}", _json({"why": why}), if_absent=True)

    async def forget_marks(self, days: Iterable[date]) -> None:
        """Remove marks that a later one makes superfluous."""
        await self._driver.delete([f"{UNCOVERED}/{day}" for day in days], durable=False)

    # Who counts.

    async def put_process(self, process: str, who: str, since: datetime, until: datetime) -> None:
        """Say that a process counts since a time, and has recorded all up to another."""
        record = {"who": who, "from": since.isoformat(), "until": until.isoformat()}
        await self._driver.put(f"{PROCESSES}/{process}", _json(record))

    async def renewed_at(self, process: str) -> datetime:
        """When a process last said so, by the store's clock. Raises NotFound."""
        return (await self._driver.stat(f"{PROCESSES}/{process}")).modified_at

    async def forget_process(self, process: str) -> None:
        """A process has ended, and recorded all; or it died, and its days are marked."""
        await self._driver.delete([f"{PROCESSES}/{process}"], durable=False)

    async def processes(self) -> list[Process]:
        """Who counts, and who did and died."""
        found = []
        for name in await self._driver.children(PROCESSES):
            key = f"{PROCESSES}/{name}"
            with suppress(NotFound):  # it has just ended
                renewed_at = (await self._driver.stat(key)).modified_at
                who, until = _said(await self._driver.get(key, limit=_SMALL))
                # Never later than it was said, whatever its clock.
                until = renewed_at if until is None else min(until, renewed_at)
                found.append(Process(name, who, until, renewed_at))
        return found

    # How records are read.

    async def _read(self, day: date, repository: str | None, before: datetime | None) -> Day:
        prefix = f"{DAYS}/{day}"
        found = Day()
        # A walk sees what a fold was made of, or the fold, which lies behind that.
        names = [key.removeprefix(f"{prefix}/") async for key in self._driver.walk(prefix)]
        for name in names:
            if name.startswith(_FOLD):
                found.names.append(name)
                found.folds += 1
                try:
                    head, counts, _ = await self._load(f"{prefix}/{name}", repository, None)
                    _include(found.included, head)
                except Damaged:
                    found.damaged += 1
                else:
                    widen(found.counts, counts)
        young = ""
        for name in names:
            if (counted := _COUNTED.fullmatch(name)) is None:
                continue
            process, number = counted[1], int(counted[2])
            if number > found.included.get(process, 0):
                if process == young:
                    continue
                try:
                    _, counts, is_young = await self._load(f"{prefix}/{name}", repository, before)
                except Damaged:
                    found.damaged += 1
                    counts, is_young = {}, False
                if is_young:
                    # So are those that it has written since, whatever their times say.
                    young = process
                    continue
                add(found.counts, counts)
                found.included[process] = number
                found.joined += 1
            found.names.append(name)
        return found

    async def _load(
        self, key: str, repository: str | None, before: datetime | None
    ) -> tuple[Mapping[str, Any], Counts, bool]:
        """Head and counts of one object, and whether it is too young and so was not read. Raises Damaged."""
        counts: Counts = {}
        head: Mapping[str, Any] | None = None
        rest = b""
        lines = 0
        async with self._driver.open(key) as opened:
            if before is not None and opened.info.modified_at >= before:
                return {}, counts, True
            async for chunk in opened.chunks():
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    if head is None:
                        head = _head(line)
                    else:
                        lines += 1
                        _take_line(counts, line, repository)
        if head is None or rest or lines != head.get("repositories"):
            raise Damaged(key)
        return head, counts, False


def records(process: str, who: str, number: int, batch: Batch) -> Iterator[tuple[str, bytes]]:
    """Keys and content of what a process records of a batch, the first under `number`."""
    about = {"who": who, "from": batch.since.isoformat(), "until": batch.until.isoformat()}
    for offset, (day, counts) in enumerate(sorted(batch.days.items())):
        yield f"{DAYS}/{day}/{process}-{number + offset:08d}", b"".join(_lines(about, counts))


def _lines(head: Mapping[str, Any], counts: Counts) -> Iterator[bytes]:
    """A line that says what it is, and one for each repository: digest, tag, number."""
    yield _json({**head, "repositories": len(counts)}) + b"\n"
    for name, references in counts.items():
        by_digest: dict[str, dict[str, int]] = {}
        for (tag, digest), times in references.items():
            by_digest.setdefault(digest, {})[tag] = times
        yield _json([name, by_digest]) + b"\n"


def _head(line: bytes) -> Mapping[str, Any]:
    try:
        head = json.loads(line)
    except ValueError as error:
        raise Damaged(str(error)) from error
    if not isinstance(head, dict):
        raise Damaged("it has no head")
    return head


def _take_line(counts: Counts, line: bytes, repository: str | None) -> None:
    try:
        name, by_digest = json.loads(line)
        if repository in (None, name):
            counts[str(name)] = {
                (str(tag), str(digest)): int(times)
                for digest, by_tag in by_digest.items()
                for tag, times in by_tag.items()
            }
    except (ValueError, TypeError, AttributeError) as error:
        raise Damaged(str(error)) from error


def _include(included: dict[str, int], head: Mapping[str, Any]) -> None:
    try:
        for process, number in head["included"].items():
            included[process] = max(int(number), included.get(process, 0))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise Damaged(str(error)) from error


def _said(data: bytes) -> tuple[str, datetime | None]:
    """Who a process is, and until when it has recorded all; None when that cannot be read."""
    try:
        record = json.loads(data)
        until = datetime.fromisoformat(record["until"])
        return str(record["who"]), until.replace(tzinfo=UTC) if until.tzinfo is None else until
    except (ValueError, KeyError, TypeError):
        return "unknown", None


def _dates(names: Iterable[str]) -> list[date]:
    found = []
    for name in names:
        with suppress(ValueError):
            found.append(date.fromisoformat(name))
    return sorted(found)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
