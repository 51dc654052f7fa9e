"""Operations by which people decide about bundles that wait: approve, reject, undo."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from registry.bundles.bundles import Bundles
from registry.bundles.errors import told_if_full
from registry.bundles.list_operations import state_of
from registry.bundles.overlaps import approved_after
from registry.bundles.received import Done
from registry.errors import Denied
from registry.work.operations import Context, Operation, Progress, Result, argument, option

Outcome = AsyncIterator[Progress | Result]


@dataclass(frozen=True, slots=True)
class Decide:
    """Which bundle, and why."""

    id: str = argument("the id of a bundle that has come: b-…")
    note: str = option("why, for the audit trail", default="")


@dataclass(frozen=True, slots=True)
class Approve(Decide):
    """And whether an older one may be."""

    allow_rollback: bool = option("approve an older state than the one approved last", default=False)


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided; `needed` are the approvals that are still to come.

    `later` are bundles that may state what was undone, and stand.
    """

    id: str
    decision: str
    needed: int
    moved: int
    left: list[str]
    later: list[str] = field(default_factory=list)

    def told(self) -> str:
        """What it came to."""
        if self.needed:
            return f"{self.id}: your approval was noted; {self.needed} more needed"
        lines = [f"{self.id}: {self.decision}, {self.moved} tags moved"]
        lines += [
            f"  {one} was approved after it and is about the same repositories: tags that both state are as"
            " they were before; undo that, too, or have its state written anew"
            for one in self.later
        ]
        return "\n".join(
            [
                *lines,
                *(
                    f"  {one} stays as it is: somebody has moved it, or what it named is gone"
                    for one in self.left
                ),
            ]
        )


def operations(bundles: Callable[[], Bundles]) -> Iterable[Operation[Any]]:
    """Operations of who may approve."""

    async def bundle_approve(asked: Approve, context: Context) -> Outcome:
        await _require_rights(bundles(), asked.id, context)
        done = None
        with told_if_full(asked.id):
            needed = await bundles().approving.approve(
                asked.id,
                context.person,
                asked.note,
                allow_rollback=asked.allow_rollback,
                denial=context.denial,
            )
            async for step in bundles().finish(asked.id, context.by):
                if isinstance(step, Done):
                    done = step
                else:
                    yield Progress(step, None, "items", asked.id)
        yield Result(_decided(asked.id, await state_of(bundles(), asked.id), needed, done))

    async def bundle_reject(asked: Decide, context: Context) -> Outcome:
        await _require_rights(bundles(), asked.id, context)
        with told_if_full(asked.id):
            await bundles().approving.reject(asked.id, context.person, asked.note)
            async for _ in bundles().finish(asked.id, context.by):
                yield Progress(1, None, "items", asked.id)
        yield Result(_decided(asked.id, await state_of(bundles(), asked.id), 0, None))

    async def bundle_undo(asked: Decide, context: Context) -> Outcome:
        await _require_rights(bundles(), asked.id, context)
        done = None
        with told_if_full(asked.id):
            await bundles().approving.undo(asked.id, context.person, asked.note)
            async for step in bundles().finish(asked.id, context.by):
                if isinstance(step, Done):
                    done = step
                else:
                    yield Progress(step, None, "items", asked.id)
        decided = _decided(asked.id, await state_of(bundles(), asked.id), 0, done)
        if decided.moved:
            later = await approved_after(bundles().importing.received, asked.id)
            decided = replace(decided, later=later)
        yield Result(decided)

    return (
        Operation(
            "bundle.approve",
            "Approve a bundle that waits: its tags are moved",
            "approve",
            False,
            Approve,
            bundle_approve,
            changes=True,
            event="bundle.approved",
            result=Decided,
        ),
        Operation(
            "bundle.reject",
            "Reject a bundle that waits: it goes",
            "approve",
            False,
            Decide,
            bundle_reject,
            changes=True,
            event="bundle.rejected",
            result=Decided,
        ),
        Operation(
            "bundle.undo",
            "Let tags that a bundle has moved name again what they named before",
            "approve",
            False,
            Decide,
            bundle_undo,
            changes=True,
            event="bundle.undone",
            result=Decided,
        ),
    )


async def _require_rights(bundles: Bundles, bundle: str, context: Context) -> None:
    """Raises Denied where a repository that a bundle sets or removes tags of may not be decided about.

    As long as not all of it has come nobody knows which those are: who imports bundles decides then.
    """
    await bundles.importing.received.head(bundle)
    is_known = await bundles.importing.received.staged(bundle) is not None
    if not is_known and (why := context.refusal("admin", None, None)) is not None:
        raise Denied(why)
    for name in sorted(await bundles.approving.repositories(bundle)):
        if (why := context.refusal("approve", name, None)) is not None:
            raise Denied(why, detail={"name": name})


def _decided(bundle: str, decision: str, needed: int, done: Done | None) -> Decided:
    if done is None:
        return Decided(bundle, decision, needed, 0, [])
    return Decided(bundle, decision, needed, done.moved, list(done.left))
