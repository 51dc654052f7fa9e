"""Intents: what writers that are under way are about to need."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from registry.errors import DigestInvalid
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
    manifest: Digest
    digests: Sequence[Digest]
    tags: Sequence[str]


class Intents:
    """The intents of one store."""

    def __init__(self, driver: Driver, effects: Effects) -> None:
        self._driver = driver
        self._effects = effects

    async def open(
        self, name: RepositoryName, manifest: Digest, digests: Iterable[Digest], tags: Iterable[Tag]
    ) -> str:
        """Announce that `manifest` with all `digests` is about to be needed, and that `tags` will name it.

        Gives what to `close` later.
        """
        uuid = self._effects.unique()
        intent = {
            "repository": name,
            "manifest": str(manifest),
            "digests": [str(digest) for digest in digests],
            "tags": list(tags),
        }
        await self._driver.put(layout.intent(uuid), json.dumps(intent).encode(), durable=False)
        return uuid

    async def close(self, uuid: str) -> None:
        """Take the announcement back: what was needed is linked now, or will not be."""
        # One that a power cut brings back is dead in a day, and until then stops a remover at worst.
        await self._driver.delete([layout.intent(uuid)], durable=False)

    async def needed(self, name: RepositoryName) -> set[Digest]:
        """What writers under way need in the repository; dead intents count too until they are swept."""
        return {digest async for intent in self._all(name) for digest in (intent.manifest, *intent.digests)}

    async def moving(self, name: RepositoryName, tag: Tag) -> set[Digest]:
        """The manifests that writers under way are about to let the tag name."""
        return {intent.manifest async for intent in self._all(name) if tag in intent.tags}

    async def _all(self, name: RepositoryName) -> AsyncIterator[_Intent]:
        for uuid in await self._driver.children(layout.INTENTS):
            try:
                intent = json.loads(await self._driver.get(layout.intent(uuid), limit=_LIMIT))
                if intent["repository"] == name:
                    digests = [Digest.parse(digest) for digest in intent["digests"]]
                    yield _Intent(Digest.parse(intent["manifest"]), digests, intent["tags"])
            except (NotFound, ValueError, KeyError, TypeError, DigestInvalid):
                # Closed meanwhile, or torn by a power cut, which its writer has not survived either.
                continue

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
                await self._driver.delete([layout.intent(uuid)])
                swept += 1
        return swept
