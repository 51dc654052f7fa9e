"""All that is measured, in its order; what cannot be is noted, and the rest goes on."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

from tests.bench import (
    asking,
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
from tests.bench.places import IN_A_BUCKET, IN_MEMORY, NoPlace, Place, place
from tests.bench.race import Race
from tests.bench.report import Section
from tests.bench.scale import Scale
from tests.bench.trials import Ground, Trial

GROUPS = (*workloads.GROUPS, mirrors.WORKLOADS)
WORKLOADS = [workload for group in GROUPS for workload in group]
PROCESSOR = "processor"
LONGEST_PROBLEM = 300  # characters: a copy tells of each file


@dataclass(frozen=True, slots=True)
class Part:
    """A section of what is not processor time: trials, in a bucket or on file systems.

    What makes more files than a tmpfs has room for is `on_disk`.
    """

    title: str
    trials: Sequence[Trial]
    in_bucket: bool = False
    on_disk: bool = False

    def fits(self, where: Place) -> bool:
        """Whether it is tried in a place."""
        if self.in_bucket or where.kind == IN_A_BUCKET:
            return self.in_bucket and where.kind == IN_A_BUCKET
        return not (self.on_disk and where.kind == IN_MEMORY)


PARTS: Mapping[str, Part] = {
    "memory": Part(
        "Memory, slow clients and start", (*peaks.TRIALS, *idle.TRIALS, *slow.TRIALS, *start.TRIALS)
    ),
    "tokens": Part("Tokens", tokens.TRIALS),
    "collecting": Part("Collecting", collecting.TRIALS, on_disk=True),
    "collecting-in-a-bucket": Part("Collecting in a bucket", collecting.IN_A_BUCKET, in_bucket=True),
    "mirrors": Part("Mirrors", (*mirrors.TRIALS, *rush.TRIALS)),
    "bundles": Part("Bundles", bundles.TRIALS),
    "replicas": Part("Several servers", replicas.TRIALS, in_bucket=True),
    "store": Part("Asking the store", asking.TRIALS, in_bucket=True),
}
NAMES = [
    *(workload.name for workload in WORKLOADS),
    *(name for part in PARTS.values() for trial in part.trials for name in trial.names),
]


def names_of(parts: Sequence[str]) -> list[str]:
    """The figures of some parts."""
    found = [workload.name for workload in WORKLOADS] if PROCESSOR in parts else []
    return found + [
        name for word, part in PARTS.items() if word in parts for trial in part.trials for name in trial.names
    ]


class Course:
    """Measures section by section; `problems` are of none of them."""

    def __init__(self, scale: Scale, tell: Callable[[str], None]) -> None:
        self._scale = scale
        self._tell = tell
        self.problems: list[str] = []

    def run(self, names: Sequence[str], places: Sequence[str]) -> Iterator[Section]:
        """The workloads in each place; the trials in the first that can be had, some of them in each."""
        found: list[Place] = []
        for one in places:
            with self._noted("a place", self.problems):
                found.append(place(one, self._scale.room_bytes))
        for where in found:
            yield from self._race(names, where)
        for part in PARTS.values():
            first = True
            for where in found:
                if part.fits(where):
                    trials = [one for one in part.trials if first or one.everywhere]
                    yield from self._try(part, trials, names, where)
                    first = False

    def _race(self, names: Sequence[str], where: Place) -> Iterator[Section]:
        in_bucket = where.kind == IN_A_BUCKET
        groups = workloads.IN_A_BUCKET if in_bucket else GROUPS
        wanted = [[workload for workload in group if workload.name in names] for group in groups]
        if not any(wanted):
            return
        whole = wanted == [list(group) for group in groups]
        section = Section(f"Processor time, storage on {where.kind}", whole=whole)
        with self._noted(f"processor time on {where.kind}", section.problems):
            for chosen in filter(None, wanted):
                with emptied(where) as folder, ExitStack() as stack:
                    buckets = stack.enter_context(store(folder)) if in_bucket else None
                    race = Race(chosen, folder, self._scale, stack, self._tell, buckets)
                    section.figures.extend(race.run())
        yield section

    def _try(
        self, part: Part, trials: Sequence[Trial], names: Sequence[str], where: Place
    ) -> Iterator[Section]:
        wanted = [trial for trial in trials if set(names) & set(trial.names)]
        if not wanted:
            return
        section = Section(f"{part.title}, storage on {where.kind}", whole=wanted == list(trials))
        with emptied(where) as folder, ExitStack() as stack:
            buckets = stack.enter_context(store(folder)) if part.in_bucket else None
            ground = Ground(folder, self._scale, self._tell, buckets)
            for trial in wanted:
                with self._noted(f"{', '.join(trial.names)} on {where.kind}", section.problems):
                    section.figures.extend(trial.run(ground))
        yield section

    @contextmanager
    def _noted(self, what: str, problems: list[str]) -> Iterator[None]:
        try:
            yield
        except (AssertionError, NoPlace, OSError, Refused) as problem:
            problems.append(f"{what}: {shorten(str(problem), LONGEST_PROBLEM)}")
            self._tell(f"not measured: {problems[-1]}")


@contextmanager
def emptied(where: Place) -> Iterator[Path]:
    """A directory of its own in a place."""
    with tempfile.TemporaryDirectory(prefix="moorage-bench-", dir=where.folder) as folder:
        yield Path(folder)
