"""What access offers to operators: what was deleted, and changed about access, and by whom."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from registry.access.audit import Audit
from registry.access.audit.kept import Asked, KeptEntry
from registry.core.operations import Limit
from registry.core.registry import Registry
from registry.model.patterns import RepositoryPattern
from registry.model.quoting import quoted
from registry.model.units import parse_duration
from registry.work.operations import Context, Operation, Progress, Result, option

Outcome = AsyncIterator[Progress | Result]


@dataclass(frozen=True, slots=True)
class Moment:
    """A time, or how long ago it is: `2026-01-31`, `2026-01-31T12:00:00Z`, `7d`. Without a zone it is UTC."""

    text: str
    at: datetime | None = None
    ago: timedelta | None = None

    @classmethod
    def parse(cls, text: str) -> Moment:
        """Read one; ValueError when it is none."""
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            pass
        else:
            return cls(text, at=at if at.tzinfo else at.replace(tzinfo=UTC))
        try:
            return cls(text, ago=timedelta(seconds=parse_duration(text)))
        except (ValueError, OverflowError):
            raise ValueError(
                f"must be a time like 2026-01-31 or 2026-01-31T12:00:00Z, or how long ago, like 12h or 7d;"
                f" {quoted(text)} is neither"
            ) from None

    def __str__(self) -> str:
        return self.text

    def seen_from(self, now: datetime) -> datetime:
        """The time that it is; one before all times is the first."""
        if self.at is not None:
            return self.at
        assert self.ago is not None
        first = datetime(1970, 1, 1, tzinfo=UTC)
        return first if self.ago > now - first else now - self.ago


@dataclass(frozen=True, slots=True)
class ListAudit:
    """Which entries to list."""

    since: Moment = option(
        "from then on: a time, or how long ago", default=Moment("30d", ago=timedelta(days=30))
    )
    until: Moment | None = option("only what was before: a time, or how long ago", default=None)
    who: str | None = option("only what this principal did, for example user:alice or operator", default=None)
    repository: RepositoryPattern | None = option(
        "only what happened to these repositories, for example 'team-a/**'", default=None
    )
    limit: Limit = option("at most so many", default=Limit(100))
    last: str = option("begin behind the entry with this id", default="")


@dataclass(frozen=True, slots=True)
class ShownEntry:
    """An entry; texts that are empty do not apply. Of one that cannot be read there is only the id."""

    id: str
    time: str
    event: str
    outcome: str
    who: str
    address: str
    via: str
    agent: str
    repository: str
    tag: str
    digest: str
    rule: str
    detail: str
    request: str

    def told(self) -> str:
        """One line: when, what, to what, by whom, and how it ended."""
        if not self.event:
            return f"{self.id}: this entry cannot be read: it was altered, or damaged"
        what = f"{self.repository}{self.tag and f':{self.tag}'}{self.digest and f'@{self.digest}'}"
        where = ", ".join(filter(None, (self.address, self.via)))
        said = "; ".join(filter(None, (self.detail, self.rule)))
        words = (
            *(self.time, self.event, what, f"by {self.who}", where and f"({where})"),
            "" if self.outcome == "done" else f"[{self.outcome}]",
            said and f"- {said}",
        )
        return " ".join(filter(None, words))


@dataclass(frozen=True, slots=True)
class AuditEntries:
    """Entries, the oldest first; `next` is the `last` of the next page."""

    entries: list[ShownEntry]
    next: str | None

    def told(self) -> str:
        """An entry a line."""
        return "\n".join(entry.told() for entry in self.entries)


def operations(registry: Callable[[], Registry], audit: Callable[[], Audit]) -> Iterable[Operation[Any]]:
    """The operations of access on the registry that is open when one of them runs."""

    async def audit_list(asked: ListAudit, _: Context) -> Outcome:
        now = registry().store.effects.now()
        wanted = Asked(
            asked.since.seen_from(now),
            None if asked.until is None else asked.until.seen_from(now),
            asked.who,
            asked.repository,
        )
        found, following = await audit().kept.list(wanted, limit=asked.limit, last=asked.last)
        note = "" if following is None else f"there may be more: --last {following}"
        yield Result(AuditEntries([_shown(kept) for kept in found], following), text=note)

    return (
        Operation(
            "audit.list",
            "List who deleted what, and who changed what about access, as the store keeps it",
            "admin",
            False,
            ListAudit,
            audit_list,
            result=AuditEntries,
        ),
    )


def _shown(kept: KeptEntry) -> ShownEntry:
    document = {} if kept.entry is None else kept.entry.document()
    names = (field.name for field in fields(ShownEntry) if field.name != "id")
    return ShownEntry(kept.id, **{name: document.get(name, "") for name in names})
