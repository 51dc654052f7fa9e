"""Entries that are kept in the store: deletes and changes to access, one object each, for a set time."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, cast, get_args

from registry.access.audit.entries import Entry, Event, Outcome
from registry.core.registry import Registry
from registry.model.patterns import RepositoryPattern
from registry.store import layout
from registry.store.effects import Effects
from storage.contract import Driver
from storage.errors import NotFound, TooLarge

_LIMIT = 64 << 10  # bytes of an entry
_LOOKED_AT = 5000  # entries that one page may cost
_BATCH = 5000


@dataclass(frozen=True, slots=True)
class KeptEntry:
    """An entry with the name it lies under; `entry` is None when what lies there cannot be read as one."""

    id: str
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Asked:
    """Which entries are wanted: from one time on to before another, of one principal, of some repositories.

    What cannot be read is wanted whatever it may have said.
    """

    since: datetime | None = None
    until: datetime | None = None
    who: str | None = None
    repositories: RepositoryPattern | None = None

    def wants(self, entry: Entry | None) -> bool:
        """Whether an entry is one of them, as far as that is not a matter of its time."""
        if entry is None:
            return True
        if self.who is not None and entry.who != self.who:
            return False
        return self.repositories is None or self.repositories.matches(entry.repository)


# Writing is switched also while the store may not be written, and all of the trash is emptied only then.
_WHILE_READ_ONLY = ("storage.switched", "trash.emptied")


class AuditStore:
    """The entries of one store; a `registry` on it says whether it may be written."""

    def __init__(self, driver: Driver, effects: Effects, registry: Registry) -> None:
        self._driver = driver
        self._effects = effects
        self._registry = registry

    async def begin(self, entry: Entry) -> tuple[str, Entry]:
        """Keep, durably, that something is about to be done; what to `complete` or `forget` later.

        Raises ReadOnly and what the storage raises; then it must not be done.
        """
        if entry.event in _WHILE_READ_ONLY:
            self._registry.require_format()
        else:
            self._registry.require_writable()
        at = entry.at or self._effects.now()
        begun = replace(entry, at=at, outcome="begun")
        name = f"{_nanoseconds(at)}-{self._effects.unique()}"
        await self._put(name, begun)
        return name, begun

    async def complete(self, name: str, entry: Entry) -> None:
        """Keep how it ended, in the place of that it was begun."""
        await self._put(name, entry)

    async def forget(self, name: str) -> None:
        """Nothing was done: nothing is kept."""
        await self._driver.delete([layout.audit_entry(name)])

    async def list(self, asked: Asked, *, limit: int, last: str = "") -> tuple[list[KeptEntry], str | None]:
        """At most `limit` entries behind `last`, oldest first, and where the next page begins.

        A page looks at a bounded number of entries, and so may have fewer than there are.
        """
        after = max(last, "" if asked.since is None else _nanoseconds(asked.since))
        end = None if asked.until is None else _nanoseconds(asked.until)
        found: list[KeptEntry] = []
        names = await self._driver.children(layout.AUDIT, after=after, limit=_LOOKED_AT)
        for name in names:
            if end is not None and name >= end:
                return found, None
            if len(found) == limit:
                return found, after
            after = name
            if (kept := await self._read(name)) is not None and asked.wants(kept.entry):
                found.append(kept)
        return found, after if len(names) == _LOOKED_AT else None

    async def expire(self, stamped_now: Callable[[], Awaitable[float]], keep_for: timedelta) -> int:
        """Remove entries that are older; how many there were. `stamped_now` tells the store's own time.

        The oldest first, until a whole batch is younger: what is left costs one look at a batch.
        """
        expired = 0
        after = ""
        now: float | None = None
        while names := await self._driver.children(layout.AUDIT, after=after, limit=_BATCH):
            now = await stamped_now() if now is None else now
            old = [name for name in names if await self._age(name, now) > keep_for.total_seconds()]
            if not old:
                break
            await self._driver.delete([layout.audit_entry(name) for name in old])
            expired += len(old)
            after = names[-1]
        return expired

    async def _age(self, name: str, now: float) -> float:
        try:
            return now - (await self._driver.stat(layout.audit_entry(name))).modified_at.timestamp()
        except NotFound:
            return 0.0

    async def _put(self, name: str, entry: Entry) -> None:
        data = json.dumps(entry.document()).encode()
        await self._driver.put(layout.audit_entry(name), data)

    async def _read(self, name: str) -> KeptEntry | None:
        try:
            data = await self._driver.get(layout.audit_entry(name), limit=_LIMIT)
        except NotFound:
            return None
        except TooLarge:
            return KeptEntry(name, None)
        return KeptEntry(name, _entry(data))


def _entry(data: bytes) -> Entry | None:
    """An entry from what `document` made of it; None when it is none."""
    try:
        document = json.loads(data)
        at = datetime.fromisoformat(document.pop("time"))
        known = {field.name for field in fields(Entry)}
        texts = {key: value for key, value in document.items() if key in known and isinstance(value, str)}
        entry = Entry(**cast(Any, texts), at=at)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    sound = entry.event in get_args(Event) and entry.outcome in get_args(Outcome) and at.tzinfo is not None
    return entry if sound else None


def _nanoseconds(at: datetime) -> str:
    return f"{int(at.timestamp() * 1_000_000) * 1000:020d}"
