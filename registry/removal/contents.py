"""What a removal holds in the trash, one thing after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from registry.errors import StorageDamaged
from registry.model.digests import Digest
from registry.model.names import Tag
from registry.removal.mark import AT_ONCE
from registry.removal.runs import Move, Run
from registry.removal.trashed import Trashed
from registry.store import parsing
from registry.store.store import Store
from storage.errors import NotFound


@dataclass(frozen=True, slots=True)
class Held:
    """A tag with what it named, a manifest or a blob of a repository, or data.

    There is no `digest` where a tag cannot be read, and no size of a tag, nor where no bytes are left.
    """

    kind: Literal["tag", "manifest", "blob", "data"]
    tag: Tag | None
    digest: Digest | None
    size_bytes: int | None


class Contents:
    """What removals hold in the trash of one store."""

    def __init__(self, store: Store, trashed: Trashed) -> None:
        self._store = store
        self._trashed = trashed

    async def page(self, run: Run, begin: int, most: int) -> tuple[list[Held], int | None]:
        """What a run holds from a place in its record on; and the place where the rest begins, None if none.

        What it has recorded and not taken, or has put back, is left out.
        """
        found: list[Held] = []
        while begin < len(run.moves) and len(found) < most:
            some = run.moves[begin : begin + min(AT_ONCE, most - len(found))]
            looks = await self._store.effects.together(self._held(move) for move in some)
            found += [one for one in looks if one is not None]
            begin += len(some)
        return found, begin if begin < len(run.moves) else None

    async def _held(self, move: Move) -> Held | None:
        try:
            if (digest := parsing.blob_of(move.key)) is not None:
                return Held("data", None, digest, await self._size(move))
            if (tag := parsing.tag_of(move.key)) is not None:
                return Held("tag", tag, await self._target(move), None)
            if parsing.is_whole_manifest(move.key):
                return Held("manifest", None, parsing.manifest_of(move.key), await self._size(move))
            target = await self._target(move)
        except NotFound:
            return None
        size = max(await self._trashed.sizes(target), default=None) if target is not None else None
        layer = parsing.layer_of(move.key)
        return Held("blob" if layer else "manifest", None, layer or parsing.manifest_of(move.key), size)

    async def _size(self, move: Move) -> int:
        return (await self._store.driver.stat(move.trash)).size_bytes

    async def _target(self, move: Move) -> Digest | None:
        """What the link contains; None where that cannot be read. Raises storage NotFound."""
        try:
            return await self._store.links.read(move.trash)
        except StorageDamaged:
            return None
