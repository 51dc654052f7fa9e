"""Claims: what pushes want tags to name, as their history says it to whoever takes a tag away meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.removal import runs
from registry.removal.intents import Intents
from registry.store import layout
from registry.store.history import Ends, Move
from registry.store.store import Store
from storage.errors import AlreadyExists, NotFound


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
        self._runs = runs.Runs(store.driver, store.effects)

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
        moves: dict[str, Move] = {}
        for key in await self._store.history.keys(name, tag):
            is_judged = key in judged.entries
            if is_judged and not moving:
                continue
            move = await self._store.history.read(key)
            if move is None or (is_judged and move.digest not in moving):
                continue
            if move.digest is None or move.digest != removed:
                moves[key] = move
        return await self._standing(moves)

    async def _standing(self, moves: Mapping[str, Move]) -> Digest | None:
        """What a tag is to name by these entries: the last push that no deletion has ended.

        Which was first is told by the times that the store has stamped on them. Where they are the same, the
        deletion counts as later: the tag of a push can be set again, and nobody sees that a deleted one came
        back.
        """
        times: dict[str, datetime] = {}
        if len(moves) > 1:
            for key in moves:
                with suppress(NotFound):
                    times[key] = (await self._store.driver.stat(key)).modified_at
            moves = {key: moves[key] for key in times}
        deletions = {key: move for key, move in moves.items() if move.digest is None}
        pushes = {
            key: move
            for key, move in moves.items()
            if move.digest is not None
            and not any(_ends(one, move) and times[key] <= times[at] for at, one in deletions.items())
        }
        newest = max((times[key] for key in pushes if key in times), default=None)
        last = [move for key, move in pushes.items() if times.get(key) == newest]
        # Of those of one time, what was found by another of them is not the last.
        found = {move.replaced for move in last if move.replaced != move.digest}
        last = [move for move in last if move.digest not in found] or last
        return last[-1].digest if last else None

    async def _settled(self, judged: Judged) -> list[str]:
        """The entries that nobody goes by any more who may not have moved the tag yet."""
        if not judged.moving:
            return sorted(judged.entries)
        moves = {key: await self._store.history.read(key) for key in sorted(judged.entries)}
        return [key for key, move in moves.items() if move is None or move.digest not in judged.moving]

    async def mark(self, run: str, name: RepositoryName, judged: Mapping[Tag, Judged]) -> None:
        """Have it known that tags are about to go: if we die, others put back what pushes made of them."""
        moves = [
            runs.Move(layout.tag_link(name, tag), f"{layout.trash_tag(name, tag)}/{run}") for tag in judged
        ]
        settled = [key for one in judged.values() for key in await self._settled(one)]
        await self._runs.mark(run, name, moves, settled)

    async def put_back_newest(self, name: RepositoryName, tag: Tag, judged: frozenset[str]) -> None:
        """The same for somebody who died some time ago: what was done to the tag last has to stand."""
        moves = {
            key: move
            for key in await self._store.history.keys(name, tag)
            if key not in judged and (move := await self._store.history.read(key)) is not None
        }
        claimed = await self._standing(moves)
        if claimed is not None and await self._store.manifests.exists(name, claimed):
            with suppress(AlreadyExists):
                await self._store.links.put_tag(name, tag, claimed, if_absent=True)

    async def put_back(
        self, name: RepositoryName, tag: Tag, judged: Judged, removed: Digest | None = None
    ) -> None:
        """A push that moved the tag elsewhere meanwhile must not lose it by a removal."""
        claimed = await self.of(name, tag, judged, removed)
        while claimed is not None:
            try:
                await self._store.links.put_tag(name, tag, claimed, if_absent=True)
            except AlreadyExists:
                return
            again = await self.of(name, tag, judged, removed)
            if again == claimed:
                return
            # Deleted between the two looks, and so in somebody's trash; or pushed elsewhere.
            if await self._store.links.target(name, tag) == claimed:
                await self._store.driver.delete(await self._store.tag_keys(name, tag))
            claimed = await self.of(name, tag, judged, removed)


def _ends(deletion: Move, push: Move) -> bool:
    """Whether a push that came first is over with a deletion."""
    if deletion.ends is Ends.SAME:
        return push.digest == deletion.replaced
    return deletion.ends is Ends.ALL
