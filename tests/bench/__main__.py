"""Measure: `python -m tests.bench [--quick] [--part PART ...] [--place memory|disk|bucket] [--json]`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from registry.model.units import format_size
from tests.bench.contestants import versions
from tests.bench.course import NAMES, PARTS, PROCESSOR, Course, names_of
from tests.bench.places import PLACES
from tests.bench.report import Report, Section
from tests.bench.scale import FULL, QUICK, TINY, Scale
from tests.equipment.catalogue import Missing

BEGAN = time.monotonic()
PAGE = Path(__file__).parents[2] / "BENCHMARKS.md"


def main(words: Sequence[str] | None = None) -> int:
    """Measure, and write the page; 1 if something could not be measured."""
    given = parser().parse_args(words)
    scale = replace(given.scale, rounds=given.rounds) if given.rounds else given.scale
    load_before = os.getloadavg()[0]
    course, sections = Course(scale, tell), []

    def report(sections: Sequence[Section]) -> Report:
        return Report(sections, course.problems, circumstances(words, scale, load_before))

    try:
        for section in course.run(given.only or names_of(given.part), given.place):
            sections.append(section)
            # At once: a run that is ended early leaves what it has measured.
            if given.output or scale == FULL:
                report([section]).write(given.output or PAGE)
    except Missing as problem:
        print(problem, file=sys.stderr)
        return 1
    whole = report(sections)
    print(whole.json() if given.json else whole.markdown())
    return 1 if whole.document()["problems"] else 0


def circumstances(words: Sequence[str] | None, scale: Scale, load_before: float) -> dict[str, str]:
    """What is to be known of a run so far."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": shlex.join(["python", "-m", "tests.bench", *(sys.argv[1:] if words is None else words)]),
        "large blob": format_size(scale.large_bytes),
        "requests a round": str(scale.requests),
        "load of the machine before and after": f"{load_before:.1f}, {os.getloadavg()[0]:.1f}",
        **versions(),
    }


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    amount = found.add_mutually_exclusive_group()
    amount.add_argument(
        "--quick", dest="scale", action="store_const", const=QUICK, help="less of everything: a first look"
    )
    amount.add_argument(
        "--tiny", dest="scale", action="store_const", const=TINY, help="only shows that everything runs"
    )
    found.set_defaults(scale=FULL)
    found.add_argument("--rounds", type=positive, help=f"how often all is measured, at most ({FULL.rounds})")
    chosen = found.add_mutually_exclusive_group()
    parts = (PROCESSOR, *PARTS)
    chosen.add_argument("--part", nargs="+", default=parts, choices=parts, help="the sections of some kinds")
    chosen.add_argument("--only", nargs="+", metavar="NAME", choices=NAMES, help=f"of {', '.join(NAMES)}")
    found.add_argument(
        "--place",
        nargs="+",
        default=tuple(PLACES),
        choices=PLACES,
        help="where the storage lies (all in turn)",
    )
    found.add_argument("--json", action="store_true", help="print JSON, not a table")
    found.add_argument(
        "--output",
        type=Path,
        help="the page whose sections are replaced by those that were measured whole (BENCHMARKS.md)",
    )
    return found


def positive(text: str) -> int:
    """A number of at least one."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def tell(line: str) -> None:
    """Tell the person who waits how far it is, and since when."""
    print(f"bench: {time.monotonic() - BEGAN:4.0f} s: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
