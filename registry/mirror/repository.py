"""A repository of a namespace: the same door as any other's, behind which what is missing is fetched."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from registry.core.listings import Page
from registry.core.pushes import Pushed
from registry.core.registry import Registry, Repository
from registry.errors import BlobUnknown, NameUnknown
from registry.mirror.mirror import Mirror, Warn
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.tag_rights import TagRights
from registry.store.manifests import StoredManifest
from storage.contract import ObjectInfo, OpenObject


class NamespaceRepository(Repository):
    """A repository of which some may have come from elsewhere: whatever is pushed to it is somebody's."""

    async def push_manifest(
        self, reference: Tag | Digest, content: bytes, content_type: str | None, tags: Sequence[Tag]
    ) -> Pushed:
        """Store a manifest as in any repository, and note that it did not come from elsewhere alone."""
        while True:
            pushed = await super().push_manifest(reference, content, content_type, tags)
            await self._store.origins.note_here(self.name, pushed.digest)
            # It may have been held before, and been evicted by who looked for that note too early.
            if await self._store.manifests.exists(self.name, pushed.digest):
                return pushed


class MirroredRepository(NamespaceRepository):
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
        held = await self._mirror.held(self.name, reference)
        found = held or await self._mirror.fetched(self.name, reference)
        self._mirror.given("manifest", held is not None)
        return found

    async def blob(self, digest: Digest, *, may_push: bool) -> ObjectInfo:
        """A blob's size. Raises BlobUnknown, and what keeps the upstreams from telling it."""
        try:
            return await super().blob(digest, may_push=may_push)
        except BlobUnknown:
            size = await self._mirror.blobs.size(self.name, digest)
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
            transfer = await self._mirror.blobs.transfer(self.name, digest)
            arriving = await transfer.opened(start, end)
            self._mirror.given("blob", False)
            yield arriving
            return
        self._mirror.given("blob", True)
        try:
            yield opened
        finally:
            await opening.__aexit__(None, None, None)

    async def tags(self, *, n: int | None, last: str) -> Page:
        """A page of the tags, those of the upstreams and those that are held. Raises NameUnknown."""
        try:
            held = await super().tags(n=n, last=last)
        except NameUnknown:
            held = None
        there = await self._mirror.tags(self.name, self._warn, is_held=held is not None)
        start = bisect_right(there, last)
        tags = sorted({*there[start : None if n is None else start + n + 1], *(held.entries if held else ())})
        if n is not None and (len(tags) > n or (held is not None and held.next is not None)):
            return Page(tags[:n], tags[n - 1] if n else None)
        return Page(tags, None)

    async def referrers(self, subject: Digest, *, artifact_types: Sequence[str], after: str) -> Page:
        """A page of what refers to `subject`; the first has what the upstreams have and is not held yet."""
        page = await super().referrers(subject, artifact_types=artifact_types, after=after)
        if after:
            return page
        there = {
            str(descriptor["digest"]): descriptor
            for descriptor in await self._mirror.referrers(self.name, subject, self._warn)
            if not artifact_types or descriptor.get("artifactType") in artifact_types
        }
        for _, digest in await self._store.referrers.digests(self.name, subject, after=""):
            # What stands is shown as it is held, on this page or on another.
            if str(digest) in there and await self._store.manifests.exists(self.name, digest):
                del there[str(digest)]
        entries = [json.dumps(one, separators=(",", ":")) for one in there.values()]
        return Page([*entries, *page.entries], page.next)
