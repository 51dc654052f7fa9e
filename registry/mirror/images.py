"""Images fetched whole, without being asked for: manifests, what they list, blobs, and their referrers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from registry.core.registry import Registry
from registry.errors import BlobUnknown, ManifestInvalid, ManifestUnknown, RegistryError
from registry.mirror.mirror import Mirror
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.model.platforms import Platform, chosen
from registry.store.manifests import StoredManifest

# An upstream can go on with indexes of indexes, and with what refers to what refers to them.
_MOST_PARTS = 20_000


@dataclass(frozen=True, slots=True)
class Parts:
    """Which parts of an image: the platforms of an index (none: all), and what refers to it."""

    platforms: Sequence[Platform] = ()
    referrers: bool = True


@dataclass(slots=True)
class Came:
    """How much has come, and which warnings the upstreams gave rise to."""

    manifests: int = 0
    blobs: int = 0
    size_bytes: int = 0
    warnings: list[str] = field(default_factory=list)


class Images:
    """Fetches whole images into one namespace."""

    def __init__(self, mirror: Mirror, registry: Registry) -> None:
        self._mirror = mirror
        self._registry = registry

    async def fetch(
        self, name: RepositoryName, root: StoredManifest, parts: Parts, came: Came
    ) -> AsyncIterator[int]:
        """Have all that belongs to a manifest that is held; the bytes of each blob that came.

        Raises what keeps the upstreams from giving it.
        """
        # Not by recursion: how deep indexes are nested is for those to say who push them.
        pending = [root.digest]
        seen = {root.digest}
        while pending:
            digest = pending.pop()
            try:
                stored = await self._mirror.by_digest(name, digest)
            except ManifestUnknown:
                # buildkit's cache indexes list blobs; and what an index lists may be nowhere.
                with suppress(BlobUnknown):
                    yield await self._blob(name, digest, came)
                continue
            came.manifests += 1
            manifest = await self._registry.store.effects.aside(stored.parse)
            for descriptor in manifest.required_blobs:
                if descriptor.digest.supported:
                    yield await self._blob(name, descriptor.digest, came)
            wanted = chosen(manifest.children, parts.platforms)
            if parts.referrers:
                found = await self._mirror.referrers(name, stored.digest, came.warnings.append)
                wanted += [Digest.parse(str(one["digest"])) for one in found]
            new = {one: None for one in wanted if one.supported and one not in seen}
            if len(seen) + len(new) > _MOST_PARTS:
                raise ManifestInvalid(
                    f"more than {_MOST_PARTS} manifests belong to {name}@{root.digest}; what came is kept"
                )
            seen |= new.keys()
            pending += new

    async def _blob(self, name: RepositoryName, digest: Digest, came: Came) -> int:
        """Have a blob; how many bytes have come of it."""
        try:
            await self._registry.repository(name, "").blob(digest, may_push=False)
        except BlobUnknown:
            transfer = await self._mirror.blobs.transfer(name, digest)
            await transfer.settled()
            came.blobs += 1
            came.size_bytes += await transfer.size()
            return await transfer.size()
        return 0


def why(error: Exception) -> str:
    """What an error says, for a report."""
    return f"{error.code}: {error.message}" if isinstance(error, RegistryError) else str(error)
