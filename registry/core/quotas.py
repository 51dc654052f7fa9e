"""Quotas: how many bytes all repositories below a prefix may hold together, each blob counted once.

What the manifests of a prefix need counts. `QuotaIndex` knows what that was when it was counted last, and
what pushes have added since. Only what is below the prefix decides, so that nobody learns what others hold.
A repository without a quota is asked nothing and costs nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass

from registry.core.bodies import Body, Passed
from registry.core.returning import Returning
from registry.errors import BlobUnknown, ManifestInvalid, ManifestUnknown, QuotaExceeded, StorageDamaged
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.model.names import RepositoryName
from registry.model.units import format_size
from registry.store.quotas import Counts, QuotaIndex
from registry.store.store import Store
from storage.errors import NotFound


@dataclass(slots=True)
class Standing:
    """How things stand for one quota, as far as names tell: what was counted, and what was added since.

    Of what was added some may have been counted since, so `used_bytes` may be too much, never too little.
    `lasting` is what was added by who knew of the count that began last: it lets go of the rest.
    """

    prefix: RepositoryName
    limit_bytes: int
    counts: Counts
    added: dict[Digest, int]
    lasting: frozenset[Digest]

    @property
    def used_bytes(self) -> int:
        """What is used of it."""
        return (self.counts.last.size_bytes if self.counts.last else 0) + sum(self.added.values())

    def refusal(self, needed_bytes: int) -> QuotaExceeded:
        """Why there is no room for so many bytes more."""
        return QuotaExceeded(
            f"the repositories below {self.prefix} hold {format_size(self.used_bytes)} of the"
            f" {format_size(self.limit_bytes)} that they may, which leaves no room for"
            f" {'anything' if needed_bytes <= 1 else format_size(needed_bytes)} more: delete what is not"
            " needed, which counts from the next `moorage usage count` on, or ask for a larger quota",
            detail={
                "prefix": self.prefix,
                "limit": self.limit_bytes,
                "used": self.used_bytes,
                "needed": needed_bytes,
            },
        )


class Quotas:
    """The quotas of one store: `limits` has the bytes for each prefix."""

    def __init__(self, store: Store, limits: Mapping[RepositoryName, int]) -> None:
        self._store = store
        self.index = QuotaIndex(store.driver)
        self.limits = limits

    def above(self, name: RepositoryName) -> list[RepositoryName]:
        """The prefixes with a quota that a repository belongs to."""
        if not self.limits:
            return []
        path = name.split("/")
        prefixes = ("/".join(path[:depth]) for depth in range(1, len(path) + 1))
        return [RepositoryName(prefix) for prefix in prefixes if prefix in self.limits]

    async def standing(self, prefix: RepositoryName) -> Standing:
        """How things stand for a quota."""
        # In this order: a count says what it has found before it lets go of what was added.
        added = await self.index.added(prefix)
        counts = await self.index.counts(prefix)
        lasting = frozenset(one.digest for one in added if one.begun == counts.begun)
        sizes = {one.digest: one.size_bytes for one in added}
        return Standing(prefix, self.limits[prefix], counts, sizes, lasting)

    async def exactly(self, prefix: RepositoryName) -> Standing:
        """How things stand for a quota, and nothing twice."""
        standing = await self.standing(prefix)
        await self._settle(standing)
        return standing

    async def require(self, name: RepositoryName, size_bytes: int, digest: Digest | None = None) -> None:
        """Raises QuotaExceeded where there is no room for so many bytes more, unless they count already."""
        for prefix in self.above(name):
            standing = await self.standing(prefix)
            if not await self._fits(standing, size_bytes) and not (
                digest is not None and await self._counts(standing, digest)
            ):
                raise standing.refusal(size_bytes)

    async def require_all(self, name: RepositoryName, sizes: Mapping[Digest, int]) -> None:
        """Raises QuotaExceeded where there is no room for what of this does not count already."""
        for prefix in self.above(name):
            standing = await self.standing(prefix)
            new = await self._new(standing, sizes)
            if not await self._fits(standing, needed := sum(sizes[digest] for digest in new)):
                raise standing.refusal(needed)

    async def require_with(
        self, name: RepositoryName, manifests: Mapping[Digest, Manifest], returning: Returning
    ) -> None:
        """Raises QuotaExceeded where there is no room for manifests and what would come back for them."""
        standings = [await self.standing(prefix) for prefix in self.above(name)]
        sizes: dict[Digest, int] = {}
        for digest, manifest in manifests.items():
            sizes |= await self._sizes(name, digest, manifest, standings, returning)
        await self.require_all(name, sizes)

    async def bounded(
        self, name: RepositoryName, body: Body, before_bytes: int, digest: Digest | None = None
    ) -> Body:
        """The body, which follows so many bytes of the same upload, and which may not go beyond a quota.

        Raises QuotaExceeded at once if the body says that it is too long, else as soon as it is.
        """
        if not self.above(name) or body.length == 0:
            return body
        if body.length is not None:
            await self.require(name, before_bytes + body.length, digest)
            return body
        for prefix in self.above(name):
            # At once, since nobody looks again when the body turns out to be too long.
            standing = await self.exactly(prefix)
            if digest is None or not await self._counts(standing, digest):
                body = _Bounded(body, before_bytes, standing)
        return body

    async def add(self, name: RepositoryName, digest: Digest, manifest: Manifest) -> None:
        """Have a manifest count that is about to be pushed, with all that it needs of the repository.

        Raises QuotaExceeded where there is no room for what is new of it below a prefix.
        """
        prefixes = self.above(name)
        if not prefixes:
            return
        standings = [await self.standing(prefix) for prefix in prefixes]
        sizes = await self._sizes(name, digest, manifest, standings)
        new: list[dict[Digest, int]] = []
        for standing in standings:
            news, passing = await self._new_and_passing(standing, sizes)
            if not await self._fits(standing, needed := sum(sizes[one] for one in news)):
                raise standing.refusal(needed)
            # A manifest behind what it needs: if it counts, so does all of that.
            new.append({one: size for one, size in reversed(sizes.items()) if one in passing})
        for standing, added in zip(standings, new, strict=True):
            await self.index.add(standing.prefix, added, standing.counts.begun)

    async def _fits(self, standing: Standing, needed_bytes: int) -> bool:
        """Whether there is room for so many bytes more; nothing always fits.

        Before that is denied, what counts twice is left out of the standing.
        """
        if not needed_bytes or standing.used_bytes + needed_bytes <= standing.limit_bytes:
            return True
        await self._settle(standing)
        return standing.used_bytes + needed_bytes <= standing.limit_bytes

    async def _settle(self, standing: Standing) -> None:
        """Leave out of what was added what was counted since."""
        if standing.counts.last is not None:
            for digest in await self.index.holds(standing.counts.last, standing.added):
                del standing.added[digest]

    async def _new(self, standing: Standing, digests: Collection[Digest]) -> set[Digest]:
        """Which of the digests do not count yet."""
        new = {digest for digest in digests if digest not in standing.added}
        if standing.counts.last is not None:
            new -= await self.index.holds(standing.counts.last, new)
        return new

    async def _new_and_passing(
        self, standing: Standing, digests: Collection[Digest]
    ) -> tuple[set[Digest], set[Digest]]:
        """Which of the digests do not count yet, and which may stop when the count that began last has ended.

        It lets go of what was added before it, and may have passed by before this is linked.
        """
        passing = {digest for digest in digests if digest not in standing.lasting}
        if standing.counts.under_way:
            return await self._new(standing, digests), passing
        if standing.counts.last is not None:
            passing -= await self.index.holds(standing.counts.last, passing)
        # What lasts was added, too.
        return {digest for digest in passing if digest not in standing.added}, passing

    async def _counts(self, standing: Standing, digest: Digest) -> bool:
        return not await self._new(standing, [digest])

    async def _sizes(
        self,
        name: RepositoryName,
        digest: Digest,
        manifest: Manifest,
        standings: Collection[Standing],
        returning: Returning | None = None,
    ) -> dict[Digest, int]:
        """The bytes of a manifest, of what it needs, and of the manifests that it lists if they are new.

        That may be what is not there yet, but `returning`.
        """
        sizes: dict[Digest, int] = {}
        pending = {digest}
        while pending:
            one = pending.pop()
            read = manifest if one == digest else await self._manifest(name, one, returning)
            if read is None:
                continue
            sizes[one] = len(read.content)
            references = list(dict.fromkeys(reference.digest for reference in read.references))
            found = await self._store.effects.together(self._blob(name, one, returning) for one in references)
            for target, size in (one for one in found if one is not None):
                # To the end: behind each manifest that needs it.
                sizes[target] = sizes.pop(target, size)
            children = {one for one, blob in zip(references, found, strict=True) if blob is None}
            new = [await self._new(standing, children) for standing in standings]
            pending = pending.union(*new) - sizes.keys()
        return sizes

    async def _blob(
        self, name: RepositoryName, digest: Digest, returning: Returning | None
    ) -> tuple[Digest, int] | None:
        """Where the data of a blob of the repository lies, and its bytes; None when it has none."""
        try:
            target = await self._store.links.layer(name, digest)
            return target, (await self._store.content.stat(target)).size_bytes
        except (BlobUnknown, NotFound):
            return None if returning is None else await returning.blob(name, digest)

    async def _manifest(
        self, name: RepositoryName, digest: Digest, returning: Returning | None
    ) -> Manifest | None:
        try:
            return await self._store.manifests.parsed(name, digest)
        except (ManifestUnknown, ManifestInvalid, StorageDamaged, NotFound):
            return None if returning is None else await returning.manifest(name, digest)


class _Bounded(Passed):
    """A body that did not say how long it is, and which ends when it is too long for a quota."""

    def __init__(self, body: Body, before_bytes: int, standing: Standing) -> None:
        super().__init__(body)
        self._before = before_bytes
        self._standing = standing

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = self._before
        room = self._standing.limit_bytes - self._standing.used_bytes
        async for piece in self._body:
            seen += len(piece)
            if seen > room:
                raise self._standing.refusal(seen)
            yield piece
