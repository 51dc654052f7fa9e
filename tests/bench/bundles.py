"""What it takes to carry images across a gap, beside tools that copy them from one registry to another."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

from tests.api.server import configuration, environment
from tests.bench import tree
from tests.bench.commands import Spent, run
from tests.bench.content import Blob, config
from tests.bench.figures import Figure, Goal, Rounds, Unit
from tests.bench.processor import settled_nanoseconds
from tests.bench.race import rotated
from tests.bench.trials import Ground, Trial
from tests.bench.workloads import GIB
from tests.equipment import catalogue

IMAGES = 25
LAYERS = 4  # of each, so that one of all is a hundredth
ALIKE = 10
BLOBS = 3
MOORAGE = (sys.executable, "-m", "registry.cli", "bundle")
SETTINGS = {
    "bundles": {
        "export": {"streams": [{"name": "plant", "repositories": ["bench/**"]}]},
        "import": {"required_signatures": 0},
    }
}
TOOLS = ("skopeo", "crane")
WAYS = {"export": "from a registry into a folder", "import": "from there into an empty registry"}
MIB = Unit("MiB")


class Bundles:
    """The commands of one registry on a directory; what each took."""

    def __init__(self, root: Path) -> None:
        (root / "_moorage").mkdir(parents=True, exist_ok=True)
        self._config = root.with_suffix(".yaml")
        self._config.write_text(json.dumps(configuration(root, SETTINGS)))

    def export(self, folder: Path, *words: str) -> Spent:
        """Write a bundle of everything."""
        return self._run("export", "plant", "--unsigned", "--to", str(folder), *words)

    def take_in(self, folder: Path) -> Spent:
        """Import a bundle, which nobody needs to approve."""
        return self._run("import", str(folder))

    def _run(self, *words: str) -> Spent:
        command = [*MOORAGE, *words, "--config", self._config]
        return run(command, environment(), self._config.with_suffix(".log"))


class Crossings:
    """The same images carried across in each of the ways that there are."""

    def __init__(self, ground: Ground, near: Path) -> None:
        self._ground = ground
        self._root = near
        self._near = Bundles(near)
        self._numbers = count()
        self._policy = near.with_suffix(".json")
        self._policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))

    def moorage(self, folder: Path) -> dict[str, Spent]:
        """With a bundle."""
        taken = {"export": self._near.export(folder, "--full")}
        far = self._ground.folder / f"far-{next(self._numbers)}"
        taken["import"] = Bundles(far).take_in(folder)
        self._require_whole(far)
        return taken

    def skopeo(self, folder: Path) -> dict[str, Spent]:
        """With `skopeo sync` to a directory and back."""
        sync: list[object] = [catalogue.program(catalogue.load()["skopeo"]), "--policy", self._policy, "sync"]
        return self._through(
            lambda host: [
                *(*sync, "--src-tls-verify=false", "--src", "docker", "--dest", "dir"),
                *(f"{host}/{tree.IMAGES}", folder),
            ],
            lambda host: [
                *(*sync, "--dest-tls-verify=false", "--src", "dir", "--dest", "docker"),
                *(folder, f"{host}/bench"),
            ],
        )

    def crane(self, folder: Path) -> dict[str, Spent]:
        """With `crane pull` into an image layout, and `crane push` of all that is in it."""
        crane: list[object] = [catalogue.program(catalogue.load()["crane"]), "--insecure"]
        return self._through(
            lambda host: [
                *(*crane, "pull", "--format=oci"),
                *(f"{host}/{tree.IMAGES}:t{number}" for number in range(IMAGES)),
                folder,
            ],
            lambda host: [*crane, "push", "--index", folder, f"{host}/{tree.IMAGES}:all"],
        )

    def _through(
        self, out: Callable[[str], list[object]], back: Callable[[str], list[object]]
    ) -> dict[str, Spent]:
        """A tool and the servers that it asks: theirs is half of the work that a bundle is."""
        taken = {}
        for way, words, given in (("export", out, {"root": self._root}), ("import", back, {})):
            with self._ground.server("moorage", **given) as server:
                before = settled_nanoseconds(server.pid)
                spent = run(words(server.host_port), environment(), self._policy.with_suffix(".log"))
                served = (settled_nanoseconds(server.pid) - before) / 1e9
                taken[way] = Spent(spent.processor_seconds + served, spent.waited_seconds, spent.peak_mib)
            if way == "import":
                self._require_whole(server.root)
        return taken

    def _require_whole(self, far: Path) -> None:
        """See that all has come, and make room."""
        assert tree.data(far) >= tree.data(self._root), f"not all has come into {far}"
        shutil.rmtree(far)


def crossing(ground: Ground) -> list[Figure]:
    """The processor time that a GiB takes in each way, and how many go across in a second."""
    scale = ground.scale
    near = ground.folder / "near"
    tree.write_images(near, IMAGES, LAYERS, scale.bundle_bytes // (IMAGES * LAYERS))
    crossings = Crossings(ground, near)
    ways: Mapping[str, Callable[[Path], dict[str, Spent]]] = {
        "moorage": crossings.moorage,
        "skopeo": crossings.skopeo,
        "crane": crossings.crane,
    }
    taken: dict[str, list[dict[str, Spent]]] = {name: [] for name in ways}
    for number in range(scale.starts):
        for name in rotated(list(ways), number):
            folder = ground.folder / "carried"
            taken[name].append(ways[name](folder))
            shutil.rmtree(folder)
        ground.tell(f"bundles: {number + 1} of {scale.starts}")
    shutil.rmtree(near)
    gib = scale.bundle_bytes / GIB
    found = []
    for way, meaning in WAYS.items():
        for tool in TOOLS:
            sides = [[one[way] for one in taken[name]] for name in ("moorage", tool)]
            processor = Rounds(*(tuple(one.processor_seconds / gib for one in side) for side in sides))
            waited = Rounds(*(tuple(one.waited_seconds / gib for one in side) for side in sides))
            rate = Rounds(*(tuple(1024 * gib / one.waited_seconds for one in side) for side in sides))
            name = f"bundle-{way}-{tool}"
            found += [
                Figure(
                    *(name, f"{meaning}, beside {tool}", Unit("s / GiB")), *(processor, Goal(1.0), waited)
                ),
                Figure(f"{name}-rate", "how much a second", Unit("MiB / s"), rate),
            ]
    return found


def changed(ground: Ground) -> list[Figure]:
    """What a second bundle has beside what has changed since the first: a layer, and what names it."""
    layer_bytes = ground.scale.bundle_bytes // (IMAGES * LAYERS)
    near = ground.folder / "changing"
    _, _, *kept = tree.write_images(near, IMAGES, LAYERS, layer_bytes)
    bundles = Bundles(near)
    first, second = ground.folder / "first", ground.folder / "second"
    bundles.export(first, "--one-way")
    new = (config(), Blob.of(os.urandom(layer_bytes)))
    changed_bytes = tree.write_image(near, f"t{IMAGES - 1}", (*new, *kept))
    changed_bytes += sum(blob.size_bytes for blob in new)
    bundles.export(second, "--one-way")
    written_bytes = sum(path.stat().st_size for path in second.rglob("*") if path.is_file())
    for folder in (near, first, second):
        shutil.rmtree(folder)
    meaning = "bytes written for each that has changed, of a second export after 1 %"
    rounds = Rounds((written_bytes / changed_bytes,), (0,))
    return [Figure("bundle-change", meaning, Unit(""), rounds, Goal(1.05, of_ratio=False))]


def many(ground: Ground) -> list[Figure]:
    """The peaks of commands that carry many small images."""
    number = ground.scale.bundled
    found = []

    def peak(name: str, meaning: str, spent: Spent) -> None:
        ground.tell(f"{name}: {spent.waited_seconds:.0f} s")
        goal = Goal(200, of_ratio=False)
        found.append(Figure(name, meaning, MIB, Rounds((spent.peak_mib,), (0,)), goal))

    shared = f"{number} manifests, ten with the same {BLOBS} layers"
    near, folder, far = (ground.folder / name for name in ("many", "bundle", "far"))
    tree.write(near, number, layers=BLOBS, alike=ALIKE)
    tree.complete(near, number)
    peak("bundle-export-memory", f"peak of an export, {shared}", Bundles(near).export(folder))
    shutil.rmtree(near)
    peak("bundle-import-memory", "peak of the import", Bundles(far).take_in(folder))
    for one in (folder, far):
        shutil.rmtree(one)
    tree.write(near, number, layers=BLOBS)
    tree.complete(near, number)
    own = f"peak of an export, {number} manifests, each with {BLOBS} layers of its own"
    peak("bundle-export-memory-own", own, Bundles(near).export(folder))
    for one in (near, folder):
        shutil.rmtree(one)
    return found


CROSSING = [f"bundle-{way}-{tool}{end}" for way in WAYS for tool in TOOLS for end in ("", "-rate")]
TRIALS = (
    Trial(CROSSING, crossing),
    Trial(("bundle-change",), changed),
    Trial(("bundle-export-memory", "bundle-import-memory", "bundle-export-memory-own"), many),
)
