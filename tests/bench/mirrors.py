"""What it costs to stand before another registry, beside Distribution as a pull-through cache."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import cache

from tests.bench.connection import Connection, Refused
from tests.bench.content import Blob, Bulk
from tests.bench.figures import Figure, Goal, Rounds, Unit
from tests.bench.scale import Scale
from tests.bench.shelf import REPOSITORY, Shelf
from tests.bench.source import Source
from tests.bench.trials import SERVERS, Ground, Trial
from tests.bench.workloads import ACCEPT, GIB, PULLS, Entrants, Prepare, Run, Workload, asking

TRIES = 50
ARRIVAL_SECONDS = 1.0  # in which a blob comes whose first byte is waited for


def path_of(blob: Blob) -> str:
    """Where a mirror has a blob."""
    return f"/v2/{REPOSITORY}/blobs/{blob.digest}"


def behind(shelf: Shelf) -> Source:
    """The upstream of a mirror."""
    assert shelf.server.source is not None
    return shelf.server.source


def seen_through(source: Source, sent_bytes: int, run: Run) -> Run:
    """The work, for which the upstream has to send just so many bytes, or it was other work."""

    def checked() -> float:
        before = source.sent_bytes
        units = run()
        if source.sent_bytes - before != sent_bytes:
            raise Refused(f"the upstream sent {source.sent_bytes - before} bytes, not {sent_bytes}")
        return units

    return checked


def missing(shelf: Shelf, _: Scale) -> Run:
    """A new large blob, which only the upstream has."""
    blob = behind(shelf).add(shelf.bulk.blob())

    def run() -> float:
        shelf.connection.ask("GET", path_of(blob), 200)
        return blob.size_bytes / GIB

    return seen_through(behind(shelf), blob.size_bytes, run)


def held(shelf: Shelf, _: Scale) -> Run:
    """A large blob, several times, that was pulled before."""
    blob = keep(shelf)

    def run() -> float:
        for _ in range(PULLS):
            shelf.connection.ask("GET", path_of(blob), 200)
        return PULLS * blob.size_bytes / GIB

    return seen_through(behind(shelf), 0, run)


@cache
def keep(shelf: Shelf) -> Blob:
    """A large blob that is held: pulled until the upstream sends nothing for it."""
    source = behind(shelf)
    blob = source.add(shelf.bulk.blob())
    for _ in range(TRIES):
        before = source.sent_bytes
        shelf.connection.ask("GET", path_of(blob), 200)
        if source.sent_bytes == before:
            return blob
    raise Refused(f"{shelf.server.host_port} keeps nothing of what it mirrors")


@cache
def held_tags(shelf: Shelf) -> list[str]:
    """The paths of all manifests, by tag, each of which was asked for before."""
    paths = [f"/v2/{REPOSITORY}/manifests/{tag}" for tag in behind(shelf).tags]
    for path in paths:
        shelf.connection.ask("GET", path, 200, ACCEPT)
    return paths


def first_byte(ground: Ground) -> list[Figure]:
    """How soon a client has the first byte of a large blob that takes the upstream its time to send."""
    taken: dict[str, list[float]] = {name: [] for name in SERVERS}
    bulk = Bulk(ground.scale.large_bytes)
    with ExitStack() as stack:
        source = stack.enter_context(Source())
        source.bytes_per_second = ground.scale.large_bytes / ARRIVAL_SECONDS
        servers = {name: stack.enter_context(ground.server(name, source=source)) for name in SERVERS}
        for number in range(ground.scale.starts + 1):
            for name, server in servers.items():
                with Connection(server.host_port) as connection:
                    connection.ask("GET", "/v2/", 200)
                    taken[name].append(first_of(connection, source.add(bulk.blob())))
            ground.tell(f"mirror-first-byte: {number} of {ground.scale.starts}")
    # The first of each only warms up.
    rounds = Rounds(tuple(taken["moorage"][1:]), tuple(taken["distribution"][1:]))
    meaning = f"the first byte of a blob that comes in {ARRIVAL_SECONDS:g} s"
    return [Figure("mirror-first-byte", meaning, Unit("s"), rounds)]


def first_of(connection: Connection, blob: Blob) -> float:
    """The seconds until the first byte; the rest is read too."""
    began = time.perf_counter()
    pieces = connection.pieces(path_of(blob), 200)
    next(pieces)
    taken = time.perf_counter() - began
    for _ in pieces:
        pass
    return taken


PULL_THROUGH = Entrants("moorage-mirror", "distribution-mirror", "control-mirror")


def through(name: str, unit: str, meaning: str, prepare: Prepare, bound: float) -> Workload:
    """Work that is done through a mirror."""
    return Workload(name, unit, meaning, prepare, Goal(bound), entrants=PULL_THROUGH)


WORKLOADS = (
    through("mirror-miss", "GiB", "GET of a large blob that only the upstream has", missing, 1.2),
    through("mirror-hit", "GiB", "the same of one that was pulled before", held, 0.5),
    through(
        *("mirror-manifest", "request", "GET by tag, many in turn, all pulled before"),
        *(asking("GET", held_tags, ACCEPT), 0.8),
    ),
)
TRIALS = (Trial(("mirror-first-byte",), first_byte),)
