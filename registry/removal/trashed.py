"""What of a repository lies in the trash, whoever took it, and how it comes back to who asks for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial

from registry.errors import BlobUnknown, ManifestUnknown, StorageDamaged
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.removal.runs import Runs
from registry.removal.trash import BY_USER, Trash
from registry.store import layout
from registry.store.manifests import StoredManifest
from registry.store.store import Store
from storage.contract import exists
from storage.errors import NotFound


class Trashed:
    """The trash of one store, as somebody sees it who may have everything of a repository back."""

    def __init__(self, store: Store, trash: Trash) -> None:
        self._store = store
        self._driver = store.driver
        self._trash = trash
        self.runs = Runs(store.driver, store.effects)

    async def manifest(self, name: RepositoryName, digest: Digest) -> StoredManifest | None:
        """A manifest of the repository, from its place or from the trash; None when it is gone for good.

        Raises StorageDamaged when nothing that is left of it has the digest.
        """
        standing = partial(self._standing, name, digest)
        # In its place, in the trash, and once more: it may come back between the two looks.
        return await _first_sound([standing, partial(self._taken, name, digest), standing])

    async def target(self, name: RepositoryName, digest: Digest) -> Digest | None:
        """Under which digest the bytes of a blob of the repository lie, there or taken; None when gone."""
        with suppress(BlobUnknown):
            return await self._store.links.layer(name, digest)
        for key in await self._copies(layout.trash_layer(name, digest)):
            # A copy that a power cut has torn says nothing; the next one may.
            with suppress(NotFound, StorageDamaged):
                return await self._store.links.read(key)
        try:
            return await self._store.links.layer(name, digest)
        except BlobUnknown:
            return None

    async def sizes(self, target: Digest) -> set[int]:
        """How many bytes can be had under a digest: those that lie there, otherwise those taken."""
        try:
            return {(await self._store.content.stat(target)).size_bytes}
        except NotFound:
            return await self.sizes_taken(target)

    async def sizes_taken(self, target: Digest) -> set[int]:
        """How many bytes the copies in the trash have."""
        sizes = set[int]()
        for key in await self._copies(layout.trash_data(target)):
            with suppress(NotFound):
                sizes.add((await self._driver.stat(key)).size_bytes)
        return sizes

    async def put_back_blob(self, name: RepositoryName, digest: Digest, target: Digest) -> bool:
        """Let the repository have a blob again, its bytes first; whether they could be had."""
        is_there = await exists(self._driver, layout.blob_data(target))
        if not is_there and not await self._trash.put_back_data(target):
            return False
        try:
            await self._store.links.layer(name, digest)
        except BlobUnknown:
            await self._store.links.put_alias(name, digest, target)
        return True

    async def copies_of_users(
        self, name: RepositoryName, manifests: Iterable[Digest], blobs: Iterable[Digest]
    ) -> list[str]:
        """The trash copies by which deletes of users keep these from coming back by themselves.

        Not those of a delete that is under way: it may have its copy, and be about to remove the original.
        """
        prefixes = [layout.trash_layer(name, digest) for digest in blobs]
        for digest in manifests:
            prefixes += [layout.trash_revision(name, digest), layout.trash_whole_manifest(name, digest)]
        found = await self._store.effects.together(self._copies(prefix) for prefix in prefixes)
        by_run: dict[str, list[str]] = {}
        for key in (one for keys in found for one in keys):
            by_run.setdefault(key.rpartition("/")[2], []).append(key)
        copies: list[str] = []
        for run, keys in by_run.items():
            if run.startswith(BY_USER) and (record := await self.runs.read(run)) is not None and record.done:
                copies += keys
        return copies

    async def forget(self, copies: Iterable[str]) -> None:
        """Remove copies of what stands in its place again."""
        # What a power cut brings back keeps nothing away that stands.
        await self._driver.delete(list(copies), durable=False)

    async def runs_of(self, name: RepositoryName) -> set[str]:
        """The runs that have taken something of the repository."""
        return {key.rpartition("/")[2] async for key in self._driver.walk(layout.trash_of(name))}

    async def _standing(self, name: RepositoryName, digest: Digest) -> StoredManifest | None:
        try:
            return await self._store.manifests.read(name, digest)
        except ManifestUnknown:
            return None
        except (NotFound, StorageDamaged):
            # The link stands, and a collector may have taken the bytes, or sound ones.
            return await self._bytes(layout.revision_link(name, digest), digest)

    async def _taken(self, name: RepositoryName, digest: Digest) -> StoredManifest | None:
        manifests = self._store.manifests
        links = await self._copies(layout.trash_revision(name, digest))
        wholes = await self._copies(layout.trash_whole_manifest(name, digest))
        return await _first_sound(
            [
                *(partial(self._bytes, link, digest) for link in links),
                *(partial(manifests.read_whole_from, whole, digest) for whole in wholes),
            ]
        )

    async def _bytes(self, link: str, digest: Digest) -> StoredManifest | None:
        """A manifest by its link or a copy of that. Raises storage NotFound, StorageDamaged."""
        target = await self._store.links.read(link)
        read = self._store.manifests.read_from

        async def taken() -> StoredManifest | None:
            copies = await self._copies(layout.trash_data(target))
            return await _first_sound([partial(read, key, digest) for key in copies])

        return await _first_sound([partial(read, layout.blob_data(target), digest), taken])

    async def _copies(self, prefix: str) -> list[str]:
        return [f"{prefix}/{run}" for run in await self._driver.children(prefix)]


async def _first_sound(
    looks: Iterable[Callable[[], Awaitable[StoredManifest | None]]],
) -> StoredManifest | None:
    """What the first look finds that finds anything. Raises StorageDamaged when damage is all there is."""
    damage: StorageDamaged | None = None
    for look in looks:
        try:
            if (stored := await look()) is not None:
                return stored
        except NotFound:
            continue
        except StorageDamaged as error:
            damage = error
    if damage is not None:
        raise damage
    return None
