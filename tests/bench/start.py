"""How soon after its start a server answers, however much it stores."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Callable

from registry.store import layout
from tests.bench import tree
from tests.bench.connection import Connection
from tests.bench.figures import Figure, Goal, Unit
from tests.bench.trials import Ground, Trial
from tests.bench.workloads import ACCEPT

GOAL = Goal(1, of_ratio=False)


def start(ground: Ground) -> list[Figure]:
    """The time until the first manifest is there, of a store of our own and of one that was taken over."""
    stored = ground.scale.stored
    root = ground.folder / "stored"
    ground.tell(f"start: {stored} manifests are stored")
    paths = itertools.cycle(tree.write(root, stored))

    def adopted() -> None:
        shutil.rmtree(root / layout.OURS, ignore_errors=True)

    def own() -> None:
        tree.complete(root, stored)

    def measure(ready: Callable[[], None], name: str) -> float:
        ready()
        began = time.monotonic()
        with ground.server(name, root=root) as server, Connection(server.host_port) as connection:
            connection.ask("GET", next(paths), 200, ACCEPT)
            return time.monotonic() - began

    return [
        Figure(name, meaning, Unit("s"), ground.rounds(name, ground.scale.starts, one), GOAL)
        for name, meaning, one in (
            ("start", f"first manifest, {stored} stored", lambda name: measure(own, name)),
            ("start-adopted", "the same of Distribution's tree", lambda name: measure(adopted, name)),
        )
    ]


TRIALS = (Trial(("start", "start-adopted"), start),)
