"""What a namespace holds that came from elsewhere, and what of it goes first where that is too much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from registry.core.last_pulls import LastPulls
from registry.mirror.settings import MirrorSettings
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag, subject_of
from registry.model.selection import newest
from registry.removal.claims import state_of
from registry.removal.mark import Step, handfuls
from registry.removal.relations import ManifestFacts, each_manifest, in_order, leading_to, unneeded
from registry.store.store import Store
from registry.upkeep.retention.in_use import InUse
from storage.errors import NotFound

Use = tuple[date, float]
"""The day on which something was last used, by the store's clock, and when (s) it was fetched."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A manifest that may go: its tags, each with what its history was (`state_of`), and what it needs.

    `written` is when it was given to the repository; `used` is never before that of what leads to it.
    """

    name: RepositoryName
    digest: Digest
    written: float
    tags: Mapping[Tag, int]
    used: Use
    halves: tuple[int, ...]

    def __str__(self) -> str:
        tags = f":{','.join(self.tags)}" if self.tags else ""
        return f"{self.name}{tags}@{self.digest}"


@dataclass(slots=True)
class _Repository:
    """What is read of a repository: its manifests, their bytes and blobs, and what its tags name."""

    name: RepositoryName
    manifests: dict[Digest, ManifestFacts] = field(default_factory=dict)
    halves: dict[Digest, tuple[int, ...]] = field(default_factory=dict)
    tags: dict[Tag, tuple[Digest, int]] = field(default_factory=dict)
    # What somebody of here has pushed, by a tag or without one; and what is pinned, or runs somewhere.
    hosted: set[Digest] = field(default_factory=set)
    pinned: set[Digest] = field(default_factory=set)


class Holdings:
    """The repositories of one namespace, read one by one; a kilobyte a manifest, 200 bytes a blob.

    `by` is who lets tags name what came from elsewhere; what is `in_use` does not go. `known` are
    sizes of blobs, by halves of digests.
    """

    def __init__(
        self,
        store: Store,
        settings: MirrorSettings,
        by: str,
        pulls: LastPulls,
        in_use: InUse,
        known: Mapping[int, int],
        *,
        step: Step,
    ) -> None:
        self._store = store
        self._settings = settings
        self._by = by
        self._pulls = pulls
        self._in_use = in_use
        self._sizes = dict(known)
        self._step = step
        self._evictable: list[Holding] = []
        self._needing: Counter[int] = Counter()
        self._pinned: set[int] = set()
        self._hosted: set[int] = set()
        self._linked: set[int] = set()

    async def read(self, name: RepositoryName) -> None:
        """Take a repository in. Raises StorageDamaged, and none of it counts, if one manifest is."""
        repository = await self._read(name)
        manifests = repository.manifests
        hosted = manifests.keys() - unneeded(manifests, repository.hosted)
        free = unneeded(manifests, repository.hosted | repository.pinned)
        self._hosted.update(half for digest in hosted for half in repository.halves[digest])
        pinned = manifests.keys() - hosted - free
        self._pinned.update(half for digest in pinned for half in repository.halves[digest])
        for holding in self._holdings(repository, free):
            self._evictable.append(holding)
            self._needing.update(set(holding.halves))

    @property
    def held_bytes(self) -> int:
        """How much of what came from elsewhere manifests need that came from there, too, and nobody's."""
        return self._bytes((self._pinned | self._needing.keys()) - self._hosted)

    @property
    def pinned_bytes(self) -> int:
        """How much of that is pinned, in use, or is to be mirrored."""
        return self._bytes(self._pinned - self._hosted)

    @property
    def unneeded_bytes(self) -> int:
        """How much lies there that no manifest needs: the next collections take it."""
        return self._bytes(self._linked - self._pinned - self._needing.keys() - self._hosted)

    @property
    def sizes(self) -> dict[int, int]:
        """The sizes of the blobs that are there, by halves of their digests."""
        return {half: size for half in self._linked if (size := self._sizes[half])}

    def surplus(self, most: int, down_to: int) -> Iterator[tuple[Holding, int]]:
        """What has to go, with the bytes that this frees, if more than `most` bytes are held.

        The least recently used first, and of what was used on the same day what was fetched longest ago; what
        leads to others is before them.
        """
        held = self.held_bytes
        if held <= most:
            return
        needing = self._needing.copy()
        kept = self._pinned | self._hosted
        for one in sorted(self._evictable, key=lambda one: one.used):
            if held <= down_to:
                return
            freed = 0
            for half in set(one.halves):
                needing[half] -= 1
                if not needing[half] and half not in kept:
                    freed += self._sizes[half]
            held -= freed
            yield one, freed

    def _bytes(self, halves: Iterable[int]) -> int:
        return sum(self._sizes[half] for half in halves)

    async def _read(self, name: RepositoryName) -> _Repository:
        store, found = self._store, _Repository(name)
        linked = {digest async for digest in store.links.layers(name)}
        async for digest, manifest, facts in each_manifest(store, name, self._step):
            found.manifests[digest] = facts
            # Blobs come when they are asked for.
            needed = {one.digest for one in manifest.references} & linked
            found.halves[digest] = (digest.half, *(one.half for one in needed))
            self._sizes[digest.half] = len(manifest.content)
            # Some engines tell of what runs by the digest of its config.
            named = (digest, *(one.digest for one in manifest.references))
            if not self._in_use.digests.keys().isdisjoint(named):
                found.pinned.add(digest)
        await self._look_up(linked)
        self._linked.update(digest.half for digest in linked)
        found.hosted = found.manifests.keys() - (await store.origins.of(name)).cached
        for some in handfuls(await store.links.tags(name)):
            await self._step()
            await store.effects.together(self._tag(found, tag) for tag in some)
        pins = await store.pins.of(name)
        selected = self._selected(
            name, [tag for tag, (one, _) in found.tags.items() if one not in found.hosted]
        )
        used = self._used_tags(name)
        found.pinned.update(one for tag, (one, _) in found.tags.items() if tag in used)
        # Who runs an image may have asked for an index that leads to it.
        found.pinned = leading_to(found.manifests, found.pinned)
        if None in pins:
            found.pinned = set(found.manifests)
        found.pinned |= {one for one in pins if isinstance(one, Digest)}
        found.pinned |= {one for tag, (one, _) in found.tags.items() if tag in pins or tag in selected}
        return found

    async def _tag(self, found: _Repository, tag: Tag) -> None:
        # Its history first: whatever is pushed after this is not in it, and so is seen before the tag goes.
        keys = await self._store.history.keys(found.name, tag)
        digest = await self._store.links.target(found.name, tag)
        if digest is None or digest not in found.manifests:
            return
        found.tags[tag] = digest, state_of(keys)
        if await self._store.history.who(found.name, tag, digest) != self._by:
            found.hosted.add(digest)
        facts = found.manifests[digest]
        subject = subject_of(tag)
        if facts.subject is None and subject != digest and subject in found.manifests:
            # So signatures are kept where there are no referrers.
            facts.subject = subject

    async def _look_up(self, digests: Collection[Digest]) -> None:
        """Find out how large blobs are of which that is not known."""
        for some in handfuls(one for one in digests if one.half not in self._sizes):
            await self._step()
            sizes = await self._store.effects.together(self._size(digest) for digest in some)
            self._sizes.update(zip((one.half for one in some), sizes, strict=True))

    async def _size(self, digest: Digest) -> int:
        try:
            return (await self._store.content.stat(digest)).size_bytes
        except NotFound:
            return 0

    def _used_tags(self, name: RepositoryName) -> set[Tag]:
        """The tags of a repository that run somewhere, by our name for it or by one that an upstream has."""
        there = name.removeprefix(f"{self._settings.name}/")
        names = [name, there]
        if self._settings.adds_library:
            names.append(there.removeprefix("library/"))
        return {tag for one in names for tag in self._in_use.tags.get(RepositoryName(one), ())}

    def _selected(self, name: RepositoryName, tags: Collection[Tag]) -> set[Tag]:
        """Those of the tags that are mirrored without being asked for: they would only come again."""
        there = name.removeprefix(f"{self._settings.name}/")
        selected: set[Tag] = set()
        for section in self._settings.sync:
            if section.selection.has_repository(there):
                selected.update(newest([tag for tag in tags if section.selection.has(tag)], section.newest))
        return selected

    def _holdings(self, repository: _Repository, free: Collection[Digest]) -> Iterator[Holding]:
        """What of a repository may go, what leads to others before them."""
        manifests = repository.manifests
        tags: dict[Digest, dict[Tag, int]] = {}
        for tag, (digest, state) in repository.tags.items():
            tags.setdefault(digest, {})[tag] = state
        used = {one: self._used(repository.name, one, manifests[one], tags.get(one, ())) for one in free}
        referrers: dict[Digest, list[Digest]] = {}
        for digest in free:
            if (subject := manifests[digest].subject) is not None:
                referrers.setdefault(subject, []).append(digest)
        for digest in in_order(free, manifests):
            for other in (*manifests[digest].listed, *referrers.get(digest, ())):
                # It stays as long as what leads to it does.
                if other in used:
                    used[other] = max(used[other], used[digest])
            yield Holding(
                repository.name,
                digest,
                manifests[digest].written,
                tags.get(digest, {}),
                used[digest],
                repository.halves[digest],
            )

    def _used(self, name: RepositoryName, digest: Digest, facts: ManifestFacts, tags: Iterable[Tag]) -> Use:
        days = [self._pulls.of(name, tag, digest) for tag in (None, *tags)]
        # Until then anything may have been used.
        days += [self._pulls.uncovered_until, datetime.fromtimestamp(facts.written, UTC).date()]
        return max(day for day in days if day is not None), facts.written
