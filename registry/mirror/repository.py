"""A repository of a namespace: the same door as any other's, behind which what is missing is fetched."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from registry.core.listings import Page
from registry.core.registry import Registry, Repository
from registry.errors import BlobUnknown, NameUnknown
from registry.mirror.mirror import Mirror, Warn
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.tag_rights import TagRights
from registry.store.manifests import StoredManifest
from storage.contract import ObjectInfo, OpenObject


class MirroredRepository(Repository):
    """A repository whose content comes from elsewhere when it is asked for; `warn` hears what clients should.

    Pushes, deletes and copies are those of any repository, and concern what is held.
    """

    def __init__(
        self, registry: Registry, name: RepositoryName, by: str, rights: TagRights, mirror: Mirror, warn: Warn
    ) -> None:
        super().__init__(registry, name, by, rights)
        self._mirror = mirror
        self._warn = warn

    async def manifest(self, reference: Tag | Digest) -> StoredManifest:
        """A manifest by tag or digest. Raises ManifestUnknown, or why the upstreams do not give it."""
        if isinstance(reference, Tag):
            return await self._mirror.tagged(self.name, reference, self._warn)
        return await self._mirror.by_digest(self.name, reference)

    async def blob(self, digest: Digest, *, may_push: bool) -> ObjectInfo:
        """A blob's size. Raises BlobUnknown, and what keeps the upstreams from telling it."""
        try:
            return await super().blob(digest, may_push=may_push)
        except BlobUnknown:
            size = await self._mirror.blob_size(self.name, digest)
            return ObjectInfo(size, self._store.effects.now())

    def open_blob(
        self, digest: Digest, start: int = 0, end: int | None = None
    ) -> AbstractAsyncContextManager[OpenObject]:
        """Open a blob's bytes, be they on their way. Raises BlobUnknown, storage InvalidRange and others."""
        return self._open(digest, start, end)

    @asynccontextmanager
    async def _open(self, digest: Digest, start: int, end: int | None) -> AsyncIterator[OpenObject]:
        opening = super().open_blob(digest, start, end)
        try:
            opened = await opening.__aenter__()
        except BlobUnknown:
            transfer = await self._mirror.transfer(self.name, digest)
            yield await transfer.opened(start, end)
            return
        try:
            yield opened
        finally:
            await opening.__aexit__(None, None, None)

    async def tags(self, *, n: int | None, last: str) -> Page:
        """A page of the tags, those of the upstreams and those that are held. Raises NameUnknown."""
        there = await self._mirror.tags(self.name, self._warn)
        try:
            held = (await super().tags(n=None, last=last)).entries
        except NameUnknown:
            if not there:
                raise
            held = []
        tags = sorted({*held, *(tag for tag in there if tag > last)})
        if n is not None and len(tags) > n:
            return Page(tags[:n], tags[n - 1] if n else None)
        return Page(tags, None)

    async def referrers(self, subject: Digest, *, artifact_types: Sequence[str], after: str) -> Page:
        """A page of what refers to `subject`; the first has what the upstreams have and is not held yet."""
        page = await super().referrers(subject, artifact_types=artifact_types, after=after)
        if after:
            return page
        found = await self._mirror.referrers(self.name, subject, self._warn)
        missing = [
            descriptor
            for descriptor in found
            if (not artifact_types or descriptor.get("artifactType") in artifact_types)
            and not await self._store.manifests.exists(self.name, Digest.parse(str(descriptor["digest"])))
        ]
        entries = [json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in missing]
        return Page([*entries, *page.entries], page.next)
