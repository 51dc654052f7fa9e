"""Operations that show which bundles were written here and have come here, and how they stand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from registry.bundles.bundles import Bundles
from registry.bundles.errors import BundleUnknown
from registry.bundles.format import Head
from registry.bundles.received import Move, Staged
from registry.bundles.records import Sent, read_contents
from registry.model.units import format_size
from registry.work.operations import Context, Operation, Progress, Result, argument
from registry.work.wording import cell

Outcome = AsyncIterator[Progress | Result]


@dataclass(frozen=True, slots=True)
class ListBundles:
    """Nothing to choose."""


@dataclass(frozen=True, slots=True)
class ShownBundle:
    """A bundle that was written here or has come here, and how it stands."""

    id: str
    direction: str
    stream: str
    number: int
    state: str
    tags: int
    stated_bytes: int
    carried_bytes: int
    held_until: datetime | None


@dataclass(frozen=True, slots=True)
class ShownInventory:
    """An inventory that was given out, and until when what it lists is held."""

    id: str
    held_until: datetime


@dataclass(frozen=True, slots=True)
class ShownBundles:
    """All of them, the last ones first."""

    bundles: list[ShownBundle]
    inventories: list[ShownInventory]


@dataclass(frozen=True, slots=True)
class OneBundle:
    """Which one."""

    id: str = argument("the id of a bundle: b-…")


@dataclass(frozen=True, slots=True)
class BundleDetails:
    """What is known of a bundle."""

    id: str
    direction: str
    state: str
    stream: str
    number: int
    source: str
    parent: str | None
    supplements: str | None
    selection: dict[str, Any]
    provenance: list[str]
    tags: int
    manifests: int
    blobs: int
    stated_bytes: int
    carried_bytes: int
    held_until: datetime | None
    imported_by: str
    signed_by: list[str]
    approvals: list[str]
    decided_by: list[str]
    note: str
    code: str
    moves: list[str]

    def told(self) -> str:
        """What there is to say, a line each."""
        stated, carried = format_size(self.stated_bytes), format_size(self.carried_bytes)
        rows = {
            "bundle": f"{self.id}: {self.stream} number {self.number} from {self.source}",
            "state": f"{self.state} ({'written here' if self.direction == 'out' else 'has come here'})",
            "held until": "" if self.held_until is None else f"{self.held_until:%Y-%m-%d %H:%M %Z}",
            "builds on": self.parent or "nothing",
            "supplements": self.supplements or "",
            "selection": cell("", self.selection),
            "states": f"{self.tags} tags, {self.manifests} manifests, {self.blobs} blobs, {stated}",
            "carries": carried,
            "came before in": ", ".join(self.provenance),
            "signed by": ", ".join(self.signed_by),
            "imported by": self.imported_by,
            "approved by": ", ".join(self.approvals),
            "decided by": ", ".join(self.decided_by),
            "note": self.note,
            "code": self.code,
        }
        told = [f"{name + ':':<15} {value}" for name, value in rows.items() if value]
        return "\n".join([*told, *(["moves:"] if self.moves else []), *(f"  {one}" for one in self.moves)])


def operations(bundles: Callable[[], Bundles]) -> Iterable[Operation[Any]]:
    """Operations that change nothing."""

    async def bundle_list(_: ListBundles, context: Context) -> Outcome:
        shown = []
        inventories: list[ShownInventory] = []
        if context.may("admin", None, None):
            holds = bundles().holds
            inventories += [ShownInventory(one.id, one.until) async for one in holds.given()]
            async for sent in bundles().exporting.sent.each():
                shown.append(_shown(sent.head, "out", _sent_state(sent), await holds.until(sent)))
                yield Progress(len(shown), None, "items", "bundles")
        received = bundles().importing.received
        shown += [
            _shown(await received.head(one), "in", await state_of(bundles(), one))
            for one in await received.ids()
            if await _may_see(bundles(), one, context)
        ]
        shown.sort(key=lambda one: (one.direction, one.stream, -one.number))
        yield Result(ShownBundles(shown, inventories))

    async def bundle_show(asked: OneBundle, context: Context) -> Outcome:
        if not await _may_see(bundles(), asked.id, context):
            raise BundleUnknown
        yield Result(await _details(bundles(), asked.id))

    return (
        Operation(
            "bundle.list",
            "List the bundles that were written here, and those that have come",
            "approve",
            False,
            ListBundles,
            bundle_list,
            result=ShownBundles,
        ),
        Operation(
            "bundle.show",
            "Show what is known of a bundle",
            "approve",
            False,
            OneBundle,
            bundle_show,
            result=BundleDetails,
        ),
    )


async def _may_see(bundles: Bundles, bundle: str, context: Context) -> bool:
    """Whether somebody may see a bundle: who may decide about all of it, or administers the registry."""
    if context.may("admin", None, None):
        return True
    names = await bundles.approving.repositories(bundle)
    return bool(names) and all(context.may("approve", name, None) for name in names)


async def state_of(bundles: Bundles, bundle: str) -> str:
    """How a bundle that has come stands."""
    received = bundles.importing.received
    if await received.undone(bundle) is not None:
        return "undone"
    if await received.undo(bundle) is not None:
        return "being undone"
    decision = await received.decision(bundle)
    if decision is None:
        return "incomplete" if await received.staged(bundle) is None else "staged"
    did, doing = {"approve": ("approved", "being approved"), "reject": ("rejected", "being rejected")}[
        decision.verb
    ]
    return doing if await received.done(bundle) is None else did


def _sent_state(sent: Sent) -> str:
    if sent.acknowledged:
        return "acknowledged"
    if sent.forgotten:
        return "forgotten"
    return "written" if sent.written else "unfinished"


async def _details(bundles: Bundles, bundle: str) -> BundleDetails:
    received = bundles.importing.received
    try:
        head = await received.head(bundle)
    except BundleUnknown:
        try:
            sent = await bundles.exporting.sent.find(bundle)
        except BundleUnknown:
            # It has not come here either.
            raise BundleUnknown from None
        signed_by = [sent.signed_by] if sent.signed_by else []
        until = await bundles.holds.until(sent)
        return _detailed(sent.head, "out", _sent_state(sent), held_until=until, signed_by=signed_by)
    staged, decision = await received.staged(bundle), await received.decision(bundle)
    return _detailed(
        head,
        "in",
        await state_of(bundles, bundle),
        imported_by="" if staged is None else staged.by,
        signed_by=[] if staged is None else staged.signed_by,
        approvals=await received.people(bundle, "approvals"),
        decided_by=[] if decision is None else decision.by,
        note=staged.note
        if decision is None and staged is not None
        else ("" if decision is None else decision.note),
        code="" if staged is None else staged.code,
        moves=[one.text async for one in _moves(bundles, head, staged)],
    )


async def _moves(bundles: Bundles, head: Head, staged: Staged | None) -> AsyncIterator[Move]:
    """The tags that a bundle has moved, or would move as things are."""
    received = bundles.importing.received
    if await received.has_journal(head.id):
        async for some in received.journal(head.id):
            for move in some:
                yield move
    elif staged is not None and await received.decision(head.id) is None:
        statement = await read_contents(bundles.registry.store, head, received=True)
        async for move in bundles.approving.moves(head, staged, statement):
            yield move


def _detailed(
    head: Head,
    direction: str,
    state: str,
    *,
    held_until: datetime | None = None,
    imported_by: str = "",
    signed_by: Iterable[str] = (),
    approvals: Iterable[str] = (),
    decided_by: Iterable[str] = (),
    note: str = "",
    code: str = "",
    moves: Iterable[str] = (),
) -> BundleDetails:
    return BundleDetails(
        head.id,
        direction,
        state,
        head.stream,
        head.number,
        head.source,
        head.parent,
        head.supplements,
        dict(head.selection),
        [f"{one.source}: {one.stream} number {one.number} ({one.id})" for one in head.provenance],
        head.totals.tags,
        head.totals.manifests,
        head.totals.blobs,
        head.totals.bytes,
        head.totals.carried_bytes,
        held_until,
        imported_by,
        list(signed_by),
        list(approvals),
        list(decided_by),
        note,
        code,
        list(moves),
    )


def _shown(head: Head, direction: str, state: str, held_until: datetime | None = None) -> ShownBundle:
    return ShownBundle(
        head.id,
        direction,
        head.stream,
        head.number,
        state,
        head.totals.tags,
        head.totals.bytes,
        head.totals.carried_bytes,
        held_until,
    )
