"""Progress on standard error: a bar on a terminal, lines for programs, elsewhere what is waited for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from registry.model.quoting import printable
from registry.model.units import format_duration, format_size
from registry.work.operations import Progress

if TYPE_CHECKING:
    from rich.progress import Task

Report = Callable[[Progress], None]
_AMOUNTS: dict[str, Callable[[int], str]] = {"items": str, "bytes": format_size, "seconds": format_duration}


@contextmanager
def reporting(*, as_json: bool) -> Iterator[Report]:
    """What to call with each progress."""
    if as_json:
        yield _line
    elif sys.stderr.isatty():
        with _bar() as report:
            yield report
    else:
        yield _waits(lambda text: print(text, file=sys.stderr, flush=True))


def amount(progress: Progress) -> str:
    """How far it is, in words: `3 of 10`, `1.5GiB of 4GiB`."""
    done, total = (
        None if number is None else _AMOUNTS[progress.unit](number)
        for number in (progress.done, progress.total)
    )
    return f"{done}" if total is None else f"{done} of {total}"


def _begins_anew(shown: Task, progress: Progress) -> bool:
    """Whether progress is of another part of the work; a total that grows as more is known is of the same."""
    if shown.total is None or progress.total is None:
        return progress.total != shown.total or progress.done < shown.completed
    return progress.total < shown.total or progress.done < shown.completed


def _line(progress: Progress) -> None:
    document = {"done": progress.done, "total": progress.total, "unit": progress.unit, "text": progress.text}
    print(json.dumps({"progress": document}, ensure_ascii=False), file=sys.stderr, flush=True)


def _waits(tell: Callable[[str], None]) -> Report:
    """Has what is waited for told, once."""
    told = ""

    def report(progress: Progress) -> None:
        nonlocal told
        if progress.unit == "seconds" and progress.text != told:
            told = progress.text
            tell(printable(told))

    return report


@contextmanager
def _bar() -> Iterator[Report]:
    # Rich costs a tenth of a second, which only those pay who see it.
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[amount]}", markup=False),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None, amount="")
        # Above the bar, where there is room for all of it.
        waits = _waits(lambda text: bars.console.print(text, markup=False, highlight=False, soft_wrap=True))

        def report(progress: Progress) -> None:
            waits(progress)
            shown = bars.tasks[0]
            if _begins_anew(shown, progress):
                # Another part of the work: how fast the last one went says nothing of how long this takes.
                bars.reset(task, total=progress.total)
            # Given to `update`, another total would make it forget how fast it goes.
            shown.total = progress.total
            bars.update(
                task,
                completed=progress.done,
                description="waiting" if progress.unit == "seconds" else progress.text,
                amount=amount(progress),
            )

        yield report
