"""How much memory many large transfers at once take, and whether many small ones leave any behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from tests.bench.connection import Connection
from tests.bench.content import Blob, Bulk, config, manifest, small_blobs
from tests.bench.contestants import Contestant
from tests.bench.crowd import Work, dealt, together
from tests.bench.figures import Figure, Goal, Rounds, Unit
from tests.bench.memory import peak_mib, resident_mib
from tests.bench.pushing import push_containerd, push_docker, push_manifest
from tests.bench.shelf import REPOSITORY, Shelf
from tests.bench.trials import SERVERS, Ground, Trial

MIB = Unit("MiB")
BLOBS = 16
PULLS = 4
TAGS = 100
GROWN_MIB = 5.0
# By default it may grow to 64 MiB, and so it would for the whole time; this one is full soon.
SMALL_CACHE: dict[str, Any] = {"settings": {"cache": {"manifests": "256KiB"}}}


def peaks(ground: Ground) -> list[Figure]:
    """The highest resident set of a process that serves many large pushes, or pulls, at once."""
    scale = ground.scale
    goal = Goal(140, of_ratio=False)
    pushed, pulled = Bulk(scale.large_bytes), Bulk(scale.pull_bytes)

    def push(name: str) -> float:
        with ground.server(name) as server, Shelf(server, pushed) as shelf:
            works: list[Work] = [
                partial(push_docker, repository=REPOSITORY, blob=shelf.passing()) for _ in range(scale.pushes)
            ]
            together(shelf.connect, works)
            shelf.clear()
            return peak_mib(server.pid)

    def pull(name: str) -> float:
        with ground.server(name) as server, Shelf(server, pulled) as shelf:
            blobs = [shelf.passing() for _ in range(BLOBS)]
            for blob in blobs:
                push_containerd(shelf.connection, REPOSITORY, blob)
            works: list[Work] = [partial(ask, blob=blobs[one % BLOBS]) for one in range(scale.pullers)]
            together(shelf.connect, works)
            shelf.clear()
            return peak_mib(server.pid)

    def ask(connection: Connection, blob: Blob) -> None:
        for _ in range(PULLS):
            connection.ask("GET", f"/v2/{REPOSITORY}/blobs/{blob.digest}", 200)

    large, medium = scale.large_bytes >> 20, scale.pull_bytes >> 20
    return [
        Figure(
            *("memory-push", f"peak with {scale.pushes} pushes of {large} MiB", MIB),
            *(ground.rounds("memory-push", scale.repeats, push), goal),
        ),
        Figure(
            *("memory-pull", f"peak with {scale.pullers} clients pulling {medium} MiB", MIB),
            *(ground.rounds("memory-pull", scale.repeats, pull), goal),
        ),
    ]


def growth(ground: Ground) -> list[Figure]:
    """How much larger the resident set is after all the small pushes than after a quarter of them."""
    first = ground.scale.small_pushes // 4
    rest = ground.scale.small_pushes - first

    def measure(name: str) -> float:
        given = SMALL_CACHE if name == "moorage" else {}
        with ground.server(name, **given) as server:
            shared = config()
            with Connection(server.host_port) as connection:
                push_docker(connection, REPOSITORY, shared)
            push(server, shared, first)
            before = resident_mib(server.pid)
            push(server, shared, rest)
            return max(0.0, resident_mib(server.pid) - before)

    def push(server: Contestant, shared: Blob, number: int) -> None:
        works = [partial(push_one, shared=shared, number=one) for one in range(number)]
        together(lambda: Connection(server.host_port), dealt(works, ground.scale.image_clients))

    # Nobody looks at the time here, so both servers may work at once.
    with ThreadPoolExecutor(len(SERVERS)) as pool:
        found = dict(zip(SERVERS, pool.map(measure, SERVERS), strict=True))
    ground.tell("memory-growth")
    meaning = f"more after {ground.scale.small_pushes} small pushes than after {first}"
    rounds = Rounds((found["moorage"],), (found["distribution"],))
    return [Figure("memory-growth", meaning, MIB, rounds, Goal(GROWN_MIB, of_ratio=False))]


def push_one(connection: Connection, shared: Blob, number: int) -> None:
    """A small blob, or a manifest under one of some tags."""
    if number % 2:
        push_containerd(connection, REPOSITORY, small_blobs(1)[0])
    else:
        push_manifest(connection, REPOSITORY, manifest((shared,)), f"t{number % TAGS}")


TRIALS = (Trial(("memory-push", "memory-pull"), peaks, everywhere=True), Trial(("memory-growth",), growth))
