"""Reports: what work has done, kept in the store, where whoever goes on with it finds it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import MISSING
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

from registry.store import layout
from registry.store.store import Store
from registry.work.documents import plain, read_plain
from storage.errors import NotFound, TooLarge

_KEPT = 30
_LIMIT = 16 << 20  # bytes


class Report(Protocol):
    """What any report says: when the work began, and when it ended."""

    began: datetime
    ended: datetime | None


T = TypeVar("T")
R = TypeVar("R", bound=Report)


def append(items: list[T], one: T, most: int) -> int:
    """Add to a list that has at most so many items; how many were left out of it for that: one or none."""
    if len(items) >= most:
        return 1
    items.append(one)
    return 0


def listed(lines: Sequence[str], most: int, left_out: int = 0) -> list[str]:
    """The first of the lines, and how many there are besides, with those that were left out before."""
    more = len(lines) + left_out - most
    return [*lines[:most], f"  and {more} more (--json has them)"] if more > 0 else [*lines]


def is_due(age: timedelta, interval: timedelta) -> bool:
    """Whether what was done so long ago is to be done again.

    Also when it bears a time that lies as far ahead: it was done while a clock was wrong.
    """
    return abs(age) >= interval


class ReportsOf(Generic[R]):
    """The reports of one `kind` of a store's, each a dataclass `form`; the last thirty are kept."""

    def __init__(self, store: Store, kind: str, form: type[R]) -> None:
        self._driver = store.driver
        self._effects = store.effects
        self._prefix = layout.reports(kind)
        self._form = form

    def new(self, began: datetime) -> str:
        """The key of a report that begins now."""
        nanoseconds = int(began.timestamp() * 1_000_000) * 1000
        return f"{self._prefix}/{nanoseconds:020d}-{self._effects.unique()}"

    async def save(self, key: str, report: R) -> None:
        """Keep a report as it is now; a power cut may take it, and what it tells of is done all the same."""
        await self._driver.put(key, json.dumps(plain(report)).encode(), durable=False)

    async def newest(self) -> tuple[str, R] | None:
        """The last report that can be read."""
        for key in reversed(await self._keys()):
            report = await self._read(key)
            if report is not None:
                return key, report
        return None

    async def last(self, count: int) -> list[R]:
        """The last reports, the newest first."""
        reports = [await self._read(key) for key in reversed((await self._keys())[-count:])]
        return [report for report in reports if report is not None]

    async def trim(self, key: str) -> None:
        """Let go of all but the last ones up to that with the `key`, which is the newest.

        What bears a later time is of a clock that was wrong, and would count as the newest until that comes.
        """
        keys = await self._keys()
        kept = [one for one in keys if one <= key][-_KEPT:]
        await self._driver.delete([one for one in keys if one not in kept], durable=False)

    async def _keys(self) -> list[str]:
        return [f"{self._prefix}/{name}" for name in await self._driver.children(self._prefix)]

    async def _read(self, key: str) -> R | None:
        try:
            document = json.loads(await self._driver.get(key, limit=_LIMIT))
            report = read_plain(self._form, _with_defaults(self._form, document))
        except (NotFound, TooLarge, ValueError):
            return None
        assert isinstance(report, self._form)
        return report


def _with_defaults(form: Any, document: object) -> object:
    """The document with what one by an earlier version lacks, as far as that has a default."""
    if not isinstance(document, dict):
        return document
    lacking = [one for one in dataclasses.fields(form) if one.name not in document]
    made = {one.name: one.default_factory() for one in lacking if one.default_factory is not MISSING}
    given = {one.name: one.default for one in lacking if one.default is not MISSING}
    return {**document, **{name: plain(value) for name, value in (given | made).items()}}
