"""Links: small objects that say which content a repository has, and what its tags name."""

from __future__ import annotations

from collections.abc import AsyncIterator

from registry.errors import BlobUnknown, DigestInvalid, ManifestUnknown, StorageDamaged, TagInvalid
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout, parsing
from storage.contract import Driver, exists
from storage.errors import NotFound, TooLarge

_LIMIT = 1024  # bytes; a link holds one digest


class Links:
    """Blob links, manifest links and tags of repositories.

    A link is followed by what it contains, not by its path: Distribution stores a sha512 push under a link
    whose content names the sha256 of the same bytes.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def layer(self, name: RepositoryName, digest: Digest) -> Digest:
        """The digest under which the data of a repository's blob lies. Raises BlobUnknown."""
        try:
            return await self.read(layout.layer_link(name, digest))
        except (NotFound, StorageDamaged):
            # A link that cannot be read is none: whoever pushes the blob writes it anew.
            raise BlobUnknown(detail={"name": name, "digest": str(digest)}) from None

    async def has_layer(self, name: RepositoryName, digest: Digest) -> bool:
        """Whether there is a link to a blob, be it one that can be read or not."""
        return await exists(self._driver, layout.layer_link(name, digest))

    async def put_layer(self, name: RepositoryName, digest: Digest) -> None:
        """Make a blob one of the repository; writing it again renews its age."""
        await self._driver.put(layout.layer_link(name, digest), str(digest).encode())

    async def put_alias(self, name: RepositoryName, digest: Digest, target: Digest) -> None:
        """Make a blob one of the repository by a link whose content names other data of the same bytes."""
        await self._driver.put(layout.layer_link(name, digest), str(target).encode())

    async def revision(self, name: RepositoryName, digest: Digest) -> Digest:
        """The digest under which the bytes of a repository's manifest lie. Raises storage NotFound."""
        return await self.read(layout.revision_link(name, digest))

    async def put_revision(self, name: RepositoryName, digest: Digest) -> None:
        """Make a manifest one of the repository."""
        await self._driver.put(layout.revision_link(name, digest), str(digest).encode())

    async def tag(self, name: RepositoryName, tag: Tag) -> Digest:
        """What the tag names. Raises ManifestUnknown."""
        try:
            return await self.read(layout.tag_link(name, tag))
        except NotFound:
            raise ManifestUnknown(detail={"name": name, "tag": tag}) from None

    async def target(self, name: RepositoryName, tag: Tag) -> Digest | None:
        """What the tag names; None where there is nothing, or where it cannot be read."""
        try:
            return await self.tag(name, tag)
        except (ManifestUnknown, StorageDamaged):
            return None

    async def put_tag(
        self, name: RepositoryName, tag: Tag, digest: Digest, *, if_absent: bool = False
    ) -> None:
        """Let the tag name `digest`. Raises storage AlreadyExists with `if_absent`."""
        await self._driver.put(layout.tag_link(name, tag), str(digest).encode(), if_absent=if_absent)

    async def tags(self, name: RepositoryName, *, after: str = "", limit: int | None = None) -> list[Tag]:
        """The repository's tags in byte order; stray names that cannot be tags are left out."""
        found: list[Tag] = []
        while True:
            wanted = None if limit is None else limit - len(found)
            if wanted == 0:
                return found
            names = await self._driver.children(layout.tags(name), after=after, limit=wanted)
            for entry in names:
                try:
                    found.append(Tag(entry))
                except TagInvalid:
                    continue
            if wanted is None or len(names) < wanted:
                return found
            after = names[-1]

    async def revisions(self, name: RepositoryName) -> AsyncIterator[Digest]:
        """The digests of all manifests of the repository that lie in Distribution's layout."""
        async for key in self._driver.walk(layout.revisions(name)):
            if (digest := parsing.manifest_of(key)) is not None:
                yield digest

    async def layers(self, name: RepositoryName) -> AsyncIterator[Digest]:
        """The digests of all blobs of the repository."""
        async for key in self._driver.walk(layout.layers(name)):
            if (digest := parsing.layer_of(key)) is not None:
                yield digest

    async def whole_manifests(self, name: RepositoryName) -> AsyncIterator[Digest]:
        """The digests of all manifests of the repository that Distribution would refuse."""
        async for key in self._driver.walk(layout.whole_manifests(name)):
            digest = parsing.manifest_of(key)
            if digest is not None and digest.supported:
                yield digest

    async def manifests(self, name: RepositoryName) -> AsyncIterator[Digest]:
        """The digests of all manifests of the repository, wherever they lie."""
        async for digest in self.revisions(name):
            yield digest
        async for digest in self.whole_manifests(name):
            yield digest

    async def read(self, key: str) -> Digest:
        """The digest that a link contains. Raises storage NotFound, StorageDamaged."""
        try:
            data = await self._driver.get(key, limit=_LIMIT)
            return Digest.parse(data.decode("ascii")).require_supported()
        except (TooLarge, UnicodeDecodeError, DigestInvalid):
            raise StorageDamaged(detail={"link": key}) from None
