"""What scrubs offer to operators: a run, and how much was verified when."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from registry.upkeep.scrub_reports import Scrub
from registry.upkeep.scrubbing import Scrubbing
from registry.work.leased import named, told_holder
from registry.work.operations import Context, Operation, Progress, Result, Status

Outcome = AsyncIterator[Progress | Result]

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Verify:
    """Nothing to choose."""


@dataclass(frozen=True, slots=True)
class ShowScrubs:
    """Nothing to choose."""


@dataclass(frozen=True, slots=True)
class Scrubs:
    """Who scrubs at the moment (None: nobody), and the last reports, the newest first.

    `silent_seconds` ago who does it has last said that it lives.
    All that was there at `all_verified_since` has been verified since then (None: not yet).
    """

    holder: str | None
    silent_seconds: float | None
    all_verified_since: datetime | None
    reports: list[Scrub]

    def told(self) -> str:
        """For people: the newest whole, the others a line each."""
        since = f"{self.all_verified_since:%Y-%m-%d %H:%M:%S}" if self.all_verified_since else "never"
        lines = [
            told_holder("scrubbing now", self.holder, self.silent_seconds) or "nobody scrubs at the moment",
            f"all content verified since: {since}",
        ]
        for at, report in enumerate(self.reports):
            stands = f"ended {report.ended:%Y-%m-%d %H:%M:%S}" if report.ended else f"at {report.after}"
            lines.append(f"begun {report.began:%Y-%m-%d %H:%M:%S} by {report.by}, {stands}")
            told = report.told().splitlines()
            lines += [f"  {line}" for line in (told if at == 0 else told[:1])]
        return "\n".join(lines)


def operations(scrubbing: Callable[[], Scrubbing]) -> Iterable[Operation[Any]]:
    """The operations of scrubs, with whoever scrubs for the registry that is open when one of them runs."""

    async def scrub_run(_: Verify, context: Context) -> Outcome:
        scrubs = scrubbing()
        if not context.dry_run:
            async for waiting in scrubs.leased.waiting():
                yield waiting
        run = scrubs.rehearse(context.by) if context.dry_run else scrubs.run(context.by)
        async for report in run:
            if report.ended is None:
                yield Progress(report.bytes_read, None, "bytes", report.after)
            else:
                yield Result(report, Status.DAMAGED if report.damaged else Status.DONE)

    async def scrub_status(_: ShowScrubs, __: Context) -> Outcome:
        scrubs = scrubbing()
        reports = await scrubs.reports().last(_SHOWN)
        since = next((report.began for report in reports if report.ended), None)
        yield Result(Scrubs(*named(await scrubs.leased.lease().holder()), since, reports))

    return (
        Operation(
            "scrub.run",
            "Read all content again, and set aside what has been damaged; may run while serving",
            "admin",
            True,
            Verify,
            scrub_run,
            result=Scrub,
            event="scrub.run",
        ),
        Operation(
            "scrub.status",
            "Show who scrubs at the moment, how much was verified when, and what was damaged",
            "admin",
            False,
            ShowScrubs,
            scrub_status,
            result=Scrubs,
        ),
    )
