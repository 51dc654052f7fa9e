"""What each tag was set to, and by whom: one object an entry.

The times in it are those of whoever wrote it, and order the view and nothing else. Where the order decides
anything, it is that of the times which the store stamps on the entries.
"""

from __future__ import annotations

import json
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from registry.errors import DigestInvalid, TagInvalid
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from registry.store.effects import Effects
from storage.contract import Driver
from storage.errors import NotFound

_LIMIT = 4096  # bytes of an entry


class Ends(StrEnum):
    """Which earlier pushes to a tag are over with a deletion: none of those is put back any more."""

    ALL = "all"  # the tag was deleted, whatever it named
    SAME = "same"  # what it named was, and the tag as long as it named that
    NONE = "none"  # a policy took it, and loses nothing to anybody


@dataclass(frozen=True, slots=True)
class Move:
    """One entry: the tag went from `replaced` to `digest` (None: it had not been, or was deleted)."""

    digest: Digest | None
    replaced: Digest | None
    by: str
    at: datetime
    ends: Ends = Ends.ALL  # of a deletion


class History:
    """The entries of one store."""

    def __init__(self, driver: Driver, effects: Effects) -> None:
        self._driver = driver
        self._effects = effects

    async def add(
        self,
        name: RepositoryName,
        tag: Tag,
        digest: Digest | None,
        replaced: Digest | None,
        by: str,
        ends: Ends = Ends.ALL,
    ) -> str:
        """Enter that `by` lets the tag name `digest` (None: deletes it), durably and before it is so.

        Gives the key of the entry.
        """
        now = self._effects.now()
        entry = {
            "digest": str(digest) if digest else None,
            "replaced": str(replaced) if replaced else None,
            "by": by,
            "at": now.isoformat(),
        }
        if digest is None:
            entry["ends"] = ends
        nanoseconds = int(now.timestamp() * 1_000_000) * 1000
        key = f"{layout.history(name, tag)}/{nanoseconds:020d}-{self._effects.unique()}"
        await self._driver.put(key, json.dumps(entry).encode())
        return key

    async def keys(self, name: RepositoryName, tag: Tag) -> list[str]:
        """The keys of a tag's entries, oldest first; a remover decides by them what it has judged."""
        prefix = layout.history(name, tag)
        return [f"{prefix}/{entry}" for entry in await self._driver.children(prefix)]

    async def tags(self, name: RepositoryName) -> list[Tag]:
        """The tags of a repository that have a history, whether they exist or not."""
        found = []
        for entry in await self._driver.children(layout.histories(name)):
            with suppress(TagInvalid):
                found.append(Tag(entry))
        return found

    async def newest(self, name: RepositoryName, tag: Tag, *, limit: int, before: str = "") -> list[str]:
        """The last segments of the keys of at most `limit` entries, newest first, of those before one."""
        kept: deque[str] = deque(maxlen=limit)
        async for key in self._driver.walk(layout.history(name, tag)):
            entry = key.rpartition("/")[2]
            if before and entry >= before:
                break
            kept.append(entry)
        return list(reversed(kept))

    async def who(self, name: RepositoryName, tag: Tag, digest: Digest) -> str | None:
        """Who let the tag name that last; None where it is not known that anybody did."""
        for key in reversed(await self.keys(name, tag)):
            move = await self.read(key)
            if move is not None and move.digest == digest:
                return move.by
        return None

    async def read(self, key: str) -> Move | None:
        """One entry; None when it has gone or is damaged."""
        try:
            entry = json.loads(await self._driver.get(key, limit=_LIMIT))
            return Move(
                Digest.parse(entry["digest"]) if entry["digest"] else None,
                Digest.parse(entry["replaced"]) if entry["replaced"] else None,
                str(entry["by"]),
                datetime.fromisoformat(entry["at"]),
                Ends(entry.get("ends", Ends.ALL)),
            )
        except (NotFound, DigestInvalid, ValueError, KeyError, TypeError):
            return None
