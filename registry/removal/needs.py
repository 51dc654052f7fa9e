"""What a repository needs: the digests that pushes under way and its manifests refer to."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from registry.errors import ManifestUnknown, RegistryError, Unsupported
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.removal.intents import Intents
from registry.store.store import Store
from storage.errors import NotFound

# Above this many manifests a blob's delete would have to read too many of them.
MANIFESTS_READ_MAX = 2000


class Needs:
    """What removers look at before they let go: intents and links, never what is derived from them.

    Only of what they are about to let go is it kept in mind that it is needed: an index may list any number
    of others.
    """

    def __init__(self, store: Store, intents: Intents) -> None:
        self._store = store
        self._intents = intents

    async def _references(self, name: RepositoryName, digest: Digest) -> frozenset[Digest] | None:
        """What a manifest refers to; None when it cannot be read. Raises ManifestUnknown."""
        try:
            manifest = await self._store.manifests.parsed(name, digest)
        except ManifestUnknown:
            raise
        except (RegistryError, NotFound):
            return None
        return frozenset(descriptor.digest for descriptor in manifest.references)

    async def of(self, name: RepositoryName, among: Collection[Digest]) -> set[Digest] | None:
        """Which of these pushes under way and the manifests of the repository need.

        None when one cannot be read.
        """
        return await self._with_manifests(name, await self._intents.needed(name), among)

    async def listed(self, name: RepositoryName, among: Collection[Digest]) -> set[Digest] | None:
        """The same without the manifests that are being pushed: they see to themselves."""
        return await self._with_manifests(name, await self._intents.referred_to(name), among)

    async def _with_manifests(
        self, name: RepositoryName, announced: set[Digest], among: Collection[Digest]
    ) -> set[Digest] | None:
        wanted = frozenset(among)
        needed = announced & wanted
        # Intents first, then links: whoever is not seen in the first has its link by the second.
        async for digest in self._store.links.manifests(name):
            with suppress(ManifestUnknown):
                references = await self._references(name, digest)
                if references is None:
                    return None
                needed |= references & wanted
        return needed

    async def refuse(self, name: RepositoryName, digest: Digest) -> None:
        """Raises Unsupported (405) when a manifest refers to the digest, or when that cannot be told."""
        manifests = [one async for one in self._store.links.manifests(name)]
        if len(manifests) > MANIFESTS_READ_MAX:
            raise Unsupported(
                f"the repository has more than {MANIFESTS_READ_MAX} manifests, too many to tell whether one "
                "needs the blob; delete manifests, and let collection take what no longer is needed"
            )
        for one in manifests:
            with suppress(ManifestUnknown):
                references = await self._references(name, one)
                if references is None:
                    raise Unsupported(
                        f"manifest {one} cannot be read, so what it needs is not known; the blob stays"
                    )
                if digest in references:
                    raise Unsupported(f"manifest {one} refers to the blob; delete that first")
