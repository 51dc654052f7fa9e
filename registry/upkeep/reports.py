"""The reports of collections."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from registry.model.units import format_size
from registry.store.store import Store
from registry.work.reports import ReportsOf, append, listed

TROUBLES = 1000
SHOWN_TROUBLES = 20
Phase = Literal["links", "data", "trash", "done"]


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that is kept since it cannot be read, or does not belong there: where, what and why."""

    repository: str
    content: str
    problem: str


@dataclass(slots=True)
class Collection:
    """What a collection has done so far.

    `after` is how far it got in its phase. `kept_young` counts what is unneeded, and younger than the grace
    period.
    """

    began: datetime
    by: str
    dry_run: bool
    ended: datetime | None = None
    phase: Phase = "links"
    after: str = ""
    resumed: int = 0
    repositories: int = 0
    repositories_kept_whole: int = 0
    manifests: int = 0
    links: int = 0
    links_taken: int = 0
    links_put_back: int = 0
    blobs_taken: int = 0
    bytes_taken: int = 0
    blobs_put_back: int = 0
    kept_young: int = 0
    removals_destroyed: int = 0
    bytes_destroyed: int = 0
    troubles: list[Kept] = field(default_factory=list)
    troubles_left_out: int = 0

    def trouble(self, one: Kept) -> None:
        """Note what is kept for its state; a long list ends in a number."""
        self.troubles_left_out += append(self.troubles, one, TROUBLES)

    def told(self) -> str:
        """A few lines for people."""
        took = "would take" if self.dry_run else "took"
        size = format_size(self.bytes_taken)
        lines = [
            f"{took} {self.links_taken} blob links and {self.blobs_taken} blobs ({size}) into the trash",
            f"looked at: repositories {self.repositories}, manifests {self.manifests}, links {self.links}",
            f"kept for now, younger than the grace period: {self.kept_young}",
        ]
        if self.links_put_back or self.blobs_put_back:
            lines.append(
                f"put back, since they are needed: links {self.links_put_back}, blobs {self.blobs_put_back}"
            )
        if self.removals_destroyed:
            emptied = "would empty" if self.dry_run else "emptied"
            size = format_size(self.bytes_destroyed)
            lines.append(f"{emptied} the trash of {self.removals_destroyed} removals ({size})")
        if self.troubles:
            kept_whole = self.repositories_kept_whole
            lines.append(f"repositories kept whole for what could not be read there: {kept_whole}")
            lines.append("what is not as it should be:")
            kept = [f"  {f'{one.repository} {one.content}'.strip()}: {one.problem}" for one in self.troubles]
            lines += listed(kept, SHOWN_TROUBLES, self.troubles_left_out)
        return "\n".join(lines)


class Reports(ReportsOf[Collection]):
    """The reports of one store's collections."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, "gc", Collection)
