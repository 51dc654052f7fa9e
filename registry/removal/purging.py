"""Purging: content goes for good, from wherever it lies, and what makes anybody have it goes first.

It is blocked before (registry/store/blocked.py), so that nobody who has seen that serves or stores it. What
others have stored until then is found when it is done again, as each collection does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field

from registry.errors import ManifestUnknown, NameInvalid, RegistryError
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.removal.claims import Claims
from registry.removal.intents import Intents
from registry.removal.mark import Step, found, handfuls, targets_of
from registry.removal.runs import Runs
from registry.removal.trash import BY_POLICY
from registry.store import layout, parsing
from registry.store.history import Ends
from registry.store.store import Store
from storage.errors import NotFound

_ALGORITHMS = ("sha256", "sha512")


@dataclass(frozen=True, slots=True)
class Needing:
    """A manifest that refers to what was purged, and the tags that name it."""

    repository: str
    manifest: str
    tags: list[str]


@dataclass(slots=True)
class Purge:
    """What was removed: links of repositories, tags, data, and copies in the trash and in quarantine.

    `others` are on their way from elsewhere, or in what can be no repository. `needing` refer to it and have
    lost it; `unread` are manifests of which that cannot be told.
    """

    links: int = 0
    tags: list[str] = field(default_factory=list)
    trashed: int = 0
    quarantined: int = 0
    data: int = 0
    others: int = 0
    needing: list[Needing] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    @property
    def found(self) -> bool:
        """Whether there was anything of it, or a manifest that needs it."""
        places = self.links + self.trashed + self.quarantined + self.data + self.others
        return bool(places or self.tags or self.needing)

    def add(self, other: Purge) -> None:
        """Count in what was found when it was done again."""
        self.links += other.links
        self.tags += other.tags
        self.trashed += other.trashed
        self.quarantined += other.quarantined
        self.data += other.data
        self.others += other.others
        self.needing += [one for one in other.needing if one not in self.needing]
        self.unread += [one for one in other.unread if one not in self.unread]


class Purging:
    """Purges of one store by `by`; `step` is called between handfuls of work. A `dry_run` only looks."""

    def __init__(self, store: Store, *, by: str, step: Step, dry_run: bool = False) -> None:
        self._store = store
        self._driver = store.driver
        self._claims = Claims(store, Intents(store.driver, store.effects))
        self._runs = Runs(store.driver, store.effects)
        self._by = by
        self._step = step
        self._dry_run = dry_run

    async def same(self, digest: Digest) -> tuple[Digest, ...]:
        """All digests that the content has which has this one: the same bytes must not come back by another.

        Just the one where the bytes are not found.
        """
        if (block := self._store.blocked.of(digest)) is not None:
            return block.digests
        async for digests in self._hashed(digest):
            if digest in digests:
                return (digest, *(one for one in digests if one != digest))
        return (digest,)

    async def remove(self, digests: Iterable[Digest], *, everywhere: bool = False) -> Purge:
        """Remove all that has these digests.

        Who needs it and names it is looked for where it was, or `everywhere`, as after a purge that came
        half-way.
        """
        gone = frozenset(digests)
        purge = Purge()
        places: dict[RepositoryName, list[str]] = {}
        async for key in self._places(gone):
            name = _repository(key)
            if name is not None:
                places.setdefault(name, []).append(key)
            else:
                await self._destroy([key])
                purge.others += 1
        others = [name async for name in self._store.catalog.tree()] if everywhere else []
        for name in dict.fromkeys((*places, *others)):
            await self._tell_needing(name, gone, purge)
        for name, keys in places.items():
            await self._remove_from(name, keys, gone, purge)
        for name in others:
            # Somebody who died may have let a tag name what was away by then.
            await self.remove_tags(name, gone, purge)
        async for key in self._driver.walk(layout.TRASH_LINKS):
            if parsing.content_of(key) in gone:
                await self._destroy([key])
                purge.trashed += 1
        async for key in self._driver.walk(layout.TRANSFERS):
            if parsing.content_of(key) in gone:
                await self._destroy([key])
                purge.others += 1
        for digest in sorted(gone, key=str):
            purge.trashed += await self._empty(layout.trash_data(digest))
            purge.quarantined += await self._empty(layout.quarantined(digest))
            purge.data += await self._empty(layout.blob_data(digest).rpartition("/")[0])
        return purge

    async def _places(self, gone: frozenset[Digest]) -> AsyncIterator[str]:
        """Links to it, and manifests that lie whole."""
        async for repository in found(self._store, self._step):
            for digests, link in repository.links:
                for digest in gone.intersection(digests):
                    yield link(repository.path, digest)
        async for key in self._driver.walk(layout.WHOLE_MANIFESTS):
            if parsing.content_of(key) in gone:
                yield key

    async def _remove_from(
        self, name: RepositoryName, keys: Sequence[str], gone: frozenset[Digest], purge: Purge
    ) -> None:
        """Tags and descriptions first: while the link stands, whoever does this again finds them."""
        if any(parsing.manifest_of(key) for key in keys):
            await self.remove_tags(name, gone, purge)
            described = [key async for key in self._driver.walk(layout.referrers(name))]
            await self._destroy([key for key in described if parsing.content_of(key) in gone])
        await self._destroy(keys)
        purge.links += len(keys)
        if any(parsing.manifest_of(key) for key in keys):
            # A push that had not heard of it may have let one name it meanwhile.
            await self.remove_tags(name, gone, purge)

    async def remove_tags(self, name: RepositoryName, gone: frozenset[Digest], purge: Purge) -> None:
        """Remove the tags of a repository that name it, and count them in."""
        run = None
        for tag, target in (await self._named(name)).items():
            if target not in gone:
                continue
            if f"{name}:{tag}" not in purge.tags:  # or else a push has let it name that again meanwhile
                purge.tags.append(f"{name}:{tag}")
            if self._dry_run:
                continue
            await self._store.history.add(name, tag, None, target, self._by, Ends.SAME)
            judged = await self._claims.judge(name, tag)
            run = run or self._runs.new(BY_POLICY)
            await self._claims.mark(run, name, {tag: judged})
            if await self._store.links.target(name, tag) == target:
                await self._destroy(await self._store.tag_keys(name, tag))
                await self._claims.put_back(name, tag, judged, removed=target)
        if run is not None:
            await self._runs.unmark(run)

    async def _tell_needing(self, name: RepositoryName, gone: frozenset[Digest], purge: Purge) -> None:
        needing: list[Digest] = []
        async for digest in self._store.links.manifests(name):
            await self._step()
            if digest in gone:
                continue
            try:
                manifest = await self._store.manifests.parsed(name, digest)
            except ManifestUnknown:
                continue
            except (RegistryError, NotFound):
                purge.unread.append(f"{name}@{digest}")
                continue
            if not gone.isdisjoint(descriptor.digest for descriptor in manifest.references):
                needing.append(digest)
        named = await self._named(name) if needing else {}
        for digest in needing:
            tags = [str(tag) for tag, target in named.items() if target == digest]
            purge.needing.append(Needing(str(name), str(digest), tags))

    async def _empty(self, prefix: str) -> int:
        """Remove all below a prefix; how many objects it was."""
        keys = [key async for key in self._driver.walk(prefix)]
        await self._destroy(keys)
        return len(keys)

    async def _destroy(self, keys: Iterable[str]) -> None:
        # Durable: what leaked must not come back by a power cut.
        for some in handfuls([] if self._dry_run else keys):
            await self._step()
            await self._driver.delete(some)

    async def _hashed(self, digest: Digest) -> AsyncIterator[list[Digest]]:
        """What the bytes that may have the digest really have, by place."""
        async for key in self._bytes(digest):
            try:
                yield [await self._store.content.hash([key], algorithm) for algorithm in _ALGORITHMS]
            except NotFound:
                continue
        async for key in self._driver.walk(layout.WHOLE_MANIFESTS):
            if parsing.content_of(key) == digest:
                try:
                    content = (await self._store.manifests.read_whole_from(key, digest)).content
                    yield [Digest.of(content, algorithm) for algorithm in _ALGORITHMS]
                except (NotFound, RegistryError):
                    continue

    async def _bytes(self, digest: Digest) -> AsyncIterator[str]:
        for one in (digest, *[target async for target in self._targets(digest)]):
            yield layout.blob_data(one)
            async for key in self._driver.walk(layout.trash_data(one)):
                yield key

    async def _targets(self, digest: Digest) -> AsyncIterator[Digest]:
        """What else links of the digest contain: Distribution keeps sha512 content under its sha256."""
        if digest.algorithm == "sha256":
            return
        seen = {digest}
        async for key in self._places(frozenset(seen)):
            try:
                target = await self._store.links.read(key)
            except (NotFound, RegistryError):
                continue
            if target not in seen:
                seen.add(target)
                yield target

    async def _named(self, name: RepositoryName) -> dict[Tag, Digest | None]:
        return await targets_of(self._store, name, await self._store.links.tags(name), self._step)


def _repository(key: str) -> RepositoryName | None:
    """Whose link or manifest it is; None for who cannot be one."""
    try:
        return RepositoryName(parsing.in_repository(key)[0])
    except NameInvalid:
        return None
