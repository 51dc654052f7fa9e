"""The reports of collections."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from registry.model.units import format_size
from registry.removal.tally import UNNEEDED_MOST, Removal, Tally, Unneeded
from registry.store.store import Store
from registry.work.reports import ReportsOf, append, listed

TROUBLES = 1000
SHOWN_TROUBLES = 20
_REMOVALS = 1000
_SHOWN_REMOVALS = 20
_SHOWN = 100
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

    `after` is how far it got in its phase. `removals` are the runs that have taken something, as far as it is
    here; in a dry run `would_take` is what would go. What stays is counted once, by the first that keeps it:
    `kept_unread` links, of whose repositories something cannot be read; what pushes under way need
    (`kept_claimed`); links that manifests need (`kept_needed`) and data that is linked (`kept_linked`); what
    is unneeded, and younger than the grace period (`kept_young`); what the storage refuses to remove
    (`kept_refused`). With `data_left_alone` no data was looked at, since a link could not be read just now.
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
    removals: list[Removal] = field(default_factory=list)
    removals_left_out: int = 0
    would_take: list[Unneeded] = field(default_factory=list)
    would_take_left_out: int = 0
    kept_unread: int = 0
    kept_claimed: int = 0
    kept_needed: int = 0
    kept_linked: int = 0
    kept_refused: int = 0
    data_left_alone: bool = False

    def count(self, tally: Tally) -> None:
        """Note what has gone since, and what stayed; long lists end in a number."""
        for removal in tally.removals:
            self.removals_left_out += append(self.removals, removal, _REMOVALS)
        for one in tally.unneeded:
            self.would_take_left_out += append(self.would_take, one, UNNEEDED_MOST)
        self.would_take_left_out += tally.unneeded_left_out
        self.kept_unread += tally.unread
        self.kept_claimed += tally.claimed
        self.kept_needed += tally.needed
        self.kept_linked += tally.linked
        self.kept_refused += tally.refused

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
        if kept := [f"{why} {count}" for why, count in self._kept() if count]:
            lines.append(f"kept besides: {', '.join(kept)}")
        if self.data_left_alone:
            lines.append("no data was taken, since a link could not be read just now")
        if self.links_put_back or self.blobs_put_back:
            lines.append(
                f"put back, since they are needed: links {self.links_put_back}, blobs {self.blobs_put_back}"
            )
        if self.removals_destroyed:
            emptied = "would empty" if self.dry_run else "emptied"
            size = format_size(self.bytes_destroyed)
            lines.append(f"{emptied} the trash of {self.removals_destroyed} removals ({size})")
        lines += self._gone()
        if self.troubles:
            kept_whole = self.repositories_kept_whole
            lines.append(f"repositories kept whole for what could not be read there: {kept_whole}")
            lines.append("what is not as it should be:")
            kept = [f"  {f'{one.repository} {one.content}'.strip()}: {one.problem}" for one in self.troubles]
            lines += listed(kept, SHOWN_TROUBLES, self.troubles_left_out)
        return "\n".join(lines)

    def _kept(self) -> list[tuple[str, int]]:
        return [
            ("links that manifests need", self.kept_needed),
            ("data that repositories link to", self.kept_linked),
            ("what pushes under way need", self.kept_claimed),
            ("links of repositories in which something cannot be read", self.kept_unread),
            ("what the storage refuses to remove", self.kept_refused),
        ]

    def _gone(self) -> list[str]:
        """What has gone, a line a removal; in a dry run what would, a line each."""
        lines = []
        if self.removals:
            lines.append("by these removals, of which `moorage trash show RUN` has all:")
            removals = [
                f"  {one.run}: {one.links} blob links of {one.repository}: {one.why}"
                if one.repository is not None
                else f"  {one.run}: data of {one.blobs} blobs ({format_size(one.size_bytes)}): {one.why}"
                for one in self.removals
            ]
            lines += listed(removals, _SHOWN_REMOVALS)
        if self.removals_left_out:
            lines.append(f"  not listed: {self.removals_left_out} (`moorage trash list` has them)")
        lines += listed(
            [
                f"  blob of {one.repository} {one.digest}: {one.why}"
                if one.repository is not None
                else f"  data {one.digest} ({format_size(one.size_bytes)}): {one.why}"
                for one in self.would_take
            ],
            _SHOWN,
        )
        if self.would_take_left_out:
            lines.append(f"  not listed: {self.would_take_left_out}")
        return lines


class Reports(ReportsOf[Collection]):
    """The reports of one store's collections."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, "gc", Collection)
