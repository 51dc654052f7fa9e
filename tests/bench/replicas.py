"""What several servers on one bucket bring, with the clients spread over them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from tests.bench.connection import Connection
from tests.bench.content import Bulk
from tests.bench.crowd import Work, together
from tests.bench.figures import Figure, Rounds, Unit
from tests.bench.scale import MIB
from tests.bench.shelf import REPOSITORY, Shelf
from tests.bench.trials import SERVERS, Ground, Trial
from tests.bench.workloads import ACCEPT, by_tag

REPLICAS = (1, 2, 3)
# As many for each server, however many there are.
CLIENTS = 12
PULLS_EACH = 2


def replicas(ground: Ground) -> list[Figure]:
    """Pulls of a large blob, and manifests by tag, a second: with one server, with two, with three."""
    return [figure for number in REPLICAS for figure in _with(ground, number)]


def _with(ground: Ground, number: int) -> list[Figure]:
    blobs: dict[str, list[float]] = {name: [] for name in SERVERS}
    manifests: dict[str, list[float]] = {name: [] for name in SERVERS}
    for turn in range(ground.scale.repeats):
        for name in SERVERS:
            pulled, asked = _measure(ground, name, number)
            blobs[name].append(pulled)
            manifests[name].append(asked)
        ground.tell(f"replicas: {number} servers, {turn + 1} of {ground.scale.repeats}")
    servers = "1 server" if number == 1 else f"{number} servers on one bucket"
    return [
        Figure(
            f"replicas-{number}-{what}",
            f"{meaning} through {servers}, {CLIENTS} clients",
            Unit(unit),
            Rounds(tuple(found["moorage"]), tuple(found["distribution"])),
        )
        for what, meaning, unit, found in (
            ("blobs", "a large blob", "MiB / s", blobs),
            ("manifests", "GET by tag", "requests / s", manifests),
        )
    ]


def _measure(ground: Ground, name: str, number: int) -> tuple[float, float]:
    """MiB and manifests a second, after a first round that does not count."""
    with ExitStack() as stack:
        bucket = ground.bucket()
        servers = [stack.enter_context(ground.server(name, bucket=bucket)) for _ in range(number)]
        shelf = stack.enter_context(Shelf(servers[0], Bulk(ground.scale.large_bytes), ground.scale.requests))
        paths = by_tag(shelf)
        blob = f"/v2/{REPOSITORY}/blobs/{shelf.large.digest}"

        def crowd(work: Callable[[Connection, int], None]) -> float:
            """The seconds until all clients have done their work."""
            clients = [Connection(one.host_port) for one, _ in zip(itertools.cycle(servers), range(CLIENTS))]
            works: list[Work] = [partial(_numbered, work, client) for client in range(CLIENTS)]
            began = time.perf_counter()
            together(iter(clients).__next__, works)
            return time.perf_counter() - began

        def pull(connection: Connection, _: int) -> None:
            for _ in range(PULLS_EACH):
                connection.ask("GET", blob, 200)

        def ask(connection: Connection, client: int) -> None:
            # Each begins elsewhere, so that no two ask for the same at the same time.
            begin = client * len(paths) // CLIENTS
            for path in paths[begin:] + paths[:begin]:
                connection.ask("GET", path, 200, ACCEPT)

        crowd(ask)
        asked = CLIENTS * len(paths) / crowd(ask)
        pulled = CLIENTS * PULLS_EACH * shelf.large.size_bytes / MIB / crowd(pull)
        return pulled, asked


def _numbered(work: Callable[[Connection, int], None], number: int, connection: Connection) -> None:
    work(connection, number)


TRIALS = (
    Trial([f"replicas-{number}-{what}" for number in REPLICAS for what in ("blobs", "manifests")], replicas),
)
