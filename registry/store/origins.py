"""Where the manifests of a repository came from, if any may have come from elsewhere.

Both marks stay once they are there, so neither who fetches nor who pushes the same has to know of the other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.store import layout, parsing
from storage.contract import Driver

_ELSEWHERE = "elsewhere"
_HERE = "here"


@dataclass(frozen=True, slots=True)
class Origin:
    """The manifests of a repository that came from `elsewhere`, and those that were pushed `here`."""

    elsewhere: set[Digest] = field(default_factory=set)
    here: set[Digest] = field(default_factory=set)

    @property
    def cached(self) -> set[Digest]:
        """Those that nobody has pushed."""
        return self.elsewhere - self.here


class Origins:
    """The marks of one store."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def of(self, name: RepositoryName) -> Origin:
        """What is known of the manifests of a repository."""
        origin = Origin()
        async for key in self._driver.walk(layout.origins(name)):
            if (found := parsing.origin_of(key)) is not None:
                (origin.here if found[1] == _HERE else origin.elsewhere).add(found[2])
        return origin

    async def note_elsewhere(self, name: RepositoryName, digest: Digest) -> None:
        """Note that a manifest comes from elsewhere, before it is there."""
        # One without it is taken for somebody's, and stays.
        await self._driver.put(layout.origin(name, _ELSEWHERE, digest), b"", durable=False)

    async def note_here(self, name: RepositoryName, digest: Digest) -> None:
        """Note that somebody has pushed a manifest, before he is told that it is there."""
        await self._driver.put(layout.origin(name, _HERE, digest), b"")

    async def each(self) -> AsyncIterator[tuple[str, RepositoryName, Digest]]:
        """The key of each mark, and what it is about, repository by repository."""
        async for key in self._driver.walk(layout.ORIGINS):
            if (found := parsing.origin_of(key)) is not None:
                yield key, found[0], found[2]

    async def forget(self, keys: Iterable[str]) -> None:
        """Remove marks of what is not there; one that a power cut brings back says nothing that is wrong."""
        await self._driver.delete(list(keys), durable=False)
