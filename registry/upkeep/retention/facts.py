"""What retention knows of a repository before it judges: its tags, and what leads to its manifests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable
from dataclasses import replace

from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.removal.claims import state_of
from registry.removal.hands import Hands
from registry.removal.mark import Step, handfuls, targets_of
from registry.removal.relations import ManifestFacts, each_manifest, leading_to
from registry.store import layout
from registry.store.store import Store
from registry.upkeep.retention.judging import TagFacts
from storage.errors import NotFound

_DEEP = 10_000  # manifests that one leads to
_LOOKED_AT = 20  # entries of a history, for when the tag was set to what it names


class Facts:
    """The facts of one store."""

    def __init__(self, store: Store, *, step: Step) -> None:
        self._store = store
        self._hands = Hands(store)
        self._step = step

    async def tags(self, name: RepositoryName, tags: Iterable[Tag]) -> list[TagFacts]:
        """What is known of those tags of a repository that can be read."""
        found: list[TagFacts | None] = []
        for some in handfuls(tags):
            await self._step()
            found += await self._store.effects.together(self._tag(name, tag) for tag in some)
        return [one for one in found if one is not None]

    async def targets(self, name: RepositoryName, tags: Iterable[Tag]) -> dict[Tag, Digest | None]:
        """What the tags name; None where that is nothing, or cannot be read."""
        return await targets_of(self._store, name, tags, self._step)

    async def with_lists(
        self, name: RepositoryName, tags: Iterable[TagFacts], matters: Callable[[Digest], bool]
    ) -> list[TagFacts]:
        """The same, with what the manifests of the tags lead to, at any depth, and matters."""
        chosen = list(tags)
        # Once for each manifest: it may have ten thousand tags, and list as many others.
        lists: dict[Digest, frozenset[Digest] | None] = {}
        for some in handfuls(dict.fromkeys(one.digest for one in chosen), 8):
            await self._step()
            found = await self._store.effects.together(self._listed(name, digest, matters) for digest in some)
            lists.update(zip(some, found, strict=True))
        listed = [(one, lists[one.digest]) for one in chosen]
        return [
            replace(one, unread=True) if list_ is None else replace(one, listed=list_)
            for one, list_ in listed
        ]

    async def _listed(
        self, name: RepositoryName, top: Digest, matters: Callable[[Digest], bool]
    ) -> frozenset[Digest] | None:
        """What a manifest leads to that matters; None where that cannot be told."""
        listed: set[Digest] = set()
        seen: set[Digest] = set()
        pending = [top]
        while pending:
            digest = pending.pop()
            if digest in seen:
                continue
            seen.add(digest)
            manifest = await self._hands.manifest(name, digest)
            if manifest is None and digest == top:
                return None
            if manifest is None:
                continue  # a blob, or of another platform than those that are here
            # What runs is known to some by the digest of its config.
            config = [] if manifest.config is None else [manifest.config.digest]
            children = [child.digest for child in manifest.children]
            listed.update(filter(matters, (*config, *children)))
            if len(seen) + len(pending) > _DEEP:
                return None
            pending += children
        return frozenset(listed)

    async def manifests(
        self, name: RepositoryName, in_use: Container[Digest]
    ) -> tuple[dict[Digest, ManifestFacts], set[Digest]]:
        """What is known of the manifests of a repository, and which of them are `in_use` or lead to such.

        Raises StorageDamaged if one cannot be read.
        """
        found: dict[Digest, ManifestFacts] = {}
        used: set[Digest] = set()
        async for digest, manifest, facts in each_manifest(self._store, name, self._step):
            found[digest] = facts
            # What runs is known to some by the digest of its config.
            if digest in in_use or (manifest.config is not None and manifest.config.digest in in_use):
                used.add(digest)
        return found, leading_to(found, used)

    async def lately_tagged(
        self, name: RepositoryName, digests: Collection[Digest], since: float
    ) -> set[Digest]:
        """Which of the manifests some tag has named after `since` (s), one that has gone by now too."""
        found: set[Digest] = set()
        history = self._store.history
        for some in handfuls(await history.tags(name)):
            await self._step()
            for tag in some:
                for key in reversed(await history.keys(name, tag)):
                    move = await history.read(key)
                    if move is None:
                        continue
                    told = move.at.timestamp()
                    # Whoever moved the tag may have been behind its time.
                    if told < since and await self._modified(key, told) < since:
                        break
                    found |= {
                        one for one in (move.digest, move.replaced) if one is not None and one in digests
                    }
        return found

    async def _tag(self, name: RepositoryName, tag: Tag) -> TagFacts | None:
        # Its history first: whatever is pushed after this is not in it, and so is seen before the tag goes.
        keys = await self._store.history.keys(name, tag)
        digest = await self._store.links.target(name, tag)
        try:
            written = (await self._store.driver.stat(layout.tag_link(name, tag))).modified_at.timestamp()
        except NotFound:
            return None
        if digest is None:
            return None
        pushed = written
        for key in keys[: -_LOOKED_AT - 1 : -1]:
            move = await self._store.history.read(key)
            if move is not None and move.digest == digest:
                # Whoever took the push may have been ahead of its time.
                entered = await self._modified(key, written)
                pushed = min(move.at.timestamp(), entered)
                written = max(written, entered)
                break
        return TagFacts(tag, digest, pushed, written, state_of(keys))

    async def _modified(self, key: str, otherwise: float) -> float:
        try:
            return (await self._store.driver.stat(key)).modified_at.timestamp()
        except NotFound:
            return otherwise
