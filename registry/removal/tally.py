"""What a collector has taken, and what stayed for which reason, for whoever reports it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from registry.model.digests import Digest

UNNEEDED_MOST = 10_000


@dataclass(slots=True)
class Taken:
    """What was taken and did not come back."""

    count: int = 0
    size_bytes: int = 0
    put_back: int = 0
    kept_young: int = 0

    def add(self, other: Taken) -> None:
        """Count another's in."""
        self.count += other.count
        self.size_bytes += other.size_bytes
        self.put_back += other.put_back
        self.kept_young += other.kept_young


@dataclass(frozen=True, slots=True)
class Removal:
    """What one run has taken: blob links of a repository, or (None) data of the store as a whole; and why."""

    run: str
    repository: str | None
    links: int
    blobs: int
    size_bytes: int
    why: str


@dataclass(frozen=True, slots=True)
class Unneeded:
    """What would be taken: the link to a blob of a repository, or (None) the data of one; and why."""

    repository: str | None
    digest: str
    size_bytes: int
    why: str


@dataclass(slots=True)
class Tally:
    """The removals since somebody last asked, or in a dry run what would go; and how much stays.

    Links: `needed` by manifests, `unread` since something of their repository cannot be read. Data that is
    `linked`. Either: `claimed` by pushes under way, and `refused` by the storage, which does not let it go.
    """

    removals: list[Removal] = field(default_factory=list)
    unneeded: list[Unneeded] = field(default_factory=list)
    unneeded_left_out: int = 0
    needed: int = 0
    unread: int = 0
    linked: int = 0
    claimed: int = 0
    refused: int = 0

    def would_take(self, repository: str | None, sized: Iterable[tuple[Digest, int]], why: str) -> None:
        """Note what would go, each with its bytes; a long list ends in a number."""
        for digest, size in sized:
            if len(self.unneeded) < UNNEEDED_MOST:
                self.unneeded.append(Unneeded(repository, str(digest), size, why))
            else:
                self.unneeded_left_out += 1
