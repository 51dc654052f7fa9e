"""Intents: what writers that are under way are about to need."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from registry.errors import DigestInvalid, Unsupported
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from registry.store.effects import Effects
from storage.contract import Driver
from storage.errors import NotFound

# An intent older than this is dead: its writer has started again long before, or died.
LIFE = timedelta(hours=24)
# A writer that took longer than this starts again with a new intent.
RENEW = timedelta(hours=1)
_LIMIT = 64 << 20  # bytes; an intent names every reference of its manifest


@dataclass(frozen=True, slots=True)
class _Intent:
    repository: str
    # With the tags that each is about to be named by.
    manifests: Mapping[Digest, Sequence[str]]
    digests: Sequence[Digest]

    @property
    def needed(self) -> tuple[Digest, ...]:
        return (*self.manifests, *self.digests)


class Intents:
    """The intents of one store."""

    def __init__(self, driver: Driver, effects: Effects, *, remembers: bool = False) -> None:
        self._driver = driver
        self._effects = effects
        # None of them ever changes: who asks again and again has each read once.
        self._read: dict[str, _Intent | None] | None = {} if remembers else None

    async def open(
        self, name: RepositoryName, manifest: Digest, digests: Iterable[Digest], tags: Iterable[Tag]
    ) -> str:
        """Announce that `manifest` with all `digests` is about to be needed, and that `tags` will name it.

        Gives what to `close` later. Raises Unsupported when that is more than others could read.
        """
        return await self.open_all(name, {manifest: tags}, digests)

    async def open_all(
        self, name: RepositoryName, manifests: Mapping[Digest, Iterable[Tag]], digests: Iterable[Digest]
    ) -> str:
        """Announce several `manifests`, each with the tags that will name it; see `open`."""
        uuid = self._effects.unique()
        told = {str(manifest): list(tags) for manifest, tags in manifests.items()}
        first, *others = told
        intent: dict[str, object] = {
            "repository": name,
            "manifest": first,
            "digests": [str(digest) for digest in digests],
            "tags": told[first],
        }
        if others:
            intent["others"] = {manifest: told[manifest] for manifest in others}
        content = json.dumps(intent).encode()
        if len(content) > _LIMIT:
            raise Unsupported("this refers to more content than can be announced at once")
        await self._driver.put(layout.intent(uuid), content, durable=False)
        return uuid

    async def close(self, uuid: str) -> None:
        """Take the announcement back: what was needed is linked now, or will not be."""
        # One that a power cut brings back is dead in a day, and until then stops a remover at worst.
        await self._driver.delete([layout.intent(uuid)], durable=False)

    async def needed(self, name: RepositoryName) -> set[Digest]:
        """What writers under way need in the repository; dead intents count too until they are swept."""
        return {digest async for intent in self._all(name) for digest in intent.needed}

    async def referred_to(self, name: RepositoryName) -> set[Digest]:
        """What the manifests refer to that writers under way are putting into the repository."""
        return {digest async for intent in self._all(name) for digest in intent.digests}

    async def needed_anywhere(self) -> set[Digest]:
        """What writers under way need in any repository."""
        return {digest async for intent in self._all(None) for digest in intent.needed}

    async def young(self, now: float) -> list[tuple[str, frozenset[Digest]]]:
        """The repositories of writers that may still go by their intents, each with what that one needs.

        `now` in seconds by the store's own clock.
        """
        needed: list[tuple[str, frozenset[Digest]]] = []
        for uuid in await self._driver.children(layout.INTENTS):
            try:
                written = (await self._driver.stat(layout.intent(uuid))).modified_at.timestamp()
            except NotFound:
                continue
            # A writer looks whether it has taken too long, and writes a moment later.
            intent = await self._one(uuid) if now - written <= 2 * RENEW.total_seconds() else None
            if intent is not None:
                needed.append((intent.repository, frozenset(intent.needed)))
        return needed

    async def repositories(self) -> set[str]:
        """Where writers are under way."""
        return {intent.repository async for intent in self._all(None)}

    async def moving(self, name: RepositoryName, tag: Tag) -> frozenset[Digest]:
        """The manifests that writers under way are about to let the tag name."""
        return frozenset(
            {
                manifest
                async for intent in self._all(name)
                for manifest, tags in intent.manifests.items()
                if tag in tags
            }
        )

    async def _all(self, name: RepositoryName | None) -> AsyncIterator[_Intent]:
        uuids = await self._driver.children(layout.INTENTS)
        if self._read is not None:
            self._read = {uuid: self._read[uuid] for uuid in uuids if uuid in self._read}
        for uuid in uuids:
            intent = await self._one(uuid)
            if intent is not None and (name is None or intent.repository == name):
                yield intent

    async def _one(self, uuid: str) -> _Intent | None:
        if self._read is not None and uuid in self._read:
            return self._read[uuid]
        try:
            intent = json.loads(await self._driver.get(layout.intent(uuid), limit=_LIMIT))
            digests = [Digest.parse(digest) for digest in intent["digests"]]
            told = {intent["manifest"]: intent["tags"], **intent.get("others", {})}
            manifests = {Digest.parse(manifest): tags for manifest, tags in told.items()}
            found = _Intent(intent["repository"], manifests, digests)
        except (NotFound, ValueError, KeyError, TypeError, AttributeError, DigestInvalid):
            # Closed meanwhile, or torn by a power cut, which its writer has not survived either.
            found = None
        if self._read is not None:
            self._read[uuid] = found
        return found

    async def any(self) -> bool:
        """Whether there is an intent, alive or dead."""
        return bool(await self._driver.children(layout.INTENTS, limit=1))

    async def sweep(self, now: float) -> int:
        """Remove the dead; `now` in seconds by the store's own clock. How many there were."""
        swept = 0
        for uuid in await self._driver.children(layout.INTENTS):
            try:
                written = (await self._driver.stat(layout.intent(uuid))).modified_at.timestamp()
            except NotFound:
                continue
            if now - written > LIFE.total_seconds():
                await self.close(uuid)
                swept += 1
        return swept
