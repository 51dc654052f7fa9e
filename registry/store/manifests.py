"""Manifests as they lie in the store: exact bytes with their media type, verified whenever they are read."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass

from registry.errors import ManifestUnknown, StorageDamaged
from registry.model.digests import Digest
from registry.model.manifests import Manifest, sniff_media_type
from registry.model.names import RepositoryName
from registry.store import layout
from registry.store.content import Content
from registry.store.effects import Effects
from registry.store.links import Links
from storage.contract import Driver, exists
from storage.errors import NotFound, TooLarge

# An adopted tree may hold manifests over any limit for pushes; they are served all the same.
READ_LIMIT = 64 << 20
_INLINE = 64 << 10  # bytes; hashing and parsing more than that is done aside


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest under the digest that it was asked by; `content` has that digest."""

    digest: Digest
    media_type: str
    content: bytes

    def parse(self) -> Manifest:
        """The manifest, however many references it has: what is here may be larger than a push may be now.

        Raises ManifestInvalid.
        """
        return Manifest.parse(self.content, self.media_type, max_references=len(self.content))


class ManifestCache:
    """Verified manifests by digest, the least recently used going first once `budget_bytes` is passed."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._used = 0
        self._entries: OrderedDict[Digest, StoredManifest] = OrderedDict()

    def get(self, digest: Digest) -> StoredManifest | None:
        """The manifest of that digest in Distribution's layout, if it is held."""
        entry = self._entries.get(digest)
        if entry is not None:
            self._entries.move_to_end(digest)
        return entry

    def put(self, entry: StoredManifest) -> StoredManifest:
        """Hold a manifest that was verified; the one that is held, so that its bytes are in memory once."""
        size = len(entry.content)
        held = self._entries.get(entry.digest)
        if held is not None or size > self._budget:
            return held or entry
        self._entries[entry.digest] = entry
        self._used += size
        while self._used > self._budget:
            _, gone = self._entries.popitem(last=False)
            self._used -= len(gone.content)
        return entry


class Manifests:
    """Manifests of repositories, wherever they lie: Distribution's layout, or whole in one of our objects."""

    def __init__(
        self, driver: Driver, effects: Effects, links: Links, content: Content, cache: ManifestCache
    ) -> None:
        self._driver = driver
        self._effects = effects
        self._links = links
        self._content = content
        self._cache = cache

    async def read(self, name: RepositoryName, digest: Digest) -> StoredManifest:
        """The manifest of a repository.

        The link is read each time, so that a delete counts at once; the bytes are immutable.

        Raises ManifestUnknown; storage NotFound (its key is the data's) when the link stands and the bytes
        are gone; StorageDamaged when the bytes do not have the digest.
        """
        try:
            target = await self._links.revision(name, digest)
        except NotFound:
            return await self._read_whole(name, digest)
        return await self.read_linked(digest, target)

    async def read_linked(self, digest: Digest, target: Digest) -> StoredManifest:
        """A manifest whose link was read, and contains `target`. Raises storage NotFound, StorageDamaged."""
        cached = self._cache.get(digest)
        if cached is not None:
            return cached
        return self._cache.put(await self.read_from(layout.blob_data(target), digest))

    async def parsed(self, name: RepositoryName, digest: Digest) -> Manifest:
        """The manifest of a repository, and what it refers to. Raises as `read` does, and ManifestInvalid."""
        stored = await self.read(name, digest)
        return await self._effects.aside(stored.parse)

    async def read_from(self, key: str, digest: Digest) -> StoredManifest:
        """A manifest whose bytes lie under another key for now. Raises storage NotFound, StorageDamaged."""
        async with self._effects.turn():
            data = await self.content_from(key, digest)
            return StoredManifest(digest, await self._media_type(data), data)

    async def content_from(self, key: str, digest: Digest) -> bytes:
        """The bytes alone, whose type the caller knows. Raises storage NotFound, StorageDamaged."""
        data = await self._read_all(key)
        await self._verify(data, digest)
        return data

    async def read_whole_from(self, key: str, digest: Digest) -> StoredManifest:
        """A manifest with its type under another key. Raises storage NotFound, StorageDamaged."""
        async with self._effects.turn():
            data = await self._read_all(key)
            media_type, _, content = data.partition(b"\n")
            await self._verify(content, digest)
            if not media_type.isascii():
                raise StorageDamaged(detail={"manifest": str(digest)})
            return StoredManifest(digest, media_type.decode("ascii"), content)

    async def is_whole_sound(self, key: str, digest: Digest) -> bool:
        """Whether a manifest with its type under a key has the digest. Raises storage NotFound."""
        try:
            await self.read_whole_from(key, digest)
        except StorageDamaged:
            return False
        return True

    async def exists(self, name: RepositoryName, digest: Digest) -> bool:
        """Whether the repository has the manifest, without reading its bytes."""
        link, whole = layout.revision_link(name, digest), layout.whole_manifest(name, digest)
        return await exists(self._driver, link) or await exists(self._driver, whole)

    async def written_at(self, name: RepositoryName, digest: Digest) -> float:
        """When the repository was last given the manifest, in seconds by the store's own clock.

        Raises ManifestUnknown.
        """
        for key in (layout.revision_link(name, digest), layout.whole_manifest(name, digest)):
            with suppress(NotFound):
                return (await self._driver.stat(key)).modified_at.timestamp()
        raise ManifestUnknown(detail={"name": name, "digest": str(digest)})

    async def put_content(self, digest: Digest, manifest: Manifest) -> None:
        """Put the bytes of a manifest that lies in Distribution's layout; they show first by their link."""
        if manifest.served_by_distribution:
            await self._content.put(digest, manifest.content)

    async def put_link(self, name: RepositoryName, digest: Digest, manifest: Manifest) -> None:
        """Make the manifest one of the repository, durably: the step that pulls go by."""
        if manifest.served_by_distribution:
            await self._links.put_revision(name, digest)
            self._cache.put(StoredManifest(digest, manifest.media_type, manifest.content))
        else:
            whole = manifest.media_type.encode() + b"\n" + manifest.content
            await self._driver.put(layout.whole_manifest(name, digest), whole)

    async def verify(self, digest: Digest, data: bytes) -> bool:
        """Whether bytes have the digest, hashed where it holds nobody up."""
        if len(data) <= _INLINE:
            return Digest.of(data, digest.algorithm) == digest
        return await self._effects.aside(Digest.of, data, digest.algorithm) == digest

    async def _read_whole(self, name: RepositoryName, digest: Digest) -> StoredManifest:
        try:
            return await self.read_whole_from(layout.whole_manifest(name, digest), digest)
        except NotFound:
            raise ManifestUnknown(detail={"name": name, "digest": str(digest)}) from None

    async def _read_all(self, key: str) -> bytes:
        try:
            return await self._driver.get(key, limit=READ_LIMIT)
        except TooLarge as error:
            raise StorageDamaged(f"what lies here for the manifest is none: {error.message}") from None

    async def _media_type(self, data: bytes) -> str:
        if len(data) <= _INLINE:
            return sniff_media_type(data)
        return await self._effects.aside(sniff_media_type, data)

    async def _verify(self, data: bytes, digest: Digest) -> None:
        if not await self.verify(digest, data):
            raise StorageDamaged(detail={"manifest": str(digest)})
