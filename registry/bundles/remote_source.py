"""Images of any other registry, as the source of a bundle."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from registry.bundles.portions import gathered
from registry.errors import Unsupported
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.remote.errors import UpstreamError
from registry.remote.upstream import Upstream
from registry.store.manifests import StoredManifest


class RemoteSource:
    """Another registry's content; what it does wrong is an UpstreamError."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._tags: dict[RepositoryName, frozenset[Tag]] = {}

    async def repositories(self) -> AsyncIterator[RepositoryName]:
        """Raises Unsupported: hardly any registry lists its repositories to everybody."""
        raise Unsupported(
            f"{self._upstream.host} is not asked which repositories it has: name those of the bundle, without"
            " * in them"
        )
        yield

    async def tags(self, name: RepositoryName) -> list[Tag]:
        """The tags of a repository."""
        tags = await self._upstream.tags(name)
        self._tags[name] = frozenset(tags)
        return tags

    async def target(self, name: RepositoryName, tag: Tag) -> Digest | None:
        """What a tag names."""
        if name in self._tags and tag not in self._tags[name]:
            return None
        try:
            head = await self._upstream.head_manifest(name, tag)
            if head.digest is not None and head.digest.supported:
                return head.digest
            return (await self._upstream.manifest(name, tag)).digest
        except UpstreamError as error:
            if error.cause == "absent":
                return None
            raise

    async def manifest(self, name: RepositoryName, digest: Digest) -> StoredManifest | None:
        """A manifest, seen to have the digest."""
        try:
            found = await self._upstream.manifest(name, digest)
        except UpstreamError as error:
            if error.cause == "absent":
                return None
            raise
        return StoredManifest(digest, found.media_type, found.content)

    async def referrers(self, name: RepositoryName, digest: Digest) -> list[Digest]:
        """What refers to a manifest, where the registry keeps such lists."""
        found = await self._upstream.referrers(name, digest) or []
        return [Digest.parse(str(one["digest"])) for one in found]

    async def blob_size(self, name: RepositoryName, digest: Digest) -> int | None:
        """The bytes that a blob has."""
        try:
            return await self._upstream.head_blob(name, digest)
        except UpstreamError as error:
            if error.cause == "absent":
                return None
            raise

    @asynccontextmanager
    async def blob(
        self, name: RepositoryName, digest: Digest
    ) -> AsyncIterator[AsyncIterator[Iterable[bytes]]]:
        """The bytes of a blob, as they come."""
        async with self._upstream.blob(name, digest) as blob:
            yield gathered(blob.chunks())
