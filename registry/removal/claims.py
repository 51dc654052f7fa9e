"""Claims: what pushes want tags to name, as their history says it to whoever takes a tag away meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.removal.intents import Intents
from registry.removal.runs import Move, Runs
from registry.store import layout
from registry.store.store import Store
from storage.errors import AlreadyExists


def state_of(entries: Collection[str]) -> int:
    """What a history is at a time, by its keys, in short; for this process alone."""
    return hash(frozenset(entries))


@dataclass(frozen=True, slots=True)
class Judged:
    """What was seen of a tag's history before the tag is taken: `entries` are its keys.

    Those of a manifest in `moving` do not count as seen: whoever wrote one may not have moved the tag yet.
    """

    entries: frozenset[str]
    moving: frozenset[Digest]


class Claims:
    """The claims to the tags of one store; nothing is decided by the times in their history."""

    def __init__(self, store: Store, intents: Intents) -> None:
        self._store = store
        self._intents = intents
        self._runs = Runs(store.driver, store.effects)

    async def judge(self, name: RepositoryName, tag: Tag) -> Judged:
        """Look at a tag's history, before looking at the tag itself and taking it away."""
        entries = frozenset(await self._store.history.keys(name, tag))
        # In this order: a writer whose entry was just seen, and which has not moved the tag by the time
        # that it is read after this, still has its intent.
        return Judged(entries, await self._intents.moving(name, tag))

    async def of(
        self, name: RepositoryName, tag: Tag, judged: Judged, removed: Digest | None = None
    ) -> Digest | None:
        """What the tag is to name by an entry that was not judged, other than `removed`."""
        moving = judged.moving - {removed}
        for key in reversed(await self._store.history.keys(name, tag)):
            if key in judged.entries and not moving:
                continue
            move = await self._store.history.read(key)
            if move is None or move.digest is None or move.digest == removed:
                continue
            if key not in judged.entries or move.digest in moving:
                return move.digest
        return None

    async def _settled(self, judged: Judged) -> list[str]:
        """The entries that nobody goes by any more who may not have moved the tag yet."""
        if not judged.moving:
            return sorted(judged.entries)
        moves = {key: await self._store.history.read(key) for key in sorted(judged.entries)}
        return [key for key, move in moves.items() if move is None or move.digest not in judged.moving]

    async def mark(self, run: str, name: RepositoryName, judged: Mapping[Tag, Judged]) -> None:
        """Have it known that tags are about to go: if we die, others put back what pushes made of them."""
        moves = [Move(layout.tag_link(name, tag), f"{layout.trash_tag(name, tag)}/{run}") for tag in judged]
        settled = [key for one in judged.values() for key in await self._settled(one)]
        await self._runs.mark(run, name, moves, settled)

    async def put_back_newest(self, name: RepositoryName, tag: Tag, judged: frozenset[str]) -> None:
        """The same for somebody who died some time ago: what was done to the tag last has to stand."""
        for key in reversed(await self._store.history.keys(name, tag)):
            move = None if key in judged else await self._store.history.read(key)
            if move is None:
                continue
            if move.digest is not None and await self._store.manifests.exists(name, move.digest):
                with suppress(AlreadyExists):
                    await self._store.links.put_tag(name, tag, move.digest, if_absent=True)
            return

    async def put_back(
        self, name: RepositoryName, tag: Tag, judged: Judged, removed: Digest | None = None
    ) -> None:
        """A push that moved the tag elsewhere meanwhile must not lose it by a removal."""
        claimed = await self.of(name, tag, judged, removed)
        if claimed is not None:
            with suppress(AlreadyExists):
                await self._store.links.put_tag(name, tag, claimed, if_absent=True)
