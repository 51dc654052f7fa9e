"""What of a repository a policy took and no user, and which so comes back by itself when a push needs it."""

from __future__ import annotations

from registry.errors import ManifestInvalid, StorageDamaged
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.model.names import RepositoryName
from registry.removal.trash import Trash
from registry.removal.trashed import Trashed
from registry.store.store import Store


class Returning:
    """The repositories of one store, as they would be then; nothing is put back by asking."""

    def __init__(self, store: Store, trash: Trash) -> None:
        self._store = store
        self._trash = trash
        self._trashed = Trashed(store, trash)

    async def manifest(self, name: RepositoryName, digest: Digest) -> Manifest | None:
        """A manifest that would come back; None where there is none that can be read."""
        if not digest.supported or not await self._trash.has_manifest(name, digest):
            return None
        try:
            stored = await self._trashed.manifest(name, digest)
            return None if stored is None else await self._store.effects.aside(stored.parse)
        except (ManifestInvalid, StorageDamaged):
            return None

    async def blob(self, name: RepositoryName, digest: Digest) -> tuple[Digest, int] | None:
        """Where the data of a blob would lie that would come back, and its bytes; None without one."""
        if not digest.supported or await self._trash.layer_key(name, digest) is None:
            return None
        target = await self._trashed.target(name, digest)
        sizes = set[int]() if target is None else await self._trashed.sizes(target)
        return (target, max(sizes)) if target is not None and sizes else None
