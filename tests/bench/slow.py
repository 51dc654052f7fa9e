"""Whether many slow clients cost memory, fail, or keep others waiting."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass

from tests.api.server import CHECKOUT
from tests.bench.connection import Connection
from tests.bench.content import Bulk
from tests.bench.contestants import Contestant
from tests.bench.figures import Figure, Goal, Rounds, Unit
from tests.bench.memory import forget_peak, peak_mib, resident_mib
from tests.bench.processor import used_nanoseconds
from tests.bench.scale import Scale
from tests.bench.shelf import REPOSITORY, Shelf
from tests.bench.trials import SERVERS, Ground, Trial
from tests.bench.trickle import Plan
from tests.bench.workloads import ACCEPT, by_tag

PULLED_BYTES = 1 << 20
UPLOADED_BYTES = 64 << 10
PAUSE_SECONDS = 0.005
ASKED_AT_LEAST = 20
# What the architecture promises: all pieces of a worker together 64 MiB, and 8 KiB for each connection.
PIECES_MIB = 64.0
MIB_EACH = 8 / 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one server: the seconds are those within which 99 of 100 manifests were there.

    `load` is the processor time that the server needed for a second of it.
    """

    more_mib: float
    failed: Counter[str]
    rest_seconds: float
    during_seconds: float
    load: float


def slow(ground: Ground) -> list[Figure]:
    """Slow pulls beside slow uploads, and manifests asked for meanwhile."""
    each = ground.scale.slow_each
    found = []
    for name in SERVERS:
        with ground.server(name) as server:
            found.append(outcome(ground, server))
        ground.tell(f"slow: {name}, failed: {dict(found[-1].failed)}")

    def rounds(read: Callable[[Outcome], float]) -> Rounds:
        ours, theirs = map(read, found)
        return Rounds((ours,), (theirs,))

    meaning = f"{each} pulls at 10 kB/s beside {each} uploads at 2 kB/s"
    memory = Goal(PIECES_MIB + 2 * each * MIB_EACH, of_ratio=False)
    return [
        Figure(
            *("slow-memory", f"more at the peak, {meaning}", Unit("MiB")),
            *(rounds(lambda one: one.more_mib), memory),
        ),
        Figure(
            *("slow-failed", "how many of them failed", Unit("")),
            *(rounds(lambda one: one.failed.total()), Goal(0, of_ratio=False)),
        ),
        Figure("slow-load", "processor time meanwhile", Unit("s / s"), rounds(lambda one: one.load)),
        Figure("slow-rest", "p99 of manifest GETs before", Unit("s"), rounds(lambda one: one.rest_seconds)),
        Figure("slow-p99", "the same meanwhile", Unit("s"), rounds(lambda one: one.during_seconds)),
        Figure(
            *("slow-manifest", "the second ÷ the first", Unit("")),
            *(rounds(lambda one: one.during_seconds / one.rest_seconds), Goal(2, of_ratio=False)),
        ),
    ]


def outcome(ground: Ground, server: Contestant) -> Outcome:
    """Manifests at rest and with the slow clients, who then end as fast as they can."""
    with Shelf(server, Bulk(PULLED_BYTES), ground.scale.requests) as shelf:
        return _outcome(ground.scale, shelf)


def _outcome(scale: Scale, shelf: Shelf) -> Outcome:
    server = shelf.server
    paths = by_tag(shelf)
    plan = Plan(
        server.host_port, REPOSITORY, shelf.large.digest, scale.slow_each, scale.slow_each, UPLOADED_BYTES
    )
    shelf.reconnect()
    for path in paths:
        shelf.connection.ask("GET", path, 200, ACCEPT)
    rest_seconds = p99(shelf.connection, paths, scale.rest_seconds)
    forget_peak(server.pid)
    before = resident_mib(server.pid)
    command = [sys.executable, "-m", "tests.bench.trickle", json.dumps(asdict(plan))]
    clients = subprocess.Popen(
        command, cwd=CHECKOUT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with clients:
        assert clients.stdin is not None and clients.stdout is not None
        clients.stdout.readline()
        used, began = used_nanoseconds(server.pid), time.monotonic_ns()
        during_seconds = p99(shelf.connection, paths, scale.slow_seconds)
        load = (used_nanoseconds(server.pid) - used) / (time.monotonic_ns() - began)
        clients.stdin.close()
        failed = Counter(json.loads(clients.stdout.readline()))
    return Outcome(max(0.0, peak_mib(server.pid) - before), failed, rest_seconds, during_seconds, load)


def p99(connection: Connection, paths: list[str], seconds: float) -> float:
    """Ask for one manifest after the other, with a pause between two, and see how long they take."""
    taken: list[float] = []
    began = time.monotonic()
    while len(taken) < ASKED_AT_LEAST or time.monotonic() - began < seconds:
        asked = time.perf_counter()
        connection.ask("GET", paths[len(taken) % len(paths)], 200, ACCEPT)
        taken.append(time.perf_counter() - asked)
        time.sleep(PAUSE_SECONDS)
    return statistics.quantiles(taken, n=100, method="inclusive")[-1]


NAMES = ("slow-memory", "slow-failed", "slow-load", "slow-rest", "slow-p99", "slow-manifest")
TRIALS = (Trial(NAMES, slow, everywhere=True),)
