"""The bytes of manifests that one process holds while they are being pushed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from registry.errors import Unavailable

# What a manifest may have without asking: nearly all have less, so that large ones never keep those out.
_FREE_BYTES = 64 << 10


class Lease:
    """What one push holds."""

    def __init__(self, memory: ManifestMemory) -> None:
        self._memory = memory
        self.size_bytes = 0

    def extend(self, size_bytes: int) -> None:
        """Hold `size_bytes` in all. Raises Unavailable when the process holds too much already."""
        more = size_bytes - _FREE_BYTES - self.size_bytes
        if more > 0:
            self._memory.take(more)
            self.size_bytes += more


class ManifestMemory:
    """A bound on the bytes of large manifests in memory: a thousand slow clients could send 4 MiB each."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._taken = 0

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        """What is taken through the lease is given back at the end."""
        lease = Lease(self)
        try:
            yield lease
        finally:
            self._taken -= lease.size_bytes

    def take(self, size_bytes: int) -> None:
        """Count bytes as held. Raises Unavailable."""
        if self._taken + size_bytes > self._most:
            raise Unavailable(
                f"this process holds {self._taken} bytes of large manifests that are being pushed;"
                " try again shortly",
                headers={"Retry-After": "5"},
            )
        self._taken += size_bytes
