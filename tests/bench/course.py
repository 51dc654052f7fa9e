"""All that is measured, in its order; what cannot be is noted, and the rest goes on."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench import (
    bundles,
    collecting,
    idle,
    mirrors,
    peaks,
    replicas,
    rush,
    slow,
    start,
    tokens,
    workloads,
)
from tests.bench.bucket import store
from tests.bench.connection import Refused
from tests.bench.places import IN_A_BUCKET, NoPlace, Place, place
from tests.bench.race import Race
from tests.bench.report import Section
from tests.bench.scale import Scale
from tests.bench.trials import Ground, Trial

GROUPS = (*workloads.GROUPS, mirrors.WORKLOADS)
WORKLOADS = [workload for group in GROUPS for workload in group]
TRIALS = (
    *(*peaks.TRIALS, *idle.TRIALS, *slow.TRIALS, *start.TRIALS),
    *(*tokens.TRIALS, *collecting.TRIALS, *mirrors.TRIALS, *rush.TRIALS, *bundles.TRIALS),
)
TRIALS_IN_A_BUCKET = replicas.TRIALS
NAMES = [
    *(workload.name for workload in WORKLOADS),
    *(name for trial in (*TRIALS, *TRIALS_IN_A_BUCKET) for name in trial.names),
]


class Course:
    """The sections that have been measured so far, and what could not be, with the reason."""

    def __init__(self, scale: Scale, tell: Callable[[str], None]) -> None:
        self._scale = scale
        self._tell = tell
        self.sections: list[Section] = []
        self.problems: list[str] = []

    def run(self, names: Sequence[str], places: Sequence[str]) -> None:
        """The workloads in each place; the trials in the first that can be had, some of them in each."""
        found: list[Place] = []
        for one in places:
            with self._noted("a place"):
                found.append(place(one, self._scale.room_bytes))
        if any(workload.name in names for workload in WORKLOADS):
            for where in found:
                with self._noted(f"processor time on {where.kind}"):
                    self._race(names, where)
        for where in found:
            if where.kind == IN_A_BUCKET:
                here, what = chosen(TRIALS_IN_A_BUCKET, names), "Several servers"
            elif where is found[0]:
                here, what = chosen(TRIALS, names), "Memory, slow clients and start"
            else:
                here = [trial for trial in chosen(TRIALS, names) if trial.everywhere]
                what = "Memory and slow clients"
            if here:
                self._try(f"{what}, storage on {where.kind}", here, where)

    def _race(self, names: Sequence[str], where: Place) -> None:
        section = Section(f"Processor time, storage on {where.kind}", [])
        self.sections.append(section)
        in_bucket = where.kind == IN_A_BUCKET
        for group in workloads.IN_A_BUCKET if in_bucket else GROUPS:
            chosen = [workload for workload in group if workload.name in names]
            if chosen:
                with emptied(where) as folder, ExitStack() as stack:
                    buckets = stack.enter_context(store(folder)) if in_bucket else None
                    race = Race(chosen, folder, self._scale, stack, self._tell, buckets)
                    section.figures.extend(race.run())

    def _try(self, title: str, trials: Sequence[Trial], where: Place) -> None:
        section = Section(title, [])
        self.sections.append(section)
        with emptied(where) as folder, ExitStack() as stack:
            buckets = stack.enter_context(store(folder)) if where.kind == IN_A_BUCKET else None
            ground = Ground(folder, self._scale, self._tell, buckets)
            for trial in trials:
                with self._noted(f"{', '.join(trial.names)} on {where.kind}"):
                    section.figures.extend(trial.run(ground))

    @contextmanager
    def _noted(self, what: str) -> Iterator[None]:
        try:
            yield
        except (AssertionError, NoPlace, OSError, Refused) as problem:
            self.problems.append(f"{what}: {problem}")
            self._tell(f"not measured: {self.problems[-1]}")


def chosen(trials: Sequence[Trial], names: Sequence[str]) -> list[Trial]:
    """Those of which a figure is wanted."""
    return [trial for trial in trials if set(names) & set(trial.names)]


@contextmanager
def emptied(where: Place) -> Iterator[Path]:
    """A directory of its own in a place."""
    with tempfile.TemporaryDirectory(prefix="moorage-bench-", dir=where.folder) as folder:
        yield Path(folder)
