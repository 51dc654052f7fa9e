"""What becomes of a test when something it needs is missing, and the list of all that was."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import NoReturn

import pytest

from tests.equipment import catalogue
from tests.equipment.catalogue import Missing


def unavailable(problem: Missing) -> NoReturn:
    """A failure where everything has to be there (CI, or MOORAGE_REQUIRE_TOOLS is set), elsewhere a skip."""
    if os.environ.get("CI") or os.environ.get("MOORAGE_REQUIRE_TOOLS"):
        pytest.fail(str(problem), pytrace=False)
    pytest.skip(str(problem))


def require(tool: str, program: str = "") -> Path:
    """A tool's program on this machine, its first unless named; the test ends here if it is missing."""
    try:
        return catalogue.program(catalogue.load()[tool], program)
    except Missing as problem:
        unavailable(problem)


def require_extra(name: str) -> None:
    """The test ends here if an extra is missing in the environment that it runs in."""
    try:
        catalogue.distribution(catalogue.load()[name])
    except Missing as problem:
        unavailable(problem)


def summary(reports: list[pytest.TestReport]) -> list[str]:
    """One line for each missing thing: what, why, what to type, and how many tests wanted it."""
    counts: Counter[str] = Counter()
    for report in reports:
        told = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        for line in told.splitlines():
            _, found, rest = line.partition("missing ")
            if found and "; type: " in rest:
                counts[found + rest] += 1
                break
    return [f"{line}  [{count} test{'s' if count > 1 else ''}]" for line, count in sorted(counts.items())]
