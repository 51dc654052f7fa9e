"""The servers side by side, asked in turn for the same work, round after round."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.bucket import Store
from tests.bench.content import Bulk
from tests.bench.contestants import Contestant, Distribution, Moorage, Uvicorn
from tests.bench.figures import Figure, Rounds, Unit, enough, per_unit
from tests.bench.processor import settled_nanoseconds
from tests.bench.scale import Scale
from tests.bench.shelf import Shelf
from tests.bench.source import Source
from tests.bench.workloads import Workload

KINDS: Mapping[str, Callable[..., Contestant]] = {
    "distribution": Distribution,
    "control": Distribution,
    "moorage": Moorage,
    "uncached": partial(Moorage, settings={"cache": {"manifests": "0B"}}),
    "uvicorn": Uvicorn,
    "distribution-tls": partial(Distribution, tls=True),
    "control-tls": partial(Distribution, tls=True),
    "moorage-tls": partial(Moorage, tls=True),
}
# The same once more, each as the mirror of an upstream of its own.
MIRRORS: Mapping[str, Callable[..., Contestant]] = {
    "moorage-mirror": Moorage,
    "distribution-mirror": Distribution,
    "control-mirror": Distribution,
}

Tell = Callable[[str], None]


class Race:
    """Servers that run, one of each kind that a workload needs, and what was measured of them so far."""

    def __init__(
        self,
        workloads: Sequence[Workload],
        folder: Path,
        scale: Scale,
        stack: ExitStack,
        tell: Tell,
        store: Store | None = None,
    ) -> None:
        self._began = time.monotonic()
        self._workloads = workloads
        self._scale = scale
        self._tell = tell
        self._shelves: dict[str, Shelf] = {}
        self._seconds: defaultdict[tuple[Workload, str, str], list[float]] = defaultdict(list)
        bulk = Bulk(scale.large_bytes)
        for name in dict.fromkeys(name for workload in workloads for name in entrants(workload)):
            given: dict[str, Any] = {} if store is None else {"bucket": store.place()}
            if name in MIRRORS:
                given["source"] = stack.enter_context(Source(scale.requests))
            server = {**KINDS, **MIRRORS}[name](folder / name, **given)
            stack.callback(server.stop)
            tell(f"{name} listens on {server.host_port}")
            self._shelves[name] = stack.enter_context(Shelf(server, bulk, scale.requests))

    def run(self) -> list[Figure]:
        """As many rounds as the scale says, fewer if the time is up, after one that only warms up."""
        self._round(0, self._scale.warm())
        self._seconds.clear()
        self._tell("warm")
        longest = 0.0
        for number in range(1, self._scale.rounds + 1):
            began = time.monotonic()
            if number > 1 and enough(began - self._began, longest, self._scale.minutes * 60):
                self._tell("the time is up")
                break
            self._round(number, self._scale)
            self._tell(f"round {number} of {self._scale.rounds}")
            longest = max(longest, time.monotonic() - began)
        return [figure for workload in self._workloads for figure in self._figures(workload)]

    def _round(self, number: int, scale: Scale) -> None:
        for place, workload in enumerate(self._workloads):
            for name in rotated(entrants(workload), number + place):
                self._measure(workload, name, scale)

    def _measure(self, workload: Workload, name: str, scale: Scale) -> None:
        shelf = self._shelves[name]
        shelf.reconnect()
        run = workload.prepare(shelf, scale)
        used, waited = settled_nanoseconds(shelf.server.pid), time.perf_counter_ns()
        units = run()
        waited, used = time.perf_counter_ns() - waited, settled_nanoseconds(shelf.server.pid) - used
        self._seconds[workload, "processor", name].append(per_unit(used, units))
        self._seconds[workload, "waited", name].append(per_unit(waited, units))
        shelf.clear()

    def _figures(self, workload: Workload) -> list[Figure]:
        waited = self._rounds(workload, "waited")
        figure = Figure(
            *(workload.name, workload.meaning, Unit(f"s / {workload.unit}")),
            *(self._rounds(workload, "processor"), workload.goal, waited),
        )
        if workload.rate_goal is None:
            return [figure]
        unit = Unit(f"{workload.unit}s / s")
        rate = Figure(
            f"{workload.name}-rate", f"{workload.unit}s a second", unit, waited.inverse(), workload.rate_goal
        )
        return [figure, rate]

    def _rounds(self, workload: Workload, what: str) -> Rounds:
        return Rounds(*(tuple(self._seconds[workload, what, name]) for name in entrants(workload)))


def entrants(workload: Workload) -> list[str]:
    """The names of its servers, Moorage's, Distribution's and the control's."""
    names = workload.entrants
    return [names.moorage, names.distribution, names.control]


def rotated(names: list[str], by: int) -> list[str]:
    """The names in the same order with another beginning, so that each is first equally often."""
    by %= len(names)
    return names[by:] + names[:by]
