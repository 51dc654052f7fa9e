"""The servers side by side, asked in turn for the same work, round after round."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench.connection import Connection
from tests.bench.content import Content
from tests.bench.contestants import Contestant
from tests.bench.figures import Figure, Rounds, enough, per_unit
from tests.bench.processor import settled_nanoseconds
from tests.bench.shelf import Shelf
from tests.bench.workloads import Workload

Tell = Callable[[str], None]


class Race:
    """Servers that run, each with its shelf full, and what has been measured of them so far."""

    def __init__(
        self,
        kinds: Mapping[str, Callable[[Path], Contestant]],
        folder: Path,
        size_bytes: int,
        requests: int,
        stack: ExitStack,
        tell: Tell,
    ) -> None:
        self._began = time.monotonic()
        self._requests = requests
        self._tell = tell
        self._pids: dict[str, int] = {}
        self._shelves: dict[str, Shelf] = {}
        self._seconds: defaultdict[tuple[Workload, str, str], list[float]] = defaultdict(list)
        content = Content(size_bytes)
        for name, kind in kinds.items():
            server = kind(folder / name)
            stack.callback(server.stop)
            connection = stack.enter_context(Connection(server.host_port))
            tell(f"{name} listens on {server.host_port}, {requests} manifests are pushed")
            self._pids[name] = server.pid
            self._shelves[name] = Shelf(server.host_port, connection, content)
            self._shelves[name].fill(requests)

    def run(self, workloads: Sequence[Workload], rounds: int, budget_seconds: float) -> list[Figure]:
        """At most that many rounds, at least one, after one that only warms up."""
        self._round(workloads, 0, self._requests // 4 + 1)
        self._seconds.clear()
        self._tell("warm")
        longest = 0.0
        for number in range(1, rounds + 1):
            began = time.monotonic()
            if number > 1 and enough(began - self._began, longest, budget_seconds):
                self._tell("the time is up")
                break
            self._round(workloads, number, self._requests)
            self._tell(f"round {number} of {rounds}")
            longest = max(longest, time.monotonic() - began)
        return [
            Figure(one.name, one.unit, self._rounds(one, "processor"), self._rounds(one, "waited"))
            for one in workloads
        ]

    def _round(self, workloads: Sequence[Workload], number: int, requests: int) -> None:
        for place, workload in enumerate(workloads):
            for name in rotated(list(self._shelves), number + place):
                self._measure(workload, name, requests)

    def _measure(self, workload: Workload, name: str, requests: int) -> None:
        run = workload.prepare(self._shelves[name], requests)
        used, waited = settled_nanoseconds(self._pids[name]), time.perf_counter_ns()
        units = run()
        waited, used = time.perf_counter_ns() - waited, settled_nanoseconds(self._pids[name]) - used
        self._seconds[workload, "processor", name].append(per_unit(used, units))
        self._seconds[workload, "waited", name].append(per_unit(waited, units))

    def _rounds(self, workload: Workload, what: str) -> Rounds:
        return Rounds(**{name: tuple(self._seconds[workload, what, name]) for name in self._shelves})


def rotated(names: list[str], by: int) -> list[str]:
    """The names in the same order with another beginning, so that each is first equally often."""
    by %= len(names)
    return names[by:] + names[:by]
