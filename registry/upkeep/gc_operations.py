"""What collection offers to operators: a run, how it stands, why something stays, and the trash emptied."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from registry.model.digests import Digest
from registry.model.units import format_size
from registry.upkeep.collecting import Collecting
from registry.upkeep.explaining import Explained, explain
from registry.upkeep.reports import Collection, Reports
from registry.work.leased import named, told_holder
from registry.work.operations import Context, Operation, Progress, Result, Status, argument, option
from registry.work.pace import let_others

Outcome = AsyncIterator[Progress | Result]

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Collect:
    """Nothing to choose."""


@dataclass(frozen=True, slots=True)
class ShowCollections:
    """Nothing to choose."""


@dataclass(frozen=True, slots=True)
class Collections:
    """Who collects at the moment (None: nobody), and the last reports, the newest first.

    `silent_seconds` ago who does it has last said that it lives.
    """

    holder: str | None
    silent_seconds: float | None
    reports: list[Collection]

    def told(self) -> str:
        """For people: the newest whole, the others a line each."""
        lines = [
            told_holder("collecting now", self.holder, self.silent_seconds) or "nobody collects at the moment"
        ]
        for at, report in enumerate(self.reports):
            ended = f"ended {report.ended:%Y-%m-%d %H:%M:%S}" if report.ended else f"in {report.phase}"
            lines.append(f"begun {report.began:%Y-%m-%d %H:%M:%S} by {report.by}, {ended}")
            told = report.told().splitlines()
            lines += [f"  {line}" for line in (told if at == 0 else told[:1])]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class ExplainDigest:
    """Which content."""

    digest: Digest = argument("the digest, for example sha256: and 64 hexadecimal digits")


@dataclass(frozen=True, slots=True)
class EmptyTrash:
    """How much of it."""

    everything: bool = option(
        "also what is younger than a day; only while the store is read-only", default=False
    )


@dataclass(frozen=True, slots=True)
class TrashEmptied:
    """How many removals cannot be undone any more, their bytes, and how many blobs came back as needed."""

    removals: int
    size_bytes: int
    put_back: int
    dry_run: bool

    def told(self) -> str:
        """One line."""
        verb = "would empty" if self.dry_run else "emptied"
        done = f"{verb} the trash of {self.removals} removals ({format_size(self.size_bytes)})"
        return f"{done}; put back, since they are needed: {self.put_back}" if self.put_back else done


def operations(collecting: Callable[[], Collecting]) -> Iterable[Operation[Any]]:
    """Collection's operations, with whoever collects for the registry that is open when one of them runs."""

    async def gc_run(_: Collect, context: Context) -> Outcome:
        collections = collecting()
        if not context.dry_run:
            async for waiting in collections.leased.waiting():
                yield waiting
        run = collections.rehearse(context.by) if context.dry_run else collections.run(context.by)
        async for report in run:
            if report.ended is None:
                done = report.repositories if report.phase == "links" else report.blobs_taken
                yield Progress(done, None, "items", f"{report.phase} {report.after}".strip())
            else:
                yield Result(report, Status.DAMAGED if report.troubles else Status.DONE)

    async def gc_status(_: ShowCollections, __: Context) -> Outcome:
        collections = collecting()
        holder = await collections.leased.lease().holder()
        reports = await Reports(collections.store()).last(_SHOWN)
        yield Result(Collections(*named(holder), reports))

    async def gc_explain(asked: ExplainDigest, _: Context) -> Outcome:
        collections = collecting()
        store = collections.store()
        now = store.effects.now().timestamp()  # a look, which writes nothing, goes by our own clock
        grace = collections.rules.grace
        yield Result(await explain(store, asked.digest, now=now, grace=grace, step=let_others))

    async def trash_empty(asked: EmptyTrash, context: Context) -> Outcome:
        emptied = await collecting().empty(everything=asked.everything, dry_run=context.dry_run)
        yield Result(TrashEmptied(emptied.count, emptied.size_bytes, emptied.put_back, context.dry_run))

    return (
        Operation(
            "gc.run",
            "Move what nothing needs to the trash, and empty that of what is old; may run while serving",
            "admin",
            True,
            Collect,
            gc_run,
            result=Collection,
            event="gc.run",
        ),
        Operation(
            "gc.status",
            "Show who collects at the moment, and what the last collections did",
            "admin",
            False,
            ShowCollections,
            gc_status,
            result=Collections,
        ),
        Operation(
            "gc.explain",
            "Tell why content stays or goes: who links to it, what needs it, what the trash has",
            "admin",
            False,
            ExplainDigest,
            gc_explain,
            result=Explained,
        ),
        Operation(
            "trash.empty",
            "Destroy what has been in the trash for more than a day",
            "admin",
            True,
            EmptyTrash,
            trash_empty,
            result=TrashEmptied,
            event="trash.emptied",
        ),
    )
