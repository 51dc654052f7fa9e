"""The registry's content: pulls, pushes, lists and deletes, under rules that hold on every door."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress

from registry.core.batches import Batches, Given, Retagged
from registry.core.blobs import Blobs
from registry.core.bodies import Body
from registry.core.listings import Listings, Page
from registry.core.promotion import Copied, Promotion, Source
from registry.core.pulls import Pulls
from registry.core.pushes import Pushed, Pushes
from registry.core.quotas import Quotas
from registry.core.references import References
from registry.core.restoring import Restored, Restoring, Wanted
from registry.core.tagging import Tagging
from registry.core.uploads import UploadLimits, Uploads
from registry.errors import BlobUnknown, ManifestLost, ManifestUnknown, ReadOnly, Unsupported
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.ranges import ByteRange
from registry.model.tag_rights import EVERY_TAG, TagRights
from registry.removal.door import Door
from registry.removal.intents import Intents
from registry.removal.trash import Trash
from registry.store import layout
from registry.store.effects import Together
from registry.store.manifests import StoredManifest
from registry.store.sessions import Session
from registry.store.store import Store
from storage.contract import ObjectInfo, OpenObject
from storage.errors import NotFound


class Registry:
    """All repositories of one store; `repository` gives one of them.

    `read_only` may be switched at any time; `deletes` says whether users may delete; `allow_missing_layers`
    lets images in that lack layers; `quotas` has the bytes that prefixes may hold.
    """

    def __init__(
        self,
        store: Store,
        *,
        uploads: UploadLimits,
        max_references: int,
        allow_missing_layers: bool,
        deletes: bool,
        read_only: bool,
        quotas: Mapping[RepositoryName, int] | None = None,
    ) -> None:
        self.store = store
        self.read_only = read_only
        # Why no program of this level may write to the store; None when it may.
        self.outdated: str | None = None
        self.deletes = deletes
        self.allow_missing_layers = allow_missing_layers
        self.pulls = Pulls(store.effects.now)
        self.trash = Trash(store.driver)
        self.intents = Intents(store.driver, store.effects)
        self.door = Door(store, self.intents)
        self.blobs = Blobs(store, self.trash, self.may_write)
        self.quotas = Quotas(store, quotas or {})
        self.uploads = Uploads(store, self.blobs, self.quotas, uploads, self.require_writable)
        references = References(store, self.trash, self.quotas, allow_missing=allow_missing_layers)
        tagging = Tagging(store, self.door)
        self.pushes = Pushes(
            store,
            self.intents,
            references,
            self.quotas,
            tagging,
            self.require_writable,
            max_references=max_references,
        )
        self.listings = Listings(store, self.may_write)
        self.restoring = Restoring(
            store,
            self.intents,
            self.trash,
            self.quotas,
            tagging,
            self.pushes,
            allow_missing=allow_missing_layers,
        )
        self.batches = Batches(
            store,
            self.intents,
            references,
            self.quotas,
            tagging,
            self.pushes,
            self.restoring,
            self.door,
            self.require_writable,
        )
        self.promotion = Promotion(
            store,
            self.intents,
            self.blobs,
            self.listings,
            self.quotas,
            tagging,
            self.pushes,
            allow_missing=allow_missing_layers,
        )

    def may_write(self) -> bool:
        """Whether this process may write to the store at the moment."""
        return self.outdated is None and not self.read_only

    def require_writable(self) -> None:
        """Raises ReadOnly while this process may not write."""
        self.require_format()
        if self.read_only:
            raise ReadOnly(headers={"Retry-After": "10"})

    def require_format(self) -> None:
        """Raises ReadOnly where the store's format is not one that this program may write."""
        if self.outdated is not None:
            raise ReadOnly(
                f"the registry is read-only, pulls work: {self.outdated}", headers={"Retry-After": "60"}
            )

    def repository(self, name: RepositoryName, by: str, rights: TagRights = EVERY_TAG) -> Repository:
        """The repository of that name, existing or not, as seen by the principal `by`.

        `rights` is what may be done to its tags: everything, if it is the operator who asks.
        """
        return Repository(self, name, by, rights)

    async def catalog(self, *, n: int, last: str, visible: Callable[[RepositoryName], bool]) -> Page:
        """A page of the repositories that `visible` lets through."""
        return await self.listings.catalog(n=n, last=last, visible=visible)


class Repository:
    """The only door to a repository's content."""

    def __init__(self, registry: Registry, name: RepositoryName, by: str, rights: TagRights) -> None:
        self._registry = registry
        self._store = registry.store
        self.name = name
        self._by = by
        self._rights = rights

    # What comes from elsewhere.

    async def keep_manifest(
        self, reference: Tag | Digest, content: bytes, media_type: str, tags: Sequence[Tag] = ()
    ) -> Pushed:
        """Keep a manifest that another registry has, whose blobs come when they are asked for."""
        self._registry.require_writable()
        return await self._registry.pushes.push(
            self.name, reference, content, media_type, tags, self._by, self._rights, sparse=True
        )

    async def keep_blob(self, digest: Digest, segments: Sequence[str], size_bytes: int) -> None:
        """Keep a blob whose bytes lie under the keys in order, and were seen to have the digest."""
        self._registry.require_writable()
        await self._store.content.compose(digest, segments, size=size_bytes)
        await self._registry.blobs.link(self.name, digest)

    async def share_blob(self, digest: Digest) -> bool:
        """Let the repository have bytes that lie in the store already; False when they do not.

        The caller knows that they came from where this repository's content comes from.
        """
        self._registry.require_writable()
        return await self._registry.blobs.share(self.name, digest)

    # Pulls.

    async def manifest(self, reference: Tag | Digest) -> StoredManifest:
        """A manifest by tag or digest. Raises ManifestUnknown, StorageDamaged."""
        if isinstance(reference, Digest):
            return await self._manifest(reference)
        digest = await self._store.links.tag(self.name, reference)
        while True:
            try:
                return await self._manifest(digest)
            except ManifestUnknown:
                # The tag may have moved, and what it named been deleted, between the two reads.
                named = await self._store.links.tag(self.name, reference)
                if named == digest:
                    raise
                digest = named

    async def manifest_or_none(self, digest: Digest) -> StoredManifest | None:
        """A manifest, None when there is none. Raises StorageDamaged."""
        try:
            return await self.manifest(digest)
        except ManifestUnknown:
            return None

    async def blob(self, digest: Digest, *, may_push: bool) -> ObjectInfo:
        """A blob's size; for who may push, what a policy took comes back. Raises BlobUnknown."""
        return await self._registry.blobs.stat(self.name, digest, put_back=may_push)

    async def find_blob(self, digest: Digest) -> tuple[str, ObjectInfo]:
        """The key of a blob's bytes in the store, and their size. Raises BlobUnknown."""
        return await self._registry.blobs.find(self.name, digest)

    def note_pull(self, reference: Tag | Digest, digest: Digest) -> None:
        """Count that a client was given a manifest, or told that it has it: what an answer is for."""
        self._registry.pulls.note(self.name, reference, digest)

    def open_blob(
        self, digest: Digest, start: int = 0, end: int | None = None
    ) -> AbstractAsyncContextManager[OpenObject]:
        """Open a blob's bytes. Raises BlobUnknown, storage InvalidRange."""
        return self._registry.blobs.open(self.name, digest, start, end)

    async def tags(self, *, n: int | None, last: str) -> Page:
        """A page of the tags. Raises NameUnknown."""
        return await self._registry.listings.tags(self.name, n=n, last=last)

    async def referrers(self, subject: Digest, *, artifact_types: Sequence[str], after: str) -> Page:
        """A page of JSON descriptors of what refers to `subject`; empty when there is nothing."""
        return await self._registry.listings.referrers(
            self.name, subject, artifact_types=artifact_types, after=after
        )

    # Pushes.

    async def push_manifest(
        self, reference: Tag | Digest, content: bytes, content_type: str | None, tags: Sequence[Tag]
    ) -> Pushed:
        """Store a manifest and let tags name it, if each may be created or moved as it needs.

        Raises the refusal of a tag; then no tag was created or moved.
        """
        self._registry.require_writable()
        return await self._registry.pushes.push(
            self.name, reference, content, content_type, tags, self._by, self._rights
        )

    async def push_manifests(self, given: Sequence[Given], together: Together) -> None:
        """Store manifests, several at a time, whose digests name them until a tag does; see `Batches`."""
        self._registry.require_writable()
        await self._registry.batches.push(self.name, given, together)

    async def tag_manifests(self, tags: Mapping[Tag, Digest], together: Together) -> Mapping[Tag, Retagged]:
        """Let tags name manifests that the repository has, several at a time; see `Batches`."""
        self._registry.require_writable()
        return await self._registry.batches.tag(self.name, tags, self._by, self._rights, together)

    async def begin_upload(self, algorithm: str) -> Session:
        """Begin an upload session."""
        self._registry.require_writable()
        return await self._registry.uploads.begin(self.name, algorithm)

    async def upload_size(self, uuid: str) -> int:
        """How many bytes an upload has. Raises BlobUploadUnknown."""
        return await self._registry.uploads.size(self.name, uuid)

    async def append(self, uuid: str, body: Body, piece: ByteRange | None) -> int:
        """Append to an upload; its size then."""
        self._registry.require_writable()
        return await self._registry.uploads.append(self.name, uuid, body, piece)

    async def finish_upload(self, uuid: str, digest: Digest, body: Body, piece: ByteRange | None) -> None:
        """Close an upload: the repository has the blob then."""
        self._registry.require_writable()
        await self._registry.uploads.finish(self.name, uuid, digest, body, piece)

    async def cancel_upload(self, uuid: str) -> None:
        """End an upload session."""
        self._registry.require_writable()
        await self._registry.uploads.cancel(self.name, uuid)

    async def push_blob(self, digest: Digest, body: Body) -> None:
        """Take a whole blob in one request."""
        self._registry.require_writable()
        await self._registry.uploads.monolithic(self.name, digest, body)

    async def mount(
        self,
        digest: Digest,
        source: RepositoryName | None,
        may_pull: Callable[[RepositoryName], bool],
        may_push: Callable[[RepositoryName], bool] = lambda _: False,
    ) -> bool:
        """Take a blob over from another repository that the caller may pull from; False when it cannot be.

        Without a `source` only a hint is followed: where this process lately linked the digest. Raises Denied
        for what is blocked, QuotaExceeded.
        """
        self._registry.require_writable()
        if not digest.supported:
            return False
        self._store.blocked.refuse([digest])
        source = source or self._registry.blobs.hinted(digest)
        if source is None or not may_pull(source):
            return False
        if self._registry.quotas.above(self.name):
            with suppress(BlobUnknown):
                size = (await self._registry.blobs.stat(source, digest)).size_bytes
                await self._registry.quotas.require(self.name, size, digest)
        return await self._registry.blobs.mount(self.name, digest, source, put_back=may_push(source))

    async def copy(
        self, tag: Tag, source: Repository, reference: Tag | Digest, *, put_back: bool, referrers: bool
    ) -> Copied:
        """Let a tag name what `reference` is in `source`, from which the caller may pull; see `Promotion`.

        With `put_back` the caller may push to the source, too.
        """
        self._registry.require_writable()
        digest = reference
        if not isinstance(digest, Digest):
            digest = await self._store.links.tag(source.name, digest)
        there = Source(source.name, digest, source.manifest_or_none, put_back, referrers)
        return await self._registry.promotion.copy(there, self.name, tag, self._by, self._rights)

    async def restore(self, wanted: Wanted, *, overwrite: bool, some: bool) -> Restored:
        """Let the repository have what was taken from it; see `Restoring`."""
        self._registry.require_writable()
        return await self._registry.restoring.restore(
            self.name, wanted, self._by, self._rights, overwrite=overwrite, some=some
        )

    # Deletes.

    def require_deletes(self) -> None:
        """Raises Unsupported where users may not delete, ReadOnly while nobody may."""
        if not self._registry.deletes:
            raise Unsupported("deleting is switched off in this registry's configuration (delete.enabled)")
        self._registry.require_writable()

    async def delete_tag(self, tag: Tag) -> Digest | None:
        """Take a tag away; what it named, None if that is damaged.

        Raises ManifestUnknown, Unsupported, and the tag's refusal.
        """
        self.require_deletes()
        refusal = self._rights.refusal("delete", tag)
        if refusal is not None:
            raise refusal
        return await self._registry.door.remove_tag(self.name, tag, self._by)

    async def delete_manifest(self, digest: Digest) -> list[Tag]:
        """Take a manifest and the tags that name it away; those tags.

        Raises ManifestUnknown, Unsupported; the refusal of a tag, if one may not be deleted.
        """
        self.require_deletes()
        return await self._registry.door.remove_manifest(self.name, digest, self._by, self._rights)

    async def delete_blob(self, digest: Digest) -> None:
        """Take a blob away that no manifest refers to. Raises BlobUnknown, Unsupported."""
        self.require_deletes()
        await self._registry.door.remove_layer(self.name, digest, self._by)

    async def _manifest(self, digest: Digest) -> StoredManifest:
        if not digest.supported:
            raise ManifestUnknown(detail={"name": self.name, "digest": str(digest)})
        try:
            return await self._standing(digest)
        except ManifestUnknown:
            # It may come back between the two looks.
            return await self._away(digest) or await self._standing(digest)

    async def _standing(self, digest: Digest) -> StoredManifest:
        try:
            return await self._store.manifests.read(self.name, digest)
        except NotFound:
            return await self._manifest_from_trash(digest)

    async def _away(self, digest: Digest) -> StoredManifest | None:
        """A manifest that a policy has taken and may be just about to see needed; None when it is not so."""
        manifests = self._store.manifests
        revision = layout.trash_revision(self.name, digest)
        key = await self._registry.trash.away(revision, layout.trash_whole_manifest(self.name, digest))
        with suppress(NotFound):
            if key is not None and key.startswith(revision):
                target = await self._store.links.read(key)
                return await manifests.read_from(layout.blob_data(target), digest)
            if key is not None:
                return await manifests.read_whole_from(key, digest)
        return None

    async def _manifest_from_trash(self, digest: Digest) -> StoredManifest:
        """The link stands and the bytes are gone: a collector may have taken them."""
        trash = self._registry.trash
        try:
            target = await self._store.links.revision(self.name, digest)
            if self._registry.may_write():
                if await trash.put_back_data(target):
                    return await self._store.manifests.read(self.name, digest)
            elif (key := await trash.data_key(target)) is not None:
                return await self._store.manifests.read_from(key, digest)
        except NotFound:
            pass
        raise ManifestLost(detail={"name": self.name, "digest": str(digest)})
