"""How much of everything is done: to measure, to look quickly, or to see that it runs."""

from __future__ import annotations

from dataclasses import dataclass, replace

MIB = 1 << 20
# Three small files and their directories.
STORED_BYTES = 24 << 10
# A dozen of them.
COLLECTED_BYTES = 96 << 10


@dataclass(frozen=True, slots=True)
class Scale:
    """Amounts of work; `minutes` are for one group in one place, and no round begins that would end later."""

    rounds: int = 5
    minutes: float = 2.25
    large_bytes: int = 64 * MIB
    requests: int = 1000
    images: int = 96
    image_clients: int = 8
    repositories: int = 50
    pushes: int = 50
    repeats: int = 2
    pullers: int = 64
    pull_bytes: int = 16 * MIB
    small_pushes: int = 10_000
    idle: int = 10_000
    slow_each: int = 1000
    rest_seconds: float = 5
    slow_seconds: float = 15
    stored: int = 100_000
    collected: int = 100_000
    starts: int = 5
    crowd: int = 200
    crowd_bytes: int = 1024 * MIB
    bundle_bytes: int = 3072 * MIB
    bundled: int = 100_000

    def warm(self) -> Scale:
        """What the round does that does not count; it touches every repository and shelf all the same."""
        return replace(self, requests=self.requests // 4 + 1, pushes=min(self.pushes, 4))

    @property
    def room_bytes(self) -> int:
        """What has to be free where the servers keep their storage."""
        at_once = max(self.stored * STORED_BYTES, self.collected * COLLECTED_BYTES)
        return (self.pushes + 16) * self.large_bytes + at_once


FULL = Scale()
QUICK = Scale(
    rounds=2,
    minutes=0.5,
    large_bytes=16 * MIB,
    requests=300,
    images=50,
    pushes=16,
    repeats=1,
    small_pushes=2000,
    idle=2000,
    slow_each=300,
    slow_seconds=5,
    stored=10_000,
    collected=10_000,
    starts=3,
    crowd_bytes=64 * MIB,
    bundle_bytes=512 * MIB,
    bundled=2000,
)
TINY = Scale(
    rounds=1,
    minutes=1,
    large_bytes=2 * MIB,
    requests=12,
    images=4,
    image_clients=2,
    repositories=2,
    pushes=3,
    repeats=1,
    pullers=4,
    pull_bytes=1 * MIB,
    small_pushes=16,
    idle=20,
    slow_each=5,
    rest_seconds=0.1,
    slow_seconds=0.5,
    stored=50,
    collected=20,
    starts=1,
    crowd=12,
    crowd_bytes=4 * MIB,
    bundle_bytes=2 * MIB,
    bundled=20,
)
