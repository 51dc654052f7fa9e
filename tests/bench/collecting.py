"""What it takes to collect, beside Distribution's collector, for which everything must stand still."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.api.server import CHECKOUT
from tests.api.server import configuration as moorage_configuration
from tests.api.server import environment as moorage_environment
from tests.bench import tree
from tests.bench.commands import run
from tests.bench.connection import Connection
from tests.bench.figures import Figure, Goal, Rounds, Unit
from tests.bench.slow import p99
from tests.bench.trials import Ground, Trial
from tests.bench.workloads import ACCEPT
from tests.e2e.distribution import configuration as distribution_configuration
from tests.e2e.distribution import environment as distribution_environment
from tests.equipment import catalogue
from tests.folders import remove_tree

LAYERS = 2
MOORAGE = (sys.executable, "-m", "registry.cli")


@dataclass(frozen=True, slots=True)
class Run:
    """One collector's run over a whole tree."""

    seconds: float
    peak_mib: float
    removed: int

    @property
    def a_minute(self) -> float:
        """Blobs removed in a minute."""
        return self.removed * 60 / self.seconds


def collecting(ground: Ground) -> list[Figure]:
    """Both collectors on the same tree; then manifests asked of a server that collects."""
    number = ground.scale.collected
    whole = ground.folder / "collected"
    ground.tell(f"gc: {number} manifests with {LAYERS} layers, and as many unneeded blobs, are stored")
    paths = tree.write(whole, number, layers=LAYERS, unneeded=1)
    found = {"moorage": _run(ground, whole, _moorage), "distribution": _run(ground, whole, _distribution)}
    assert found["moorage"].removed == found["distribution"].removed == number, found
    rest, during = _beside(ground, whole, paths)

    def rounds(read: Callable[[Run], float]) -> Rounds:
        return Rounds((read(found["moorage"]),), (read(found["distribution"]),))

    meaning = f"collecting, {number} manifests, {number * (LAYERS + 1)} blobs, a third of them unneeded"
    return [
        Figure("gc-time", meaning, Unit("s"), rounds(lambda run: run.seconds)),
        Figure("gc-memory", "peak of the process", Unit("MiB"), rounds(lambda run: run.peak_mib)),
        Figure("gc-removals", "blobs removed", Unit("a minute"), rounds(lambda run: run.a_minute)),
        Figure("gc-rest", "p99 of manifest GETs before", Unit("s"), Rounds((rest,), (0,))),
        Figure("gc-p99", "the same while the server collects", Unit("s"), Rounds((during,), (0,))),
        Figure(
            *("gc-manifest", "the second ÷ the first", Unit("")),
            *(Rounds((during / rest,), (0,)), Goal(2, of_ratio=False)),
        ),
    ]


def collecting_in_a_bucket(ground: Ground) -> list[Figure]:
    """Ours on a tree in a bucket, a fifth as large; Distribution's asks for each link by itself."""
    number = ground.scale.collected // 5
    place = ground.bucket()
    ground.tell(
        f"gc: {number} manifests with {LAYERS} layers, and as many unneeded blobs, are stored in a bucket"
    )
    tree.write(place.root, number, layers=LAYERS, unneeded=1)
    (folder := ground.folder / "in-a-bucket").mkdir()
    config = folder / "config.yaml"
    more = {**place.moorage(folder), "gc": {"requests_per_second": 0}}
    config.write_text(json.dumps(moorage_configuration(folder, more)))
    before = tree.data(place.root)
    words = [*MOORAGE, "gc", "run", "--yes", "--json", "--config", config]
    spent = run(words, moorage_environment(), folder / "log")
    found = Run(spent.waited_seconds, spent.peak_mib, before - tree.data(place.root))
    assert found.removed == number, found
    meaning = f"collecting in a bucket, {number} manifests, {number * (LAYERS + 1)} blobs, a third unneeded"
    return [
        Figure("gc-bucket-time", meaning, Unit("s"), Rounds((found.seconds,), (0,))),
        Figure("gc-bucket-memory", "peak of the process", Unit("MiB"), Rounds((found.peak_mib,), (0,))),
        Figure(
            *("gc-bucket-removals", "blobs removed", Unit("a minute"), Rounds((found.a_minute,), (0,))),
            Goal(10_000, of_ratio=False, at_least=True),
        ),
    ]


def _run(
    ground: Ground, whole: Path, command: Callable[[Path, Path], tuple[list[object], dict[str, str]]]
) -> Run:
    folder = ground.folder / command.__name__.strip("_")
    root = folder / "data"
    # Neither writes into a file that is there: links to the same ones are as good as copies.
    shutil.copytree(whole, root, copy_function=os.link)
    words, environ = command(folder, root)
    before = tree.data(root)
    spent = run(words, environ, folder / "log")
    found = Run(spent.waited_seconds, spent.peak_mib, before - tree.data(root))
    ground.tell(f"gc: {command.__name__.strip('_')}, {found.seconds:.0f} s")
    remove_tree(folder)
    return found


def _moorage(folder: Path, root: Path) -> tuple[list[object], dict[str, str]]:
    config = folder / "config.yaml"
    config.write_text(json.dumps(moorage_configuration(root, {"gc": {"requests_per_second": 0}})))
    return [*MOORAGE, "gc", "run", "--yes", "--json", "--config", config], moorage_environment()


def _distribution(folder: Path, root: Path) -> tuple[list[object], dict[str, str]]:
    config = folder / "config.yml"
    config.write_text(distribution_configuration(root, delete=True))
    program = catalogue.program(catalogue.load()["distribution"])
    return [program, "garbage-collect", "--quiet", config], distribution_environment()


def _beside(ground: Ground, whole: Path, paths: list[str]) -> tuple[float, float]:
    """The p99 of manifest GETs at rest and while the same server collects, at its usual pace."""
    with (
        ground.server("moorage", root=whole, settings={"gc": {"enabled": False}}) as server,
        Connection(server.host_port) as connection,
    ):
        for path in paths:
            connection.ask("GET", path, 200, ACCEPT)
        rest = p99(connection, paths, ground.scale.rest_seconds)
        words = [*MOORAGE, "gc", "run", "--yes", "--json", "--server", f"http://{server.host_port}"]
        process = subprocess.Popen(
            words, cwd=CHECKOUT, env=moorage_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        with process:
            assert process.stdout is not None
            process.stdout.readline()  # the first progress: it has begun
            during = p99(connection, paths, ground.scale.slow_seconds)
            process.kill()
    return rest, during


NAMES = ("gc-time", "gc-memory", "gc-removals", "gc-rest", "gc-p99", "gc-manifest")
TRIALS = (Trial(NAMES, collecting),)
NAMES_IN_A_BUCKET = ("gc-bucket-time", "gc-bucket-memory", "gc-bucket-removals")
IN_A_BUCKET = (Trial(NAMES_IN_A_BUCKET, collecting_in_a_bucket),)
