"""Compares two stores: what the source has the target has too, byte for byte, and no more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from registry.errors import RegistryError
from registry.model.digests import Digest
from registry.store import layout, parsing
from registry.store.store import Store
from registry.upkeep.copying import SMALL_BYTES
from registry.upkeep.spread import merged, spread
from registry.work.operations import Progress
from storage.errors import NotFound, TooLarge

_AT_ONCE = 16

# All that a copy brings over, but secrets.
_COMPARED = (
    layout.BLOBS,
    layout.REPOSITORIES,
    layout.WHOLE_MANIFESTS,
    layout.REFERRERS,
    layout.HISTORY,
    layout.TRASH,
    layout.BLOCKED,
    layout.AUDIT,
    layout.CATALOG,
    layout.MIRRORED,
    layout.ORIGINS,
    layout.PINS,
    layout.BUNDLES,
)


@dataclass(frozen=True, slots=True)
class Difference:
    """A key under which the target does not have what the source has."""

    key: str
    problem: str


@dataclass(slots=True)
class Compared:
    """What was looked at so far."""

    objects: int = 0
    hashed_bytes: int = 0
    differences: list[Difference] = field(default_factory=list)


class Comparing:
    """One look at two stores, of which nothing is changed; `compared` tells what it has found so far."""

    def __init__(self, source: Store, target: Store) -> None:
        self._source = source
        self._target = target
        self.compared = Compared()

    async def run(self) -> AsyncIterator[Progress]:
        """Do it: of content-addressed data the target's is hashed. Raises StorageError."""
        for prefix in _COMPARED:
            both = merged(self._source.driver.walk(prefix), self._target.driver.walk(prefix))
            async for _ in spread(both, self._look, width=_AT_ONCE):
                yield Progress(self.compared.objects, None, "items", prefix)

    async def _look(self, found: tuple[str, bool, bool]) -> None:
        key, here, there = found
        if parsing.is_session_of_distribution(key):
            return  # which nobody moves
        self.compared.objects += 1
        if here and there:
            problem = await self._compare(key)
        elif there and key.startswith(f"{layout.AUDIT}/"):
            return  # of the target's own trail
        else:
            problem = "the target does not have it" if here else "the source does not have it"
        if problem is not None:
            self.compared.differences.append(Difference(key, problem))

    async def _compare(self, key: str) -> str | None:
        digest = parsing.digest_of(key)
        try:
            if digest is not None and not parsing.is_whole_manifest(key):
                return await self._hash(key, digest)
            ours = await self._source.driver.get(key, limit=SMALL_BYTES)
            theirs = await self._target.driver.get(key, limit=SMALL_BYTES)
        except NotFound:
            return "it went while it was looked at"
        except TooLarge as error:
            return error.message
        return None if ours == theirs else "the bytes are others"

    async def _hash(self, key: str, digest: Digest) -> str | None:
        size = (await self._target.driver.stat(key)).size_bytes
        # Apart from the wait, as a sum that was read before it would lose what others add.
        self.compared.hashed_bytes += size
        try:
            found = await self._target.content.hash([key], digest.algorithm)
        except RegistryError as error:
            return error.message
        return None if found == digest else f"the target's bytes have the digest {found}"
