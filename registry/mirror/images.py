"""Images fetched whole, without being asked for: manifests, what they list, blobs, and their referrers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
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
# So many are known before any of them is fetched, and more of what comes then is told.
_MOST_BLOBS = 10_000
_TOLD_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Parts:
    """Which parts of an image: the platforms of an index (none: all), and what refers to it."""

    platforms: Sequence[Platform] = ()
    referrers: bool = True


@dataclass(slots=True)
class Came:
    """How much has come, and which warnings the upstreams gave rise to.

    `size_bytes` counts what has come of blobs, `expected_bytes` also what is yet to come, as far as manifests
    have told.
    """

    manifests: int = 0
    blobs: int = 0
    size_bytes: int = 0
    expected_bytes: int = 0
    warnings: list[str] = field(default_factory=list)


class Images:
    """Fetches whole images into one namespace."""

    def __init__(self, mirror: Mirror, registry: Registry) -> None:
        self._mirror = mirror
        self._registry = registry

    async def fetch(
        self, name: RepositoryName, root: StoredManifest, parts: Parts, came: Came
    ) -> AsyncGenerator[None, None]:
        """Have all that belongs to a manifest that is held; yields whenever more has come, or is known of.

        Raises what keeps the upstreams from giving it.
        """
        missing: dict[Digest, int | None] = {}
        try:
            async for _ in self._manifests(name, root, parts, came, missing):
                if len(missing) >= _MOST_BLOBS:
                    async for _ in self._blobs(name, missing, came):
                        yield
                yield
            async for _ in self._blobs(name, missing, came):
                yield
        finally:
            # What has not come by now is not expected any more.
            came.expected_bytes = came.size_bytes

    async def _manifests(
        self,
        name: RepositoryName,
        root: StoredManifest,
        parts: Parts,
        came: Came,
        missing: dict[Digest, int | None],
    ) -> AsyncIterator[None]:
        """Have all manifests, and note the blobs that are missing, with their sizes (None: not told)."""
        # Not by recursion: how deep indexes are nested is for those to say who push them.
        pending = [root.digest]
        seen = {root.digest}
        while pending:
            digest = pending.pop()
            try:
                stored = await self._mirror.by_digest(name, digest)
            except ManifestUnknown:
                # buildkit's cache indexes list blobs; and what an index lists may be nowhere.
                if not await self._is_held(name, digest):
                    missing.setdefault(digest, None)
                continue
            came.manifests += 1
            manifest = await self._registry.store.effects.aside(stored.parse)
            for one in manifest.required_blobs:
                if (
                    one.digest.supported
                    and missing.get(one.digest) is None
                    and not await self._is_held(name, one.digest)
                ):
                    missing[one.digest] = one.size_bytes
                    came.expected_bytes += one.size_bytes
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
            yield

    async def _blobs(
        self, name: RepositoryName, missing: dict[Digest, int | None], came: Came
    ) -> AsyncIterator[None]:
        """Have those blobs, after which none is missing."""
        while missing:
            digest, told_bytes = missing.popitem()
            try:
                transfer = await self._mirror.blobs.transfer(name, digest)
            except BlobUnknown:
                if told_bytes is not None:
                    raise
                # It may be nowhere.
                continue
            before = came.size_bytes
            came.expected_bytes += await transfer.size() - (told_bytes or 0)
            async for come in transfer.growth(_TOLD_BYTES):
                came.size_bytes = before + come
                yield
            came.blobs += 1

    async def _is_held(self, name: RepositoryName, digest: Digest) -> bool:
        try:
            await self._registry.repository(name, "").blob(digest, may_push=False)
        except BlobUnknown:
            return False
        return True


def why(error: Exception) -> str:
    """What an error says, for a report."""
    return f"{error.code}: {error.message}" if isinstance(error, RegistryError) else str(error)
