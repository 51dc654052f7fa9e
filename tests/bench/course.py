"""All that is measured, in its order; what cannot be is noted, and the rest goes on."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench import idle, peaks, slow, start
from tests.bench.connection import Refused
from tests.bench.places import NoPlace, Place, place
from tests.bench.race import Race
from tests.bench.report import Section
from tests.bench.scale import Scale
from tests.bench.trials import Ground, Trial
from tests.bench.workloads import GROUPS, WORKLOADS

TRIALS = (*peaks.TRIALS, *idle.TRIALS, *slow.TRIALS, *start.TRIALS)
NAMES = [workload.name for workload in WORKLOADS] + [name for trial in TRIALS for name in trial.names]


class Course:
    """The sections that have been measured so far, and what could not be, with the reason."""

    def __init__(self, scale: Scale, tell: Callable[[str], None]) -> None:
        self._scale = scale
        self._tell = tell
        self.sections: list[Section] = []
        self.problems: list[str] = []

    def run(self, names: Sequence[str], places: Sequence[str]) -> None:
        """The workloads in each place, the trials in the first that can be had."""
        found: list[Place] = []
        for one in places:
            with self._noted("a place"):
                found.append(place(one, self._scale.room_bytes))
        if any(workload.name in names for workload in WORKLOADS):
            for where in found:
                with self._noted(f"processor time on {where.kind}"):
                    self._race(names, where)
        trials = [trial for trial in TRIALS if set(names) & set(trial.names)]
        if trials and found:
            self._try(trials, found[0])

    def _race(self, names: Sequence[str], where: Place) -> None:
        section = Section(f"Processor time, storage on {where.kind}", [])
        self.sections.append(section)
        for group in GROUPS:
            workloads = [workload for workload in group if workload.name in names]
            if workloads:
                with emptied(where) as folder, ExitStack() as stack:
                    section.figures.extend(Race(workloads, folder, self._scale, stack, self._tell).run())

    def _try(self, trials: Sequence[Trial], where: Place) -> None:
        section = Section(f"Memory, slow clients and start, storage on {where.kind}", [])
        self.sections.append(section)
        with emptied(where) as folder:
            for trial in trials:
                with self._noted(", ".join(trial.names)):
                    section.figures.extend(trial.run(Ground(folder, self._scale, self._tell)))

    @contextmanager
    def _noted(self, what: str) -> Iterator[None]:
        try:
            yield
        except (AssertionError, NoPlace, OSError, Refused) as problem:
            self.problems.append(f"{what}: {problem}")
            self._tell(f"not measured: {self.problems[-1]}")


@contextmanager
def emptied(where: Place) -> Iterator[Path]:
    """A directory of its own in a place."""
    with tempfile.TemporaryDirectory(prefix="moorage-bench-", dir=where.folder) as folder:
        yield Path(folder)
