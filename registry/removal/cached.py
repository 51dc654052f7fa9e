"""What came from elsewhere and comes from there again: it stays in the trash for no longer than it must.

And the marks that say so, which go when what they are about is gone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from datetime import timedelta

from registry.errors import RegistryError
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.removal.mark import Step, handfuls, short
from registry.removal.trash import CACHED, FLOOR, Trash
from registry.removal.trashed import Trashed
from registry.store import layout, parsing
from registry.store.store import Store
from storage.contract import exists
from storage.errors import NotFound


class Cached:
    """What of a store came from elsewhere, as one collection sees it; 80 bytes for each such blob.

    `step` is called between handfuls of work; `now` is the time (s) by the store's own clock.
    """

    def __init__(self, store: Store, *, now: float, step: Step) -> None:
        self._store = store
        self._driver = store.driver
        self._trashed = Trashed(store, Trash(store.driver))
        self._now = now
        self._step = step
        # By namespace, the `short`s of the blobs that came there from elsewhere.
        self._marked: Mapping[RepositoryName, set[int]] | None = None
        self._seen: set[int] = set()

    async def links(self, name: RepositoryName, digests: Iterable[Digest]) -> set[Digest]:
        """Those blobs of a repository that came from elsewhere, and that nothing needs which may be restored.

        That is what users, and other policies, have taken from it.
        """
        marks = [found for below, found in (await self._marks()).items() if name.startswith(f"{below}/")]
        cached = {digest for digest in digests if any(short(digest) in found for found in marks)}
        return cached - await self._restorable(name) if cached else cached

    async def data(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those that no repository links to any more since they were evicted, and for no other reason."""
        runs = await self._driver.children(layout.TRASH_RUNS, after=CACHED, limit=1)
        if not runs or not runs[0].startswith(CACHED):
            return set()
        cached, others = set[int](), set[int]()
        count = 0
        async for key in self._driver.walk(layout.TRASH_LINKS):
            count += 1
            if count % 1000 == 0:
                await self._step()
            if (digest := parsing.content_of(key)) is not None:
                run = key.rpartition("/")[2]
                (cached if run.startswith(CACHED) else others).add(short(digest))
        return {digest for digest in digests if short(digest) in cached - others}

    async def see(self, digest: Digest) -> None:
        """Take note of data that lies in its place."""
        if any(short(digest) in found for found in (await self._marks()).values()):
            self._seen.add(short(digest))

    async def forget(self) -> None:
        """Remove the marks of blobs and manifests that are not there, and were not about to come."""
        await self._forget_blobs()
        await self._forget_manifests()

    async def _forget_blobs(self) -> None:
        gone: list[str] = []
        async for key, _, digest in self._store.transfers.marks():
            is_here = short(digest) in self._seen or await exists(self._driver, layout.blob_data(digest))
            if not is_here and await self._is_old(key):
                gone.append(key)
        for some in handfuls(gone):
            await self._step()
            await self._store.transfers.unmark(some)

    async def _forget_manifests(self) -> None:
        gone: list[str] = []
        of: RepositoryName | None = None
        here: set[Digest] = set()
        async for key, name, digest in self._store.origins.each():
            if name != of:
                await self._step()
                of, here = name, {one async for one in self._store.links.manifests(name)}
            if digest not in here and await self._is_old(key):
                gone.append(key)
        for some in handfuls(gone):
            await self._step()
            await self._store.origins.forget(some)

    async def _is_old(self, key: str) -> bool:
        """Whether who has written a mark is not about to bring what it is about."""
        try:
            written = (await self._driver.stat(key)).modified_at.timestamp()
        except NotFound:
            return False
        return timedelta(seconds=self._now - written) > FLOOR

    async def _marks(self) -> Mapping[RepositoryName, set[int]]:
        if self._marked is None:
            found: dict[RepositoryName, set[int]] = {}
            async for _, namespace, digest in self._store.transfers.marks():
                found.setdefault(namespace, set()).add(short(digest))
            self._marked = found
        return self._marked

    async def _restorable(self, name: RepositoryName) -> set[Digest]:
        """The blobs that others than evictions have taken, or that manifests need which those have taken."""
        needed = {digest async for digest in self._taken(layout.trash_layers(name))}
        for prefix in layout.trash_manifests(name):
            for digest in {digest async for digest in self._taken(prefix)}:
                with suppress(RegistryError):  # what cannot be read can be restored by nobody
                    stored = await self._trashed.manifest(name, digest)
                    if stored is not None:
                        manifest = await self._store.effects.aside(stored.parse)
                        needed.update(one.digest for one in manifest.references)
        return needed

    async def _taken(self, prefix: str) -> AsyncIterator[Digest]:
        async for key in self._driver.walk(prefix):
            digest = parsing.content_of(key)
            if digest is not None and not key.rpartition("/")[2].startswith(CACHED):
                yield digest
