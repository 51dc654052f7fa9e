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
from registry.work.operations import Context, Operation, Progress, Result, Status, argument, option
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

    Of those that are `unread` it cannot be told whether they need it. `found` says whether there was
    anything of it, now or when it was purged before; where its bytes could not be read (`hashed`), its other
    digest is not known, and so not blocked.
    """

    digests: list[str]
    links: int
    tags: list[str]
    data: int
    trashed: int
    quarantined: int
    needing: list[Needing]
    unread: list[str]
    found: bool
    hashed: bool
    dry_run: bool

    def told(self) -> str:
        """What is gone, and what to do about what has lost it."""
        if not self.found:
            (digest,) = self.digests
            blocked = "this digest alone would be blocked" if self.dry_run else "only this digest is blocked"
            unblock = "" if self.dry_run else f"; `moorage trash unblock {digest}` takes that back"
            return (
                f"nothing of {digest} is here, so nothing {'would be' if self.dry_run else 'was'} removed:"
                f" is it mistyped?\n{blocked}{unblock}\n{_other_unknown(digest)}; content that lies here"
                " under that is not found by this one: purge it by the digest that its manifest has"
            )
        verb = "would purge" if self.dry_run else "purged and blocked"
        lines = [f"{verb} {' = '.join(self.digests)}"]
        if not self.hashed:
            lines.append(f"its bytes are not here, or damaged: {_other_unknown(self.digests[0])}")
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
        known = store.blocked.of(wanted) is not None  # then done again, which may find nothing more
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
        hashed = len(digests) > 1
        found = purge.found or (known and hashed)
        purged = Purged(
            told,
            purge.links,
            purge.tags,
            purge.data,
            purge.trashed,
            purge.quarantined,
            purge.needing,
            purge.unread,
            found,
            hashed,
            dry_run=context.dry_run,
        )
        yield Result(purged, Status.DONE if found else Status.FAILED)

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


def _other_unknown(digest: str) -> str:
    other = "sha256" if digest.startswith("sha512:") else "sha512"
    return f"what {other} the same bytes have is not known, and by that they may still be pushed"


def _few(lines: list[str]) -> list[str]:
    more = len(lines) - _TOLD
    return lines if more <= 0 else [*lines[:_TOLD], f"  and {more} more; --json has all"]
