"""What counts for the quota of a prefix: what the last count has found, and what was added since it began.

    counted/<20-digit ns>-<bytes>-<number>      the halves of digests, 16 bytes each, in order
    added/<alg>-<hex>-<bytes>                   a blob or manifest

Their names tell how much they are, so that two listings are enough to know how much is used. A name of what
is added says nothing of who adds it: whoever adds the same adds nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import isqrt

from registry.errors import DigestInvalid
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.store import layout
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


class QuotaIndex:
    """What counts for each quota of one store. A power cut may take what was written last."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def prefixes(self) -> list[RepositoryName]:
        """The prefixes of which anything is known."""
        escaped = await self._driver.children(layout.QUOTAS)
        names = [layout.catalog_name(f"{layout.CATALOG}/{one}") for one in escaped]
        return [name for name in names if name is not None]

    async def added(self, prefix: RepositoryName) -> dict[Digest, int]:
        """What was added below the prefix, with its bytes. To be asked before what was counted."""
        found: dict[Digest, int] = {}
        async for key in self._driver.walk(f"{_place(prefix)}/added"):
            with suppress(ValueError, DigestInvalid):
                algorithm, encoded, size = key.rpartition("/")[2].split("-")
                found[Digest.parse(f"{algorithm}:{encoded}").require_supported()] = int(size)
        return found

    async def counted(self, prefix: RepositoryName) -> Counted | None:
        """What the last count has found; None before the first."""
        place = f"{_place(prefix)}/counted"
        for name in reversed(await self._driver.children(place)):
            with suppress(ValueError):
                _, size, number = name.split("-")
                return Counted(f"{place}/{name}", int(size), int(number))
        return None

    async def holds(self, counted: Counted, digests: Collection[Digest]) -> set[Digest]:
        """Which of the digests were counted."""
        wanted = {digest: digest.half.to_bytes(_HALF) for digest in digests}
        whole = None
        if wanted and counted.number <= _AT_ONCE:
            whole = await self._read(counted, 0, counted.number)
        found = set()
        for digest, half in wanted.items():
            if _has(whole, half) if whole is not None else await self._look(counted, half):
                found.add(digest)
        return found

    async def add(self, prefix: RepositoryName, sizes: Mapping[Digest, int]) -> None:
        """Add blobs and manifests with their bytes, in that order."""
        for digest, size in sizes.items():
            await self._driver.put(_added(prefix, digest, size), b"", durable=False)

    async def put_counted(
        self, prefix: RepositoryName, began: float, size_bytes: int, halves: Collection[int]
    ) -> None:
        """Have a count that `began` then, in seconds, say what it found; `halves` in order."""
        place = f"{_place(prefix)}/counted"
        old = await self._driver.children(place)
        # A store's clock may say the same for a second.
        at = max([int(began * 1e9), *(int(one.partition("-")[0]) + 1 for one in old)])
        data = b"".join(half.to_bytes(_HALF) for half in halves)
        await self._driver.put(f"{place}/{at:020d}-{size_bytes}-{len(halves)}", data, durable=False)
        await self._driver.delete([f"{place}/{one}" for one in old[: 1 - _KEPT]], durable=False)

    async def take(self, prefix: RepositoryName, added: Iterable[tuple[Digest, int]]) -> None:
        """Let go of what was added, and counted since."""
        keys = [_added(prefix, digest, size) for digest, size in added]
        await self._driver.delete(keys, durable=False)

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


def _added(prefix: RepositoryName, digest: Digest, size_bytes: int) -> str:
    return f"{_place(prefix)}/added/{digest.algorithm}-{digest.encoded}-{size_bytes}"
