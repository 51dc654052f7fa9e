"""Whether a repository has what a manifest refers to, and the size that the manifest says."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from registry.core.quotas import Quotas
from registry.core.returning import Returning
from registry.errors import BlobUnknown, ManifestBlobUnknown, ManifestInvalid, RegistryError, TooManyRequests
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest
from registry.model.names import RepositoryName
from registry.removal.trash import Trash
from registry.store.store import Store
from storage.contract import ObjectInfo
from storage.errors import NotFound

_REMEMBERED = 10_000


class References:
    """Step 2 of a writer (ARCHITECTURE.md, "Removing things"): link and data, put back if taken."""

    def __init__(self, store: Store, trash: Trash, quotas: Quotas, *, allow_missing: bool) -> None:
        self._store = store
        self._trash = trash
        self._quotas = quotas
        self._returning = Returning(store, trash)
        self._allow_missing = allow_missing
        # What was found sound, as it lay there then: a wrong size would have the blob hashed at each push.
        self._sound: OrderedDict[Digest, ObjectInfo] = OrderedDict()
        self._being_hashed: set[Digest] = set()

    async def check(
        self, name: RepositoryName, digest: Digest, manifest: Manifest, *, sparse: bool = False
    ) -> None:
        """Make sure that the repository has what `manifest` needs.

        Config and ordinary layers must be there, unless missing ones are allowed or the push is `sparse`; an
        index's children may be absent; but what a policy took comes back, with all that it needs itself.

        Raises ManifestBlobUnknown for all that is missing together; ManifestInvalid when a descriptor's size
        is not that of sound data; TooManyRequests while another push has that data looked through;
        QuotaExceeded where there is no room for the manifest with the children that would come back.
        """
        await self.check_all(name, {digest: (manifest, sparse)})

    async def check_all(
        self, name: RepositoryName, manifests: Mapping[Digest, tuple[Manifest, bool]]
    ) -> None:
        """The same of several, each with whether it is sparse: what many need is looked for once.

        Raises what `check` does, of the first of which anything is wrong.
        """
        needed: dict[tuple[Digest, int], Descriptor] = {}
        for manifest, _ in manifests.values():
            needed |= _needed(manifest)
        found = dict(
            zip(
                needed,
                await self._store.effects.together(self._blob(name, one) for one in needed.values()),
                strict=True,
            )
        )
        for manifest, sparse in manifests.values():
            # What can be fetched when it is asked for may be missing, but not be of another size.
            allowed = ManifestBlobUnknown if sparse else ()
            errors = (found[one] for one in _needed(manifest))
            missing = [error for error in errors if error is not None and not isinstance(error, allowed)]
            if missing:
                first, *rest = missing
                raise type(first)(first.message, detail=first.detail, also=rest)
        await self._children(name, {digest: manifest for digest, (manifest, _) in manifests.items()})

    async def _children(self, name: RepositoryName, manifests: Mapping[Digest, Manifest]) -> None:
        """Bring back what the manifests list and a policy took, if there is room for all of it."""
        # An index may name one child thousands of times.
        children = {child.digest: None for manifest in manifests.values() for child in manifest.children}
        away = await self._away(name, children)
        if away and self._quotas.above(name):
            # What is back can be pulled and counts, whatever becomes of the push.
            await self._quotas.require_with(name, manifests, self._returning)
        await self._store.effects.together(self._child(name, digest) for digest in away)

    async def _away(self, name: RepositoryName, digests: Iterable[Digest]) -> list[Digest]:
        """Those of the digests that are no manifests of the repository now."""
        asked = [digest for digest in digests if digest.supported]
        stands = await self._store.effects.together(
            self._store.manifests.exists(name, digest) for digest in asked
        )
        return [digest for digest, one in zip(asked, stands, strict=True) if not one]

    async def _blob(self, name: RepositoryName, descriptor: Descriptor) -> RegistryError | None:
        digest = descriptor.digest
        try:
            if not digest.supported:
                raise NotFound(str(digest))
            target = await self._layer(name, digest)
            lies = await self._stat(target)
        except (BlobUnknown, NotFound):
            return None if self._allow_missing else ManifestBlobUnknown(detail={"digest": str(digest)})
        if lies.size_bytes == descriptor.size_bytes:
            return None
        try:
            if await self._quarantine(target, lies):
                return ManifestBlobUnknown(
                    "the stored data of this blob was damaged and has been set aside;"
                    " the same push again heals it",
                    detail={"digest": str(digest)},
                )
            size = (await self._store.content.stat(target)).size_bytes
        except NotFound:
            # Another push has just set it aside.
            return ManifestBlobUnknown(detail={"digest": str(digest)})
        if size == descriptor.size_bytes:
            return None
        return ManifestInvalid(
            f"the manifest says that {digest} has {descriptor.size_bytes} bytes; it has {size}",
            detail={"digest": str(digest), "size": descriptor.size_bytes, "stored": size},
        )

    async def _child(self, name: RepositoryName, digest: Digest) -> None:
        """Bring back a manifest that a policy took, and what it needs itself."""
        if not await self._trash.put_back_manifest(name, digest):
            # Sparse, or a blob, as in buildkit's cache indexes.
            if await self._trash.put_back_layer(name, digest):
                await self._trash.put_back_data(digest)
            return
        try:
            await self._stat(await self._store.links.revision(name, digest))
            manifest = await self._store.manifests.parsed(name, digest)
        except (RegistryError, NotFound):
            return
        for descriptor in manifest.required_blobs:
            await self._blob(name, descriptor)
        for child in await self._away(name, (child.digest for child in manifest.children)):
            await self._child(name, child)

    async def _layer(self, name: RepositoryName, digest: Digest) -> Digest:
        try:
            return await self._store.links.layer(name, digest)
        except BlobUnknown:
            if not await self._trash.put_back_layer(name, digest):
                raise
            return await self._store.links.layer(name, digest)

    async def _stat(self, target: Digest) -> ObjectInfo:
        try:
            return await self._store.content.stat(target)
        except NotFound:
            if not await self._trash.put_back_data(target):
                raise
            return await self._store.content.stat(target)

    async def _quarantine(self, target: Digest, lies: ObjectInfo) -> bool:
        """Set damaged data aside, of which `lies` was seen; whether it was damaged.

        All of it is read once; after that nobody can have it read again by repeating a push that is refused.
        """
        if self._sound.get(target) == lies:
            return False
        if target in self._being_hashed:
            raise TooManyRequests(
                f"the stored data of {target} is just being verified, since a manifest gives it another size",
                headers={"Retry-After": "10"},
            )
        self._being_hashed.add(target)
        try:
            if await self._store.content.quarantine(target):
                return True
            if await self._store.content.stat(target) == lies:
                self._sound[target] = lies
                if len(self._sound) > _REMEMBERED:
                    self._sound.popitem(last=False)
            return False
        finally:
            self._being_hashed.discard(target)


def _needed(manifest: Manifest) -> dict[tuple[Digest, int], Descriptor]:
    """What must be a blob for a pull to be complete, each once. Raises ManifestInvalid."""
    needed: dict[Digest, Descriptor] = {}
    for descriptor in manifest.required_blobs:
        other = needed.setdefault(descriptor.digest, descriptor)
        if other.size_bytes != descriptor.size_bytes:
            raise ManifestInvalid(
                f"the manifest gives {descriptor.digest} two sizes: {other.size_bytes} and"
                f" {descriptor.size_bytes} bytes"
            )
    return {(one.digest, one.size_bytes): one for one in needed.values()}
