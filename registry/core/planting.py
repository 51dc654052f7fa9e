"""Planting: manifests that are all to stand before a tag names one of them, pushed as anybody pushes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

from registry.core.pushes import Pushes
from registry.core.trees import Read
from registry.errors import ManifestBlobUnknown, ManifestUnknown, RegistryError, Unavailable
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.tag_rights import TagRights
from registry.removal.intents import LIFE, RENEW, Intents
from registry.store.store import Store

_TRIES = 10
_TOLD = 20  # of the tags that were set before an error
_STAYS = "what was done before that stays, and the same again goes on from there"


class Planting:
    """How one operation lets a repository have manifests and tags; by `by`, within `rights`.

    `wrote` says that something was written, `replaced` what each tag named that was set (None: it was new).
    """

    def __init__(
        self,
        store: Store,
        intents: Intents,
        pushes: Pushes,
        name: RepositoryName,
        by: str,
        rights: TagRights,
    ) -> None:
        self._store = store
        self._intents = intents
        self._pushes = pushes
        self._name = name
        self._by = by
        self._rights = rights
        self._tries = _TRIES
        self._needed: frozenset[Digest] = frozenset()
        self._announced: list[str] = []
        self.wrote = False
        self.replaced: dict[Tag, Digest | None] = {}

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        """Around all of it: what was announced is taken back, and an error tells what was done before it."""
        try:
            yield
        except RegistryError as error:
            if self.wrote:
                tags = [f"{self._name}:{tag}" for tag in self.replaced]
                told = ", ".join(tags[:_TOLD]) + (
                    "" if len(tags) <= _TOLD else f" and {len(tags) - _TOLD} more"
                )
                error.half_done(f"{_STAYS} (set: {told})" if tags else _STAYS)
            raise
        finally:
            await self._close(list(self._announced))

    async def announce(self, needed: Collection[Digest]) -> None:
        """Say what must not go from now on. The caller looks for it behind this, whatever it saw before."""
        before = list(self._announced)
        self._needed = frozenset(needed)
        await self._open()
        await self._close(before)

    async def plant(self, manifests: Sequence[Digest], tags: Mapping[Tag, Digest], read: Read) -> bool:
        """Push manifests, each behind those that it lists, with the tags that are to name it.

        What they need was announced. False when something was deleted since the caller has looked: then it
        is to look again. Raises what a push raises.
        """
        self.wrote = True
        named: dict[Digest, list[Tag]] = {}
        for tag, digest in tags.items():
            named.setdefault(digest, []).append(tag)
        for digest in manifests:
            if not await self._renew():
                return self._again(Unavailable(f"{self._name} takes too long; try again"))
            stored = await read(digest)
            if stored is None:
                return self._again(
                    ManifestUnknown(f"{digest} went meanwhile", detail={"digest": str(digest)})
                )
            try:
                pushed = await self._pushes.push(
                    self._name,
                    digest,
                    stored.content,
                    stored.media_type,
                    named.get(digest, ()),
                    self._by,
                    self._rights,
                )
            except ManifestBlobUnknown as error:
                return self._again(error)
            for tag, before in pushed.replaced.items():
                self.replaced.setdefault(tag, before)
        return True

    def _again(self, error: RegistryError) -> bool:
        """False a few times: a delete is in the way once or twice. What it is every time, is told."""
        self._tries -= 1
        if self._tries == 0:
            raise error
        return False

    async def _renew(self) -> bool:
        """Announce it once more before the announcement is too old; whether that was in time."""
        begun = self._begun
        if self._store.effects.now() - begun > RENEW:
            # The older ones stay: a remover that has listed them before, and reads them now, sees them.
            await self._open()
        return self._store.effects.now() - begun < LIFE / 2

    async def _open(self) -> None:
        self._begun = self._store.effects.now()
        # The pushes say which tags they move; this says what must not go meanwhile.
        manifest = next(iter(self._needed))
        self._announced.append(await self._intents.open(self._name, manifest, self._needed, ()))

    async def _close(self, announced: Sequence[str]) -> None:
        for intent in announced:
            await self._intents.close(intent)
            self._announced.remove(intent)
