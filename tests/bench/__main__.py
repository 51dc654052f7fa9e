"""Measure: `python -m tests.bench [--rounds N] [--size 64MiB] [--only NAME ...] [--json]`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from registry.model.units import format_size, parse_size
from tests.bench.contestants import Contestant, Distribution, Moorage, file_system, versions
from tests.bench.figures import Figure
from tests.bench.race import Race
from tests.bench.report import Report
from tests.bench.workloads import WORKLOADS, Workload
from tests.equipment.catalogue import Missing

PAGE = Path(__file__).parents[2] / "BENCHMARKS.md"
SIZE_BYTES = 64 << 20
KINDS: Mapping[str, Callable[[Path], Contestant]] = {
    "distribution": Distribution,
    "moorage": Moorage,
    "control": Distribution,
}


def main(words: Sequence[str] | None = None) -> int:
    """Measure, and write the page; 1 if a server could not be had."""
    given = parser().parse_args(words)
    names = given.only or [workload.name for workload in WORKLOADS]
    workloads = [workload for workload in WORKLOADS if workload.name in names]
    load_before = os.getloadavg()[0]
    try:
        figures = measure(workloads, given)
    except Missing as problem:
        print(problem, file=sys.stderr)
        return 1
    circumstances = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": shlex.join(["python", "-m", "tests.bench", *(sys.argv[1:] if words is None else words)]),
        "rounds": str(len(figures[0].processor.moorage)),
        "large blob": format_size(given.size),
        "requests a round": str(given.requests),
        "file system": file_system(Path(tempfile.gettempdir())),
        "load of the machine before and after": f"{load_before:.1f}, {os.getloadavg()[0]:.1f}",
        **versions(),
    }
    report = Report(figures, {workload.name: workload.meaning for workload in workloads}, circumstances)
    print(report.json() if given.json else report.markdown())
    if given.output or not given.only:
        report.write(given.output or PAGE)
    return 0


def measure(workloads: Sequence[Workload], given: argparse.Namespace) -> list[Figure]:
    """Start the servers, let them race, and stop them."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moorage-bench-")))
        race = Race(KINDS, folder, given.size, given.requests, stack, tell)
        return race.run(workloads, given.rounds, given.minutes * 60)


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    found.add_argument("--rounds", type=positive, default=7, help="how often all is measured, at most (7)")
    found.add_argument("--size", type=parse_size, default=SIZE_BYTES, help="of a large blob (64MiB)")
    found.add_argument("--requests", type=positive, default=500, help="small ones in each round (500)")
    found.add_argument("--minutes", type=positive, default=5, help="begin no round that would end later (5)")
    found.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        choices=[workload.name for workload in WORKLOADS],
        help="measure these; leaves BENCHMARKS.md alone",
    )
    found.add_argument("--json", action="store_true", help="print JSON, not a table")
    found.add_argument("--output", type=Path, help="the page to write the table into (BENCHMARKS.md)")
    return found


def positive(text: str) -> int:
    """A number of at least one."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def tell(line: str) -> None:
    """Tell the person who waits how far it is."""
    print(f"bench: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
