"""Many clients at once for a blob that nobody holds yet, through several servers of which one is killed."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from tests.bench.connection import Connection, Refused
from tests.bench.content import Recurring
from tests.bench.contestants import Contestant
from tests.bench.figures import Figure, Goal, Rounds, Unit
from tests.bench.mirrors import path_of
from tests.bench.scale import MIB
from tests.bench.source import Halt, Source
from tests.bench.trials import Ground, Trial
from tests.bench.workloads import GIB

REPLICAS = 3
# Distribution is sent it for nearly every client, which would take minutes for the whole.
BYTES_THERE = 64 * MIB
# As often a client goes on at the next server.
TRIES = 30
PAUSE_SECONDS = 0.2
# For what two hundred clients and three servers do on a small machine.
PATIENCE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Outcome:
    """How often the upstream sent the blob, how long each GiB took that a client got, and who failed."""

    sent: float
    seconds_a_gib: float
    failed: int


def rush(ground: Ground) -> list[Figure]:
    """What the upstream sends, and whether all clients get it."""
    clients, ours = ground.scale.crowd, ground.scale.crowd_bytes
    theirs = min(ours, BYTES_THERE)
    found = []
    for name, number, size_bytes in (("moorage", REPLICAS, ours), ("distribution", 1, theirs)):
        with ExitStack() as stack:
            source = stack.enter_context(Source())
            given = {"source": source, "root": ground.folder / f"rush-{name}"}
            servers = [stack.enter_context(ground.server(name, **given)) for _ in range(number)]
            found.append(outcome(servers, source, Recurring(size_bytes), clients))
        ground.tell(f"mirror-crowd: {name}, {found[-1]}")

    def rounds(read: Callable[[Outcome], float]) -> Rounds:
        here, there = map(read, found)
        return Rounds((here,), (there,))

    meaning = (
        f"{clients} clients, {ours // MIB} MiB through {REPLICAS} servers, {theirs // MIB} MiB through one"
    )
    return [
        Figure(
            *("mirror-crowd", f"how often the upstream sent it, {meaning}", Unit("times")),
            *(rounds(lambda one: one.sent), Goal(2, of_ratio=False)),
        ),
        Figure(
            "mirror-crowd-time",
            "until all had it, for each GiB that they got",
            Unit("s / GiB"),
            rounds(lambda one: one.seconds_a_gib),
        ),
        Figure(
            *("mirror-crowd-failed", "how many did not get it whole and right", Unit("")),
            *(rounds(lambda one: one.failed), Goal(0, of_ratio=False)),
        ),
    ]


def outcome(servers: Sequence[Contestant], source: Source, content: Recurring, clients: int) -> Outcome:
    """Let them pull; the first of several servers, which is the one that fetches, is killed half-way."""
    blob = source.add(content.blob)
    source.halt = halt = Halt(blob.size_bytes // 2) if len(servers) > 1 else None
    hosts = [server.host_port for server in servers]
    begun = threading.Semaphore(0)
    began = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        first = pool.submit(pull, hosts, 0, content, begun)
        assert source.begun.wait(PATIENCE_SECONDS), "the upstream was not asked"
        others = [pool.submit(pull, hosts, number, content, begun) for number in range(1, clients)]
        if halt is not None:
            try:
                assert halt.reached.wait(PATIENCE_SECONDS), "the upstream was not asked for half of it"
                for _ in range(clients):
                    assert begun.acquire(timeout=PATIENCE_SECONDS), "a client has got nothing yet"
                servers[0].kill()
            finally:
                halt.over.set()
        failed = sum(done.exception() is not None for done in (first, *others))
    taken = (time.monotonic() - began) * GIB / (clients * blob.size_bytes)
    return Outcome(source.sent_bytes / blob.size_bytes, taken, failed)


def pull(hosts: Sequence[str], number: int, content: Recurring, begun: threading.Semaphore) -> None:
    """Get it whole, going on at the next server where one breaks off; raises Refused, or Wrong."""
    place = 0
    problem: Exception = Refused("nobody was asked")
    for host in itertools.islice(itertools.cycle(hosts), number, number + TRIES):
        try:
            with Connection(host) as connection:
                wanted, headers = (206, f"Range: bytes={place}-\r\n") if place else (200, "")
                for piece in connection.pieces(path_of(content.blob), wanted, headers):
                    if not content.has(piece, place):
                        raise Wrong(f"{host} gave other bytes from {place} on")
                    if not place:
                        begun.release()
                    place += len(piece)
            return
        except (OSError, Refused) as error:
            problem = error
            time.sleep(PAUSE_SECONDS)
    raise problem


class Wrong(Exception):
    """What came is not what the upstream has."""


TRIALS = (Trial(("mirror-crowd", "mirror-crowd-time", "mirror-crowd-failed"), rush),)
