"""Content that must go for good, as when a secret was pushed: purged, and blocked from then on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from registry.errors import NotFoundHere
from registry.model.digests import Digest
from registry.removal.purging import Needing, Purging
from registry.store.blocked import Block
from registry.upkeep.collecting import Collecting
from registry.work.operations import Context, Operation, Progress, Result, argument, option
from registry.work.pace import let_others

Outcome = AsyncIterator[Progress | Result]

SEEN_SECONDS = 10.0
"""After which every process has seen a mark: what they may have stored until then is looked for once more."""

_TOLD = 20


@dataclass(frozen=True, slots=True)
class PurgeContent:
    """Which content, and why."""

    digest: Digest = argument("the digest of a blob or manifest: sha256: and 64 hexadecimal digits")
    reason: str = option("why, for whoever looks at `trash purged` later", default="")


@dataclass(frozen=True, slots=True)
class Purged:
    """What was removed, by all digests that the content has, and the manifests that need it and lost it.

    Of those that are `unread` it cannot be told whether they need it.
    """

    digests: list[str]
    links: int
    tags: list[str]
    data: int
    trashed: int
    quarantined: int
    needing: list[Needing]
    unread: list[str]
    dry_run: bool

    def told(self) -> str:
        """What is gone, and what to do about what has lost it."""
        verb = "would purge" if self.dry_run else "purged and blocked"
        lines = [f"{verb} {' = '.join(self.digests)}"]
        lines.append(
            f"  links: {self.links}, tags: {len(self.tags)}, data: {self.data},"
            f" in the trash: {self.trashed}, in quarantine: {self.quarantined}"
        )
        lines += _few([f"  {'would go' if self.dry_run else 'gone'}: {tag}" for tag in self.tags])
        if self.needing:
            lines.append("these need it, and cannot be pulled whole any more; delete them:")
            lines += _few(
                [
                    f"  {one.repository}@{one.manifest}" + (f" ({', '.join(one.tags)})" if one.tags else "")
                    for one in self.needing
                ]
            )
        if self.unread:
            lines.append("these cannot be read, so whether they need it is not known:")
            lines += _few([f"  {one}" for one in self.unread])
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class ShowPurged:
    """Nothing to choose."""


@dataclass(frozen=True, slots=True)
class BlockedContent:
    """What may not be stored again: its digests, and by whom, when and why it was purged."""

    digests: list[str]
    by: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class AllPurged:
    """All that was purged and is blocked, the newest first."""

    blocked: list[BlockedContent]


@dataclass(frozen=True, slots=True)
class UnblockContent:
    """Which content."""

    digest: Digest = argument("the digest, as `moorage trash purged` shows it")


@dataclass(frozen=True, slots=True)
class Unblocked:
    """What may be pushed again."""

    digests: list[str]

    def told(self) -> str:
        """One line."""
        return f"may be pushed again: {' = '.join(self.digests)}"


def operations(collecting: Callable[[], Collecting]) -> Iterable[Operation[Any]]:
    """Purges, by whoever collects for the registry that is open when one of them runs."""

    async def trash_purge(asked: PurgeContent, context: Context) -> Outcome:
        store = collecting().store()
        await store.blocked.look()
        purging = Purging(store, by=context.by, step=let_others, dry_run=context.dry_run)
        wanted = asked.digest.require_supported()
        known = store.blocked.of(wanted) is not None
        digests = await purging.same(wanted)
        if not context.dry_run:
            collecting().require_writable()
            await store.blocked.put(Block(digests, context.by, store.effects.now(), asked.reason))
        yield Progress(0, None, "items", "removing it")
        purge = await purging.remove(digests, everywhere=known)
        if not context.dry_run:
            yield Progress(1, None, "items", "waiting until every server has seen that it is blocked")
            await asyncio.sleep(SEEN_SECONDS)
            purge.add(await purging.remove(digests))
        told = [str(digest) for digest in digests]
        counts = (purge.data, purge.trashed, purge.quarantined)
        yield Result(
            Purged(
                told, purge.links, purge.tags, *counts, purge.needing, purge.unread, dry_run=context.dry_run
            )
        )

    async def trash_purged(_: ShowPurged, __: Context) -> Outcome:
        blocked = collecting().store().blocked
        await blocked.look()
        yield Result(
            AllPurged(
                [
                    BlockedContent([str(one) for one in block.digests], block.by, block.at, block.reason)
                    for block in blocked.blocks
                ]
            )
        )

    async def trash_unblock(asked: UnblockContent, _: Context) -> Outcome:
        collecting().require_writable()
        blocked = collecting().store().blocked
        await blocked.look()
        lifted = await blocked.lift(asked.digest)
        if not lifted:
            raise NotFoundHere(f"{asked.digest} is not blocked; `moorage trash purged` has what is")
        yield Result(Unblocked([str(digest) for digest in lifted]))

    return (
        Operation(
            "trash.purge",
            "Remove content for good, from wherever it lies, and never take it again (a leaked secret)",
            "admin",
            True,
            PurgeContent,
            trash_purge,
            result=Purged,
            event="trash.purged",
        ),
        Operation(
            "trash.purged",
            "List what was purged and may not be pushed again",
            "admin",
            False,
            ShowPurged,
            trash_purged,
            result=AllPurged,
        ),
        Operation(
            "trash.unblock",
            "Let content be pushed again that was purged; it does not bring it back",
            "admin",
            False,
            UnblockContent,
            trash_unblock,
            changes=True,
            result=Unblocked,
            event="trash.unblocked",
        ),
    )


def _few(lines: list[str]) -> list[str]:
    more = len(lines) - _TOLD
    return lines if more <= 0 else [*lines[:_TOLD], f"  and {more} more; --json has all"]
