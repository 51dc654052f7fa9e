"""What a count of all bytes says: how much there is, of what, and when that was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from datetime import datetime

from registry.model.units import format_size
from registry.store import layout
from registry.store.store import Store
from registry.work.reports import ReportsOf
from storage.errors import NotFound, TooLarge

MOST_ROWS = 100_000
_LIMIT = 64 << 20  # bytes of rows
_KEPT = 2


@dataclass(frozen=True, slots=True)
class Row:
    """A repository, or with a `/` behind its name all that is below a prefix, each blob of it once.

    `unneeded_bytes` of them no manifest there refers to, and `freed_bytes` nothing outside of it links to.
    """

    name: str
    size_bytes: int
    unneeded_bytes: int
    freed_bytes: int
    repositories: int
    blobs: int


@dataclass(frozen=True, slots=True)
class QuotaCounted:
    """What counted for the quota of a prefix."""

    prefix: str
    used_bytes: int


@dataclass(slots=True)
class Count:
    """One count of a whole store; `missing` links lead to no bytes, and `unread` manifests or links to none.

    Of the rows, which lie beside it, the largest hundred thousand are kept. `epochs` are those of the storage
    in which there was a count.
    """

    began: datetime
    by: str
    ended: datetime | None = None
    repositories: int = 0
    blobs: int = 0
    size_bytes: int = 0
    unneeded_bytes: int = 0
    missing: int = 0
    unread: int = 0
    rows: int = 0
    quotas: list[QuotaCounted] = field(default_factory=list)
    epochs: list[str] = field(default_factory=list)

    def told(self) -> str:
        """A few lines for people."""
        whole = f"{format_size(self.size_bytes)} in {self.blobs} blobs and manifests"
        lines = [
            f"counted {self.repositories} repositories: {whole}, {format_size(self.unneeded_bytes)} unneeded"
        ]
        lines += [f"for the quota of {one.prefix} count {format_size(one.used_bytes)}" for one in self.quotas]
        if self.missing or self.unread:
            lines.append(
                f"links that lead to no bytes: {self.missing}, manifests and links that cannot be read:"
                f" {self.unread}; `moorage storage check` tells which"
            )
        return "\n".join(lines)


class UsageReports(ReportsOf[Count]):
    """The counts of one store: what they say as a whole, and the rows of the last ones."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, "usage", Count)
        self._store = store

    async def put_rows(self, key: str, rows: Sequence[Row]) -> None:
        """Keep the rows of a report that is about to be saved under a key."""

        def written() -> bytes:
            return json.dumps([astuple(row) for row in rows], separators=(",", ":")).encode()

        data = await self._store.effects.aside(written)
        await self._store.driver.put(_rows(key), data, durable=False)

    async def rows(self, key: str) -> list[Row] | None:
        """The rows of a report, the largest first; None when they are not kept, or cannot be read."""

        def read(data: bytes) -> list[Row]:
            return [Row(*one) for one in json.loads(data)]

        with suppress(NotFound, TooLarge, ValueError, TypeError):
            data = await self._store.driver.get(_rows(key), limit=_LIMIT)
            return await self._store.effects.aside(read, data)
        return None

    def now(self) -> datetime:
        """The present by this process's own clock, to tell how old a count is."""
        return self._store.effects.now()

    async def began(self) -> float | None:
        """When the last count that came to its end began, in seconds by the store's clock."""
        names = await self._store.driver.children(layout.reports("usage"))
        for name in reversed(names):
            with suppress(ValueError):
                return int(name.partition("-")[0]) / 1e9
        return None

    async def trim(self, key: str) -> None:
        """Let go of all but the last ones."""
        await super().trim(key)
        prefix = layout.reports("usage-rows")
        keys = [f"{prefix}/{name}" for name in await self._store.driver.children(prefix)]
        kept = [one for one in keys if one <= _rows(key)][-_KEPT:]
        await self._store.driver.delete([one for one in keys if one not in kept], durable=False)


def _rows(key: str) -> str:
    return f"{layout.reports('usage-rows')}/{key.rpartition('/')[2]}"
