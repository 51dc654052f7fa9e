"""Where images of a bundle come from: what any source gives, and the registry itself as one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Protocol

from registry.bundles.portions import portions_of
from registry.core.registry import Registry
from registry.errors import (
    BlobUnknown,
    DigestInvalid,
    ManifestUnknown,
    StorageDamaged,
)
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from registry.store.manifests import StoredManifest

COSIGN = (".sig", ".att", ".sbom", "")
"""What the tags end with that stand for what is attached to `sha256-<hex>`: cosign's, and the fallback's."""


class Source(Protocol):
    """A registry that images are read from. What goes wrong there is a RegistryError, or an UpstreamError."""

    def repositories(self) -> AsyncIterator[RepositoryName]:
        """All of its repositories, by name. Raises Unsupported where it cannot list them."""
        ...

    async def tags(self, name: RepositoryName) -> list[Tag]:
        """The tags of a repository."""
        ...

    async def target(self, name: RepositoryName, tag: Tag) -> Digest | None:
        """What a tag names; None where there is none."""
        ...

    async def manifest(self, name: RepositoryName, digest: Digest) -> StoredManifest | None:
        """A manifest; None where it is not there. Raises StorageDamaged."""
        ...

    async def referrers(self, name: RepositoryName, digest: Digest) -> list[Digest]:
        """What refers to a manifest."""
        ...

    async def blob_size(self, name: RepositoryName, digest: Digest) -> int | None:
        """The bytes that a blob has; None where it is not there."""
        ...

    def blob(
        self, name: RepositoryName, digest: Digest
    ) -> AbstractAsyncContextManager[AsyncIterator[Iterable[bytes]]]:
        """The bytes of a blob in portions, in a thread, since going through one may block.

        Nobody has looked whether they have the digest. Raises BlobUnknown.
        """
        ...


class OwnSource:
    """The registry's own content."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def repositories(self) -> AsyncIterator[RepositoryName]:
        """All of the catalog."""
        async for name in self._registry.store.catalog.names():
            yield name

    async def tags(self, name: RepositoryName) -> list[Tag]:
        """The tags of a repository; none where there is no such repository."""
        return await self._registry.store.links.tags(name)

    async def target(self, name: RepositoryName, tag: Tag) -> Digest | None:
        """What a tag names. Raises StorageDamaged."""
        with suppress(ManifestUnknown):
            return await self._registry.store.links.tag(name, tag)
        return None

    async def manifest(self, name: RepositoryName, digest: Digest) -> StoredManifest | None:
        """A manifest."""
        return await self._registry.repository(name, "").manifest_or_none(digest)

    async def referrers(self, name: RepositoryName, digest: Digest) -> list[Digest]:
        """What refers to a manifest."""
        found: list[Digest] = []
        after: str | None = ""
        while after is not None:
            page = await self._registry.listings.referrers(name, digest, artifact_types=(), after=after)
            for descriptor in page.entries:
                try:
                    found.append(Digest.parse(json.loads(descriptor)["digest"]))
                except (ValueError, KeyError, TypeError, DigestInvalid):
                    raise StorageDamaged(f"a descriptor of what refers to {digest} in {name}") from None
            after = page.next
        return found

    async def blob_size(self, name: RepositoryName, digest: Digest) -> int | None:
        """The bytes that a blob has."""
        with suppress(BlobUnknown):
            return (await self._registry.repository(name, "").blob(digest, may_push=False)).size_bytes
        return None

    @asynccontextmanager
    async def blob(
        self, name: RepositoryName, digest: Digest
    ) -> AsyncIterator[AsyncIterator[Iterable[bytes]]]:
        """The bytes of a blob."""
        async with self._registry.repository(name, "").open_blob(digest) as opened:
            yield portions_of(opened, layout.blob_data(digest))
