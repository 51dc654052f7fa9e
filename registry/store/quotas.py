"""What counts for the quota of a prefix: what the last count has found, and what was added since it began.

    counted/<20-digit ns>-begun                      a count has begun
    counted/<20-digit ns>-<bytes>-<number>           what it found: halves of digests, 16 bytes each, in order
    added/<20-digit ns>-<alg>-<hex>-<bytes>          a blob or manifest, by who knew of no later count

Their names tell how much they are, so that two listings are enough to know how much is used. A name of what
is added says nothing of who adds it: whoever adds the same adds nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import isqrt

from registry.errors import DigestInvalid
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.store import layout, parsing
from storage.contract import Driver
from storage.errors import InvalidRange, NotFound

_HALF = 16  # bytes
_AT_ONCE = 4096  # halves that are read whole rather than looked through
_KEPT = 2  # what the last count but one has found may be being looked through


@dataclass(frozen=True, slots=True)
class Counted:
    """What a count has found below a prefix: `number` blobs and manifests."""

    key: str
    size_bytes: int
    number: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What the last count that came to its end has found (None: there was none), and which one began last.

    While that one is `under_way`, or after it died, it may find less than the last.
    """

    last: Counted | None
    begun: int
    under_way: bool


@dataclass(frozen=True, slots=True)
class Added:
    """A blob or manifest that was added below a prefix by who knew of the count that began then."""

    key: str
    digest: Digest
    size_bytes: int
    begun: int


class QuotaIndex:
    """What counts for each quota of one store. A power cut may take what was written last."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def prefixes(self) -> list[RepositoryName]:
        """The prefixes of which anything is known."""
        escaped = await self._driver.children(layout.QUOTAS)
        names = [parsing.catalog_name(f"{layout.CATALOG}/{one}") for one in escaped]
        return [name for name in names if name is not None]

    async def added(self, prefix: RepositoryName) -> list[Added]:
        """What was added below the prefix, some of it twice. To be asked before what was counted."""
        found: list[Added] = []
        async for key in self._driver.walk(f"{_place(prefix)}/added"):
            with suppress(ValueError, DigestInvalid):
                begun, algorithm, encoded, size = key.rpartition("/")[2].split("-")
                digest = Digest.parse(f"{algorithm}:{encoded}").require_supported()
                found.append(Added(key, digest, int(size), int(begun)))
        return found

    async def counts(self, prefix: RepositoryName) -> Counts:
        """What was counted, and is being counted."""
        place = f"{_place(prefix)}/counted"
        begun = ended = 0
        last = None
        for name in await self._driver.children(place):
            with suppress(ValueError):
                at, *found = name.split("-")
                begun = int(at)
                if len(found) == 2:
                    last, ended = Counted(f"{place}/{name}", int(found[0]), int(found[1])), begun
        return Counts(last, begun, begun > ended)

    async def holds(self, counted: Counted, digests: Collection[Digest]) -> set[Digest]:
        """Which of the digests were counted."""
        if not digests or not counted.number:
            return set()
        wanted = sorted((digest.half.to_bytes(_HALF), digest) for digest in digests)
        # A few are looked for one by one, many by reading the row once.
        if counted.number > _AT_ONCE * len(wanted):
            return {digest for half, digest in wanted if await self._look(counted, half)}
        found = set()
        pending = deque(wanted)
        for start in range(0, counted.number, _AT_ONCE):
            row = await self._read(counted, start, min(start + _AT_ONCE, counted.number))
            while pending and pending[0][0] <= row[-_HALF:]:
                half, digest = pending.popleft()
                if _has(row, half):
                    found.add(digest)
            if not pending or not row:
                break
        return found

    async def add(self, prefix: RepositoryName, sizes: Mapping[Digest, int], begun: int) -> None:
        """Add blobs and manifests with their bytes, in that order, knowing of the count that began then."""
        place = f"{_place(prefix)}/added/{begun:020d}"
        for digest, size in sizes.items():
            key = f"{place}-{digest.algorithm}-{digest.encoded}-{size}"
            await self._driver.put(key, b"", durable=False)

    async def begin(self, prefix: RepositoryName, now: float) -> int:
        """Say that a count begins, `now` in seconds by the store's own clock; by which number it is known."""
        # A store's clock may say the same for a second.
        begun = max(int(now * 1e9), (await self.counts(prefix)).begun + 1)
        await self._driver.put(f"{_place(prefix)}/counted/{begun:020d}-begun", b"", durable=False)
        return begun

    async def end(self, prefix: RepositoryName, begun: int, size_bytes: int, halves: Collection[int]) -> None:
        """Have the count that began then say what it found; `halves` in order."""
        place = f"{_place(prefix)}/counted"
        data = b"".join(half.to_bytes(_HALF) for half in halves)
        await self._driver.put(f"{place}/{begun:020d}-{size_bytes}-{len(halves)}", data, durable=False)
        names = [name for name in await self._driver.children(place) if int(name.partition("-")[0]) <= begun]
        found = [name for name in names if not name.endswith("-begun")]
        old = [name for name in names if name not in found[-_KEPT:]]
        await self._driver.delete([f"{place}/{name}" for name in old], durable=False)

    async def take(self, added: Iterable[Added]) -> None:
        """Let go of what was added, and counted since."""
        await self._driver.delete([one.key for one in added], durable=False)

    async def forget(self, prefix: RepositoryName) -> None:
        """Let go of all that is known of a prefix."""
        keys = [key async for key in self._driver.walk(_place(prefix))]
        await self._driver.delete(keys, durable=False)

    async def _look(self, counted: Counted, half: bytes) -> bool:
        """Whether a half was counted: they lie as even as chance has it, so where it would be is known."""
        likely = int.from_bytes(half) * counted.number >> 8 * _HALF
        reach = 2 * isqrt(counted.number) + 64
        while True:
            first, last = max(0, likely - reach), min(counted.number, likely + reach)
            window = await self._read(counted, first, last)
            before = first > 0 and half < window[:_HALF]
            behind = last < counted.number and half > window[-_HALF:]
            if not window or not (before or behind):
                return _has(window, half)
            reach *= 4

    async def _read(self, counted: Counted, first: int, last: int) -> bytes:
        """Some of the halves; none where a power cut, or two counts since, have taken them."""
        with suppress(NotFound, InvalidRange):
            async with self._driver.open(counted.key, first * _HALF, last * _HALF) as opened:
                return b"".join([piece async for piece in opened.chunks()])
        return b""


def _has(halves: bytes, half: bytes) -> bool:
    """Whether a half is one of some that are in order."""
    low, high = 0, len(halves) // _HALF
    while low < high:
        middle = (low + high) // 2
        found = halves[middle * _HALF : (middle + 1) * _HALF]
        if found == half:
            return True
        if found < half:
            low = middle + 1
        else:
            high = middle
    return False


def _place(prefix: RepositoryName) -> str:
    """Where what is known of a prefix lies; escaped as in the catalog, so that none lies below another."""
    return f"{layout.QUOTAS}/{layout.catalog_entry(prefix).rpartition('/')[2]}"
