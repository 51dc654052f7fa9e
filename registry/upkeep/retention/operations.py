"""What retention offers: a run, how the last ones ended, and why a tag stays or goes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from registry.core.operations import naming, tag_of
from registry.errors import ManifestUnknown, NameUnknown
from registry.model.patterns import RepositoryPattern
from registry.upkeep.retention.reports import Retention, TagExplained
from registry.upkeep.retention.retaining import EVERYWHERE, Retaining
from registry.work.leased import named, told_holder
from registry.work.operations import Context, Operation, Progress, Result, Status, Touched, argument, option

Outcome = AsyncIterator[Progress | Result]

_SHOWN = 10


class Percent(int):
    """A share, from 0 to 100."""

    @classmethod
    def parse(cls, text: str) -> Percent:
        """The share that a text means. Raises ValueError."""
        if not text.isdecimal() or len(text) > 3 or int(text) > 100:
            raise ValueError("must be a whole number from 0 to 100")
        return cls(text)


@dataclass(frozen=True, slots=True)
class Retain:
    """In which repositories, and how much may go at once."""

    repositories: RepositoryPattern = option("only in these", default=EVERYWHERE)
    max_delete_percent: Percent | None = option(
        "of each prefix at most so many percent may go, instead of what the configuration says", default=None
    )


@dataclass(frozen=True, slots=True)
class ShowRetention:
    """Nothing to choose."""


@dataclass(frozen=True, slots=True)
class RetentionStatus:
    """Who runs retention at the moment (None: nobody), and the last reports, the newest first.

    `silent_seconds` ago who does it has last said that it lives.
    """

    holder: str | None
    silent_seconds: float | None
    reports: list[Retention]

    def told(self) -> str:
        """For people: the newest whole, the others a line each."""
        lines = [
            told_holder("running now", self.holder, self.silent_seconds)
            or "nobody runs retention at the moment"
        ]
        for at, report in enumerate(self.reports):
            ended = f"ended {report.ended:%Y-%m-%d %H:%M:%S}" if report.ended else f"got to {report.after}"
            lines.append(f"begun {report.began:%Y-%m-%d %H:%M:%S} by {report.by}, {ended}")
            told = report.told(brief=True).splitlines()
            lines += [f"  {line}" for line in (told if at == 0 else told[:1])]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class ExplainTag:
    """Which tag."""

    reference: str = argument("repository and tag, for example team/app:1.0")


def operations(retaining: Callable[[], Retaining]) -> Iterable[Operation[Any]]:
    """The operations of retention, with whoever runs it for the registry that is open then."""

    async def retention_run(asked: Retain, context: Context) -> Outcome:
        runs = retaining()
        if not context.dry_run:
            runs.require_enforced()
            async for waiting in runs.leased.waiting():
                yield waiting
        do = runs.rehearse if context.dry_run else runs.run
        async for report in do(context.by, asked.repositories, asked.max_delete_percent):
            if report.ended is None:
                yield Progress(report.repositories, None, "items", report.after)
            elif report.stopped:
                yield Result(report, Status.REFUSED)
            else:
                none = not report.repositories and not report.troubles
                note = await runs.why_none(asked.repositories) if none else ""
                yield Result(report, Status.DAMAGED if report.troubles else Status.DONE, note)

    async def retention_status(_: ShowRetention, __: Context) -> Outcome:
        runs = retaining()
        holder = await runs.leased.lease().holder()
        yield Result(RetentionStatus(*named(holder), await runs.reports().last(_SHOWN)))

    async def retention_explain(asked: ExplainTag, _: Context) -> Outcome:
        name, tag = tag_of(asked.reference)
        runs = retaining()
        try:
            with naming(name, tag):
                yield Result(await runs.explain(name, tag))
        except (ManifestUnknown, NameUnknown) as error:
            became = await runs.became_of(name, tag)
            raise type(error)(f"{error.message}: {became}" if became else error.message) from error

    return (
        Operation(
            "retention.run",
            "Remove the tags that no rule of the configuration keeps, and what no tag leads to",
            "admin",
            True,
            Retain,
            retention_run,
            result=Retention,
            event="retention.run",
        ),
        Operation(
            "retention.status",
            "Show who runs retention at the moment, and what the last runs removed",
            "admin",
            False,
            ShowRetention,
            retention_status,
            result=RetentionStatus,
        ),
        Operation(
            "retention.explain",
            "Tell why a tag stays or goes, and which rule decides",
            "admin",
            False,
            ExplainTag,
            retention_explain,
            touches=_tag,
            result=TagExplained,
        ),
    )


def _tag(asked: ExplainTag) -> Touched:
    name, _ = tag_of(asked.reference)
    return name, None
