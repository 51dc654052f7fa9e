"""What a scrub says: how much was read again and when, and what was found damaged."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from registry.model.units import format_size
from registry.store import layout
from registry.store.store import Store
from registry.work.reports import ReportsOf, append, listed

_DAMAGED = 1000
_REPOSITORIES = 100
_TOLD = 20

Outcome = Literal["left", "set aside", "put back", "fetched", "missing", "replaced", "unreadable"]
"""What became of it: set aside, put back from the trash, or fetched again from where it had come from.

What is linked and was not there at all is `missing`. An upload had `replaced` it meanwhile. It is `left` by a
dry run, and where the storage gave no bytes that could be hashed (`unreadable`).
"""

_TOLD_OUTCOMES: dict[Outcome, str] = {
    "left": "damaged",
    "set aside": "set aside: push it again",
    "put back": "set aside, and put back from the trash",
    "fetched": "fetched again from",
    "missing": "missing: push it again",
    "replaced": "meanwhile replaced",
    "unreadable": "cannot be read from the storage: push it again",
}


@dataclass(slots=True)
class Damaged:
    """Content whose bytes do not have its digest: where it lay, and which repositories link to it.

    `source` is from where it was fetched again, `reason` why not.
    """

    content: str
    key: str
    found: datetime
    outcome: Outcome = "left"
    source: str = ""
    reason: str = ""
    repositories: list[str] = field(default_factory=list)
    repositories_left_out: int = 0

    def linked_by(self, repository: str) -> None:
        """Note who links to it; a long list ends in a number."""
        self.repositories_left_out += append(self.repositories, repository, _REPOSITORIES)

    def told(self) -> str:
        """A line for people."""
        where = " in the trash" if self.key.startswith(layout.TRASH_DATA) else ""
        if self.outcome == "unreadable":  # for somebody to look at it
            where += f" ({self.key})"
        several = f" and {self.repositories_left_out} more" if self.repositories_left_out else ""
        linked = f"; linked by {', '.join(self.repositories)}{several}" if self.repositories else ""
        became = f"{_TOLD_OUTCOMES[self.outcome]} {self.source}".rstrip()
        why = f" (not fetched again: {self.reason})" if self.reason else ""
        return f"{self.content}{where}: {became}{why}{linked}"


@dataclass(slots=True)
class Scrub:
    """One pass over all content, as far as it got: up to the key `after`.

    `fetched` counts what was damaged or missing and was had again. `bytes_read` counts what was read, so also
    twice what was begun again or looked at twice.
    """

    began: datetime
    by: str
    dry_run: bool
    ended: datetime | None = None
    after: str = ""
    resumed: int = 0
    objects: int = 0
    bytes_read: int = 0
    fetched: int = 0
    damaged: list[Damaged] = field(default_factory=list)
    damaged_left_out: int = 0

    def note(self, content: str, key: str, found: datetime) -> Damaged:
        """What is known of damage under a key, from now on; a long list ends in a number."""
        for known in self.damaged:
            if known.key == key:
                return known
        one = Damaged(content, key, found)
        self.damaged_left_out += append(self.damaged, one, _DAMAGED)
        return one

    def told(self) -> str:
        """A few lines for people."""
        lines = [f"verified {self.objects} blobs and manifests, read {format_size(self.bytes_read)}"]
        if not self.damaged:
            return f"{lines[0]}: all sound"
        fetched = f", of which {self.fetched} fetched again" if self.fetched else ""
        lines.append(f"damaged: {len(self.damaged) + self.damaged_left_out}{fetched}")
        lines += listed([f"  {one.told()}" for one in self.damaged], _TOLD, self.damaged_left_out)
        return "\n".join(lines)


class ScrubReports(ReportsOf[Scrub]):
    """The reports of one store's scrubs."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, "scrub", Scrub)
