"""Blobs on their way from another registry: segments in the store, so that any process follows and resumes.

The name of a segment says which of the blob's bytes it has, and of how many: one listing tells how far it is.
Two processes may write at once; each place has the same bytes then, and which segments are taken does not
matter. Nothing of it needs to survive a power cut, so segments of an earlier epoch of the store are nobody's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.store import layout, parsing
from registry.store.effects import Effects
from storage.contract import Check, Driver, InMemory, OpenObject
from storage.errors import NotFound

_NAME = re.compile(r"([0-9]{20})-([0-9]{20})-([0-9]{20})-([0-9a-f]{16})-[0-9a-f-]{36}")

_LIMIT = 1024  # bytes of a mark


@dataclass(frozen=True, slots=True)
class Segment:
    """The bytes `[start, end)` of a blob, under `key`."""

    start: int
    end: int
    key: str

    @property
    def name(self) -> str:
        """The last part of the key: of no two segments the same."""
        return self.key.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Progress:
    """The segments of a blob that follow each other from its beginning, and its size if that is known."""

    segments: Sequence[Segment]
    size_bytes: int | None

    def goes_on_from(self, segments: Sequence[Segment]) -> bool:
        """Whether it begins with these segments."""
        return list(self.segments[: len(segments)]) == list(segments)

    @property
    def end(self) -> int:
        """One behind the last byte that is there."""
        return self.segments[-1].end if self.segments else 0


class Transfers:
    """The blobs on their way into one store."""

    def __init__(self, driver: Driver, effects: Effects) -> None:
        self._driver = driver
        self._effects = effects

    async def look(self, namespace: RepositoryName, digest: Digest) -> Progress:
        """How far a blob is."""
        prefix = layout.transfer(namespace, digest)
        names = await self._driver.children(prefix)
        segments: list[Segment] = []
        end, size = 0, None
        found = [match for name in names if (match := _NAME.fullmatch(name)) and match[4] == self._epoch()]
        # By their beginnings; of two that begin at one place, the longer one first.
        for match in sorted(found, key=lambda one: (int(one[1]), -int(one[2]))):
            start, behind = int(match[1]), int(match[2])
            if start == end and behind > start:
                segments.append(Segment(start, behind, f"{prefix}/{match[0]}"))
                end, size = behind, int(match[3])
        return Progress(segments, size)

    async def write(
        self,
        namespace: RepositoryName,
        digest: Digest,
        segment: tuple[int, int],
        size_bytes: int,
        pieces: Sequence[bytes],
        check: Check,
    ) -> Segment:
        """Store the bytes `[start, end)` of a blob of `size_bytes`."""
        start, end = segment
        name = f"{start:020d}-{end:020d}-{size_bytes:020d}-{self._epoch()}-{self._effects.unique()}"
        key = f"{layout.transfer(namespace, digest)}/{name}"
        await self._driver.write(key, InMemory(pieces), check=check, durable=False)
        return Segment(start, end, key)

    def open(self, segment: Segment, start: int, end: int) -> AbstractAsyncContextManager[OpenObject]:
        """Open the bytes `[start, end)` of the blob, which lie in the segment. Raises storage NotFound."""
        return self._driver.open(segment.key, start - segment.start, end - segment.start)

    async def drop(self, namespace: RepositoryName, digest: Digest) -> None:
        """Remove all that is left of it."""
        left = [key async for key in self._driver.walk(layout.transfer(namespace, digest))]
        if left:
            await self._driver.delete(left, durable=False)

    async def drop_before(self, namespace: RepositoryName, before: float) -> int:
        """Remove what was written before a time by the store's clock, in seconds; how many segments."""
        old = []
        async for key in self._driver.walk(layout.transfers(namespace)):
            try:
                if (await self._driver.stat(key)).modified_at.timestamp() < before:
                    old.append(key)
            except NotFound:
                continue
        if old:
            await self._driver.delete(old, durable=False)
        return len(old)

    async def mark(self, namespace: RepositoryName, digest: Digest, first: Segment | None) -> None:
        """Note that a blob came from where the namespace's content comes from, beginning with a segment."""
        began = "" if first is None else first.name
        await self._driver.put(layout.mirrored(namespace, digest), began.encode(), durable=False)

    async def marked(self, namespace: RepositoryName, digest: Digest) -> str | None:
        """The name of the segment with which a blob began that came from there; None if none is known to."""
        try:
            began = await self._driver.get(layout.mirrored(namespace, digest), limit=_LIMIT)
        except NotFound:
            return None
        return began.decode(errors="replace")

    async def forget(self, namespace: RepositoryName, digest: Digest) -> None:
        """Let a blob be fetched again, though there are bytes of it."""
        await self._driver.delete([layout.mirrored(namespace, digest)], durable=False)

    async def marks(self) -> AsyncIterator[tuple[str, RepositoryName, Digest]]:
        """The key of each mark that a blob came from elsewhere, the namespace, and the blob."""
        async for key in self._driver.walk(layout.MIRRORED):
            if (found := parsing.mirrored_of(key)) is not None:
                yield key, *found

    async def unmark(self, keys: Iterable[str]) -> None:
        """Remove marks of what is not there; the blob is fetched anew when it is asked for."""
        await self._driver.delete(list(keys), durable=False)

    def _epoch(self) -> str:
        # An unknown epoch is never the same as another: then every process has its own.
        epoch = self._driver.epoch or f"{id(self)}"
        return hashlib.sha256(epoch.encode()).hexdigest()[:16]
