"""What counts of bytes offer to operators: one now, and what repositories and prefixes hold."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from registry.core.operations import Limit
from registry.core.quotas import Quotas
from registry.errors import NameUnknown
from registry.model.names import Prefix, RepositoryName
from registry.model.units import format_duration, format_size
from registry.upkeep.counting import Counting
from registry.upkeep.usage_reports import Count, Row
from registry.work.operations import Context, Operation, Progress, Result, argument, option

Outcome = AsyncIterator[Progress | Result]

_NOT_YET = "nothing was counted yet: run `moorage usage count`; servers do so once in `usage.interval`"
_NO_ROWS = "the rows of that count cannot be read: run `moorage usage count`"


@dataclass(frozen=True, slots=True)
class CountUsage:
    """Nothing to choose."""


@dataclass(frozen=True, slots=True)
class ShowUsage:
    """Of what, and how much of it."""

    prefix: Prefix | None = argument(
        "a repository, or a prefix such as team for all below team/; without it, all there is", default=None
    )
    limit: Limit = option("at most so many rows, the largest", default=Limit(50))


@dataclass(frozen=True, slots=True)
class QuotaUsed:
    """How much of a quota is used now; `is_counted` says whether all was counted since there is the quota."""

    prefix: str
    limit_bytes: int
    used_bytes: int
    is_counted: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """What the last count has found, the largest first; `began` is None where there was none yet.

    `rows_left_out` are smaller ones. `quotas` are those above and below what was asked for.
    """

    began: datetime | None
    age_seconds: float | None
    by: str
    repositories: int
    blobs: int
    size_bytes: int
    unneeded_bytes: int
    rows_left_out: int
    quotas: list[QuotaUsed]
    usage: list[Row]

    def told(self) -> str:
        """When it was counted, the whole, and a table."""
        quotas = [
            f"quota of {one.prefix}: {format_size(one.used_bytes)} of {format_size(one.limit_bytes)} used"
            + ("" if one.is_counted else " by what was pushed since it was set; the rest was not counted yet")
            for one in self.quotas
        ]
        if self.began is None or self.age_seconds is None:
            return "\n".join(["nothing was counted yet", *quotas])
        age = format_duration(self.age_seconds - self.age_seconds % (60 if self.age_seconds >= 60 else 1))
        whole = f"{format_size(self.size_bytes)} in {self.blobs} blobs and manifests"
        lines = [
            f"counted {age} ago, {self.began:%Y-%m-%d %H:%M:%S} UTC, by {self.by}",
            f"all repositories ({self.repositories}): {whole}, {format_size(self.unneeded_bytes)} unneeded",
            *quotas,
        ]
        if not self.usage:
            return "\n".join(lines)
        header = ("BYTES", "UNNEEDED", "FREED", "BLOBS", "REPOSITORIES", "NAME")
        cells = [
            (
                format_size(row.size_bytes),
                format_size(row.unneeded_bytes),
                format_size(row.freed_bytes),
                str(row.blobs),
                str(row.repositories) if row.name.endswith("/") else "",
                row.name,
            )
            for row in self.usage
        ]
        widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
        for row_cells in (header, *cells):
            *numbers, name = row_cells
            aligned = [cell.rjust(width) for cell, width in zip(numbers, widths[:-1], strict=True)]
            lines.append("  ".join([*aligned, name]))
        return "\n".join(lines)


def operations(counting: Callable[[], Counting]) -> Iterable[Operation[Any]]:
    """The operations of counts, with whoever counts for the registry that is open when one of them runs."""

    async def usage_count(_: CountUsage, context: Context) -> Outcome:
        counts = counting()
        async for waiting in counts.leased.waiting():
            yield waiting
        async for report in counts.run(context.by):
            if report.ended is None:
                yield Progress(report.repositories, None, "items", "repositories")
            else:
                yield _of_quotas(report, counts.quotas())

    async def usage_show(asked: ShowUsage, _: Context) -> Outcome:
        reports = counting().reports()
        newest = await reports.newest()
        used = await _used(counting().quotas(), asked.prefix)
        if newest is None:
            yield Result(Usage(None, None, "", 0, 0, 0, 0, 0, used, []), text=_NOT_YET)
            return
        key, report = newest
        kept = await reports.rows(key)
        rows = [row for row in kept or () if _is_below(row.name, asked.prefix)]
        notes = [_NO_ROWS] if kept is None else []
        if asked.prefix is not None and kept is not None and not rows:
            left = report.rows - len(kept)
            small = f", nor is it among the largest {len(kept)}, and {left} more were counted" if left else ""
            told = (
                f"there was no repository {asked.prefix}, and none below it, when all was counted{small};"
                " if there is by now, run `moorage usage count`"
            )
            if not used:
                raise NameUnknown(told, detail={"name": asked.prefix})
            # Quotas count what was pushed since.
            notes.append(told)
        age = (reports.now() - report.began).total_seconds()
        shown = rows[: asked.limit]
        unkept = report.rows - len(kept or ()) if asked.prefix is None else 0
        left_out = len(rows) - len(shown) + unkept
        if len(rows) > len(shown):
            notes.append(f"there are {len(rows) - len(shown)} more rows: --limit {len(rows)}")
        yield Result(
            Usage(
                report.began,
                max(0.0, age),
                report.by,
                report.repositories,
                report.blobs,
                report.size_bytes,
                report.unneeded_bytes,
                left_out,
                used,
                shown,
            ),
            text="\n".join(notes),
        )

    return (
        Operation(
            "usage.count",
            "Count what repositories and prefixes hold; may run while serving",
            "admin",
            False,
            CountUsage,
            usage_count,
            changes=True,
            result=Count,
            event="usage.counted",
        ),
        Operation(
            "usage.show",
            "Show what repositories and prefixes hold, each byte once, and what deleting one would free",
            "admin",
            False,
            ShowUsage,
            usage_show,
            result=Usage,
        ),
    )


async def _used(quotas: Quotas, prefix: RepositoryName | None) -> list[QuotaUsed]:
    used = []
    for one in sorted(quotas.limits):
        if _is_below(one, prefix) or _is_below(str(prefix), one):
            standing = await quotas.exactly(one)
            is_counted = standing.counts.last is not None
            used.append(QuotaUsed(one, standing.limit_bytes, standing.used_bytes, is_counted))
    return used


def _of_quotas(report: Count, quotas: Quotas) -> Result:
    """The count with the quotas there are here; the report in the store has those of all servers."""
    here = [one for one in report.quotas if one.prefix in quotas.limits]
    others = ", ".join(one.prefix for one in report.quotas if one.prefix not in quotas.limits)
    note = f"counted as well, for servers that may have a quota for it; this configuration has none: {others}"
    return Result(dataclasses.replace(report, quotas=here), text=note if others else "")


def _is_below(name: str, prefix: RepositoryName | None) -> bool:
    return prefix is None or name == prefix or name.startswith(f"{prefix}/")
