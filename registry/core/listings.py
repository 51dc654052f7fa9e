"""Lists: tags, the catalog, and what refers to a manifest."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass

from registry.errors import NameUnknown, RegistryError
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store.store import Store
from storage.errors import NotFound

# Clients read at most about 4 MiB of a referrers list and do not all follow a Link.
REFERRERS_PAGE_BYTES = 4 << 20
# How much of the entries a page looks at, whether they match or not, before it ends with a Link.
_REFERRERS_LOOK_BYTES = 32 << 20
# Entries read at once; each may be as large as a manifest.
_BATCH = 4
_INLINE = 64 << 10  # bytes; parsing more than that is done aside
# After so many catalog entries the rest of the process gets its turn.
_TURN = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries of a list, and where the next page begins (None: there is none)."""

    entries: list[str]
    next: str | None


@dataclass(frozen=True, slots=True)
class Referring:
    """One entry of an unwritten index: `digest` refers to `subject`."""

    subject: Digest
    digest: Digest
    descriptor: dict[str, object]


class Listings:
    """The lists of all repositories."""

    def __init__(self, store: Store, may_write: Callable[[], bool]) -> None:
        self._store = store
        self._may_write = may_write

    async def tags(self, name: RepositoryName, *, n: int | None, last: str) -> Page:
        """Tags in byte order behind `last`, at most `n`. Raises NameUnknown."""
        if n == 0:
            await self._require(name)
            return Page([], None)
        tags: list[Tag] = await self._store.links.tags(name, after=last, limit=None if n is None else n + 1)
        if not tags:
            await self._require(name)
        if n is not None and len(tags) > n:
            return Page([str(tag) for tag in tags[:n]], tags[n - 1])
        return Page([str(tag) for tag in tags], None)

    async def catalog(self, *, n: int, last: str, visible: Callable[[RepositoryName], bool]) -> Page:
        """Repositories in byte order behind `last` that the caller may list, at most `n`."""
        found: list[str] = []
        if n == 0:
            return Page(found, None)
        looked = 0
        async for name in self._store.catalog.names(after=last):
            if visible(name):
                if len(found) == n:
                    # Never a name in between: what the caller may not list must not show in the cursor.
                    return Page(found, found[-1])
                found.append(name)
            looked += 1
            if looked % _TURN == 0:
                # Walking on waits for nothing; the rest of the process gets its turn here.
                await self._store.effects.aside(bool)
        return Page(found, None)

    async def catalog_is_complete(self) -> bool:
        """Whether the catalog has every repository of the store."""
        return await self._store.catalog.is_complete()

    async def referrers(
        self, name: RepositoryName, subject: Digest, *, artifact_types: Collection[str], after: str
    ) -> Page:
        """JSON descriptors of the manifests that refer to `subject`, about 4 MiB of them at most.

        (dist-spec: Listing Referrers)
        """
        if not await self._store.catalog.is_indexed(name) and await self._store.catalog.holds_content(name):
            if not self._may_write():
                return await self._page(self._unwritten(name, subject, after), artifact_types)
            await self.index(name)
        return await self._page(self._written(name, subject, after), artifact_types)

    async def index(self, name: RepositoryName, *, beside: bool = False) -> int:
        """Write the derived entries of a repository anew from its manifests; how many referrers it has.

        With `beside` nothing is written into Distribution's tree.
        """
        count = 0
        async for entry in self._referring(name):
            await self._store.referrers.put(name, entry.subject, entry.digest, entry.descriptor)
            count += 1
        if not beside:
            await self._store.put_placeholder(name)
        await self._store.catalog.add(name, indexed=True)
        if not await self._store.catalog.holds_content(name):
            # Deleted meanwhile: an entry must not outlive what it stands for.
            await self._store.catalog.remove(name)
            if await self._store.catalog.holds_content(name):
                # Pushed to in the meantime: what stands for the new content must stand too.
                await self._store.catalog.add(name, indexed=False)
        return count

    async def _require(self, name: RepositoryName) -> None:
        catalog = self._store.catalog
        if not await catalog.is_listed(name) and not await catalog.holds_content(name):
            raise NameUnknown(detail={"name": name})

    async def _written(
        self, name: RepositoryName, subject: Digest, after: str
    ) -> AsyncIterator[tuple[str, bytes]]:
        """The entries behind the cursor `after` whose manifests exist, each with its own cursor."""
        entries = await self._store.referrers.digests(name, subject, after=after)
        for start in range(0, len(entries), _BATCH):
            batch = entries[start : start + _BATCH]
            read = await self._store.effects.together(
                self._referrer(name, subject, digest) for _, digest in batch
            )
            for (cursor, _), descriptor in zip(batch, read, strict=True):
                if descriptor is not None:
                    yield cursor, descriptor

    async def _referrer(self, name: RepositoryName, subject: Digest, digest: Digest) -> bytes | None:
        if not await self._store.manifests.exists(name, digest):
            return None
        return await self._store.referrers.descriptor(name, subject, digest)

    async def _referring(self, name: RepositoryName) -> AsyncIterator[Referring]:
        async for digest in self._store.links.manifests(name):
            try:
                manifest = await self._store.manifests.parsed(name, digest)
            except (RegistryError, NotFound):
                # Served or reported elsewhere; what cannot be read refers to nothing.
                continue
            if manifest.subject is not None:
                yield Referring(manifest.subject.digest, digest, manifest.referrer_descriptor(digest))

    async def _unwritten(
        self, name: RepositoryName, subject: Digest, after: str
    ) -> AsyncIterator[tuple[str, bytes]]:
        """The same without writing anything, for a store that is read-only and was never indexed."""
        referring = [entry async for entry in self._referring(name) if entry.subject == subject]
        found = {f"{entry.digest.algorithm}-{entry.digest.encoded}": entry for entry in referring}
        for cursor in sorted(found):
            if cursor > after:
                yield cursor, self._store.referrers.encode(found[cursor].descriptor)

    async def _page(self, entries: AsyncIterator[tuple[str, bytes]], artifact_types: Collection[str]) -> Page:
        """As many of the entries that match as fit a page; it may have none and yet lead to a next one."""
        found: list[str] = []
        size = looked = 0
        last = None
        async for cursor, descriptor in entries:
            looked += len(descriptor)
            if looked > _REFERRERS_LOOK_BYTES and last is not None:
                return Page(found, last)
            if await self._matches(descriptor, artifact_types):
                size += len(descriptor) + 1
                if size > REFERRERS_PAGE_BYTES and found:
                    return Page(found, last)
                found.append(descriptor.decode())
            last = cursor
        return Page(found, None)

    async def _matches(self, descriptor: bytes, artifact_types: Collection[str]) -> bool:
        if not artifact_types:
            return True
        if len(descriptor) <= _INLINE:
            return _artifact_type(descriptor) in artifact_types
        return await self._store.effects.aside(_artifact_type, descriptor) in artifact_types


def _artifact_type(descriptor: bytes) -> object:
    # Not read strictly: we wrote it, from a manifest that was. What is spoilt has no type.
    try:
        document = json.loads(descriptor)
    except (ValueError, RecursionError):
        return None
    return document.get("artifactType") if isinstance(document, dict) else None
