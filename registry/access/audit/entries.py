"""One thing that somebody did, or was refused, as the trail tells it and the store keeps it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Literal

from registry.logs import redacted

Event = Literal[
    "audit.begun",
    "audit.ended",
    "login.succeeded",
    "login.failed",
    "request.refused",
    "manifest.pushed",
    "manifest.pulled",
    "manifest.deleted",
    "tag.created",
    "tag.overwritten",
    "tag.deleted",
    "blob.deleted",
    "repository.deleted",
    "tag.restored",
    "tag.copied",
    "repository.restored",
    "trash.restored",
    "access.changed",
    "gc.run",
    "scrub.run",
    "retention.run",
    "mirror.synced",
    "mirror.prefetched",
    "mirror.evicted",
    "mirror.pinned",
    "mirror.unpinned",
    "bundle.exported",
    "bundle.inventory",
    "bundle.acknowledged",
    "bundle.forgotten",
    "bundle.imported",
    "bundle.approved",
    "bundle.rejected",
    "bundle.undone",
    "storage.switched",
    "storage.reindexed",
    "storage.adopted",
    "storage.upgraded",
    "trash.emptied",
    "trash.purged",
    "trash.unblocked",
    "usage.counted",
]
"""What happened; docs/audit.md explains each."""

Outcome = Literal["done", "begun", "refused", "failed"]
"""`begun` is what is written down before the deed, and stays where nobody could tell any more how it ended.

`failed` may have been done in part.
"""

_LONGEST = 512  # characters of a field; the rest is cut off
_CUT = "…"
# One blank may make way for another; nobody writes what takes more turns than this by accident.
_TURNS = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry; texts that are empty do not apply.

    `who` is the principal, `address` where the request came from, `via` how the principal was known (basic,
    token, apikey, command line), `agent` the client's own name for itself. `replaced` is the digest that the
    tag named before. `rule` is the access rule that decided, or the reason where none did. `request` is the
    request id of the log, filled in from the running request, and `at` the present if it is None.
    """

    event: Event
    who: str = ""
    address: str = ""
    via: str = ""
    agent: str = ""
    repository: str = ""
    tag: str = ""
    digest: str = ""
    replaced: str = ""
    rule: str = ""
    outcome: Outcome = "done"
    detail: str = ""
    request: str = ""
    at: datetime | None = None

    def document(self) -> dict[str, str]:
        """As JSON has it: `time` first, what does not apply left out, secrets blanked out, nothing long."""
        document = {} if self.at is None else {"time": stamp(self.at)}
        for name in _TEXTS:
            if text := str(getattr(self, name)):
                document[name] = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + _CUT
        free = "\n".join(document[name] for name in _FREE if name in document)
        if redacted(free) != free:
            document = {name: _clean(text) for name, text in document.items()}
        return document


_TEXTS = tuple(field.name for field in fields(Entry) if field.name != "at")
# What others than we have written, in part or whole.
_FREE = ("who", "address", "agent", "repository", "tag", "rule", "detail")


def stamp(at: datetime) -> str:
    """A time as entries have it: UTC, to the microsecond."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _clean(text: str) -> str:
    # What the log would blank out in a finished line would not fit its hash any more.
    for _ in range(_TURNS):
        clean = redacted(text)
        if clean == text:
            return text
        text = clean
    return "[hidden]"
