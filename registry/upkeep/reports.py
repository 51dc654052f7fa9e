"""Reports: what work on the whole store has done, kept there, where whoever goes on with it finds it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Literal, Protocol, TypeVar

from registry.model.units import format_size
from registry.store import layout
from registry.store.store import Store
from registry.work.documents import plain, read_plain
from storage.errors import NotFound, TooLarge

_KEPT = 30
_LIMIT = 16 << 20  # bytes
_TROUBLES = 1000
Phase = Literal["links", "data", "trash", "done"]


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that is kept since it cannot be read, or does not belong there: where, what and why."""

    repository: str
    content: str
    problem: str


@dataclass(slots=True)
class Collection:
    """What a collection has done so far.

    `after` is how far it got in its phase. `kept_young` counts what is unneeded, and younger than the grace
    period.
    """

    began: datetime
    by: str
    dry_run: bool
    ended: datetime | None = None
    phase: Phase = "links"
    after: str = ""
    resumed: int = 0
    repositories: int = 0
    repositories_kept_whole: int = 0
    manifests: int = 0
    links: int = 0
    links_taken: int = 0
    links_put_back: int = 0
    blobs_taken: int = 0
    bytes_taken: int = 0
    blobs_put_back: int = 0
    kept_young: int = 0
    removals_destroyed: int = 0
    bytes_destroyed: int = 0
    troubles: list[Kept] = field(default_factory=list)
    troubles_left_out: int = 0

    def trouble(self, one: Kept) -> None:
        """Note what is kept for its state; a long list ends in a number."""
        if len(self.troubles) < _TROUBLES:
            self.troubles.append(one)
        else:
            self.troubles_left_out += 1

    def told(self) -> str:
        """A few lines for people."""
        took = "would take" if self.dry_run else "took"
        size = format_size(self.bytes_taken)
        lines = [
            f"{took} {self.links_taken} blob links and {self.blobs_taken} blobs ({size}) into the trash",
            f"looked at: repositories {self.repositories}, manifests {self.manifests}, links {self.links}",
            f"kept for now, younger than the grace period: {self.kept_young}",
        ]
        if self.links_put_back or self.blobs_put_back:
            lines.append(
                f"put back, since they are needed: links {self.links_put_back}, blobs {self.blobs_put_back}"
            )
        if self.removals_destroyed:
            emptied = "would empty" if self.dry_run else "emptied"
            size = format_size(self.bytes_destroyed)
            lines.append(f"{emptied} the trash of {self.removals_destroyed} removals ({size})")
        if self.troubles:
            lines.append(f"kept whole for what could not be read there: {self.repositories_kept_whole}")
            lines += [f"  {one.repository} {one.content}: {one.problem}" for one in self.troubles[:20]]
            left = len(self.troubles) + self.troubles_left_out - 20
            lines += [f"  and {left} more (--json has them)"] if left > 0 else []
        return "\n".join(lines)


class Report(Protocol):
    """What any report says: when the work began, and when it ended."""

    began: datetime
    ended: datetime | None


R = TypeVar("R", bound=Report)


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

    async def trim(self) -> None:
        """Let go of all but the last ones."""
        await self._driver.delete((await self._keys())[:-_KEPT], durable=False)

    async def _keys(self) -> list[str]:
        return [f"{self._prefix}/{name}" for name in await self._driver.children(self._prefix)]

    async def _read(self, key: str) -> R | None:
        try:
            report = read_plain(self._form, json.loads(await self._driver.get(key, limit=_LIMIT)))
        except (NotFound, TooLarge, ValueError):
            return None
        assert isinstance(report, self._form)
        return report


class Reports(ReportsOf[Collection]):
    """The reports of one store's collections."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, "gc", Collection)
