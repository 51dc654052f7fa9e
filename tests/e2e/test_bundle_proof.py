"""Images of all kinds carried from a disk to a bucket and back: rounds of changes, losses and cleaning."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.api.server import Server, environment, moorage
from tests.e2e.buckets import serve
from tests.e2e.collecting import collect
from tests.e2e.engines import Engine
from tests.e2e.images import CONFIG, IMAGE, INDEX, LAYER, Content, document
from tests.e2e.processes import Result, run
from tests.e2e.wire import MANIFEST_TYPES, Wire
from tests.soak import is_soak
from tests.storage.buckets import Bucket, client_of
from tests.storage.disks import Mount, mount

__all__ = ["mount"]

SIGNED = ("stable", "b0", "b1")
CHART = "team/charts/plant"
EMPTY = Content("application/vnd.oci.empty.v1+json", b"{}")
SIGNATURE, SBOM = "application/vnd.dev.sigstore.bundle.v0.3+json", "application/spdx+json"


@dataclass(frozen=True)
class Scale:
    """How much: tags in each repository beside one for two platforms, and rounds."""

    repositories: int
    tags: int
    rounds: int

    @property
    def upkeep(self) -> dict[str, Any]:
        """What both sides are told: of what is built, the newest stays."""
        builds = {
            "name": "builds",
            "repositories": ["team/**"],
            "tags": ["b*"],
            "newest_pushed": self.tags - 1,
        }
        retention = {"enforce": True, "max_delete_percent": 100, "rules": [builds]}
        return {"retention": retention, "gc": {"enabled": False}, "delete": {"enabled": True}}


SMALL, LARGE = Scale(2, 5, 1), Scale(10, 18, 10)  # 14 images, and 200
SCALES = [pytest.param(SMALL, id="small"), *([pytest.param(LARGE, id="large")] if is_soak() else [])]


@dataclass(frozen=True)
class Made:
    """A manifest with what is to be pushed before it."""

    manifest: Content
    before: tuple[Content, ...] = ()


def artifact(config: Content, layers: Sequence[Content], **more: Any) -> Made:
    """An image, or whatever else looks like one."""
    fields = {
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": config.descriptor(),
        "layers": [layer.descriptor() for layer in layers],
    }
    return Made(Content(IMAGE, document({**fields, **more})), (*layers, config))


def referring(to: Content, kind: str) -> Made:
    """A signature or an SBOM of a manifest."""
    layer = Content(kind, os.urandom(60))
    return artifact(EMPTY, [layer], artifactType=kind, subject=to.descriptor())


@dataclass
class Near:
    """The side where images are made."""

    wire: Wire
    chance: random.Random
    bases: list[Content] = field(default_factory=lambda: [Content(LAYER, os.urandom(4000)) for _ in range(5)])

    def image(self, architecture: str = "amd64") -> Made:
        """One that builds on layers of others."""
        config = Content(CONFIG, document({"architecture": architecture, "os": "linux"}))
        layers = [
            *self.chance.sample(self.bases, 2),
            Content(LAYER, os.urandom(self.chance.randint(100, 2000))),
        ]
        return artifact(config, layers)

    def index(self) -> Made:
        """One for two platforms."""
        images = [self.image(architecture) for architecture in ("amd64", "arm64")]
        manifests = [
            one.manifest.descriptor(platform={"os": "linux", "architecture": architecture})
            for one, architecture in zip(images, ("amd64", "arm64"), strict=True)
        ]
        fields = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
        before = (content for one in images for content in (*one.before, one.manifest))
        return Made(Content(INDEX, document(fields)), tuple(before))

    def push(self, repository: str, made: Made, tag: str) -> None:
        """Push it; some are signed, and have an SBOM."""
        self._put(repository, made, tag)
        for kind in (SIGNATURE, SBOM) if tag in SIGNED else ():
            self._put(repository, referring(made.manifest, kind), None)

    def push_chart(self, version: str) -> None:
        """Push a chart as helm does."""
        config = Content("application/vnd.cncf.helm.config.v1+json", document({"version": version}))
        layer = Content("application/vnd.cncf.helm.chart.content.v1.tar+gzip", os.urandom(500))
        self._put(CHART, artifact(config, [layer]), version)

    def _put(self, repository: str, made: Made, tag: str | None) -> None:
        for one in dict.fromkeys((*made.before, made.manifest)):
            if one.media_type in MANIFEST_TYPES:
                reference = tag if tag and one is made.manifest else one.digest
                method, path = "PUT", f"/v2/{repository}/manifests/{reference}"
            else:
                method, path = "POST", f"/v2/{repository}/blobs/uploads/?digest={one.digest}"
            answer = self.wire.ask(method, path, {"Content-Type": one.media_type}, one.data)
            assert answer.status == 201, answer

    def change(self, number: int) -> None:
        """What a week brings: images, some of them moved, some gone, and a chart."""
        for name in self.chance.sample(names(self.wire, "team/app"), 2):
            gone = self.chance.choice([tag for tag in self.wire.tags(name) if tag.startswith("b")])
            assert self.wire.status(f"/v2/{name}/manifests/{gone}", "DELETE") == 202
            self.push(name, self.image(), f"b1{number:02}")
            self.push(name, self.image(), "b0")
        self.push_chart(f"1.{number}.0")


def at_once(do: Any, items: Sequence[Any]) -> list[Any]:
    """Do something for each, some at a time."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(do, items))


def names(wire: Wire, prefix: str) -> list[str]:
    """The repositories of a registry."""
    found: list[str] = wire.ask("GET", "/v2/_catalog?n=1000").json()["repositories"]
    return [name for name in found if name.startswith(prefix)]


def held(wire: Wire, prefix: str) -> dict[str, Any]:
    """All that tags below a prefix lead to, read to its last byte; names without the prefix."""

    def of(name: str) -> dict[str, Any]:
        found = {}
        for tag in wire.tags(name):
            digest = wire.manifest(name, tag).digest
            referrers = {one["digest"]: one["artifactType"] for one in wire.referrers(name, digest)}
            whole = [wire.whole(name, one) for one in (digest, *referrers)]
            found[f"{name.removeprefix(prefix)}:{tag}"] = digest, referrers, whole
        return found

    return {key: value for one in at_once(of, names(wire, prefix)) for key, value in one.items()}


@dataclass
class Crossing:
    """One way over the gap, by what people type."""

    stream: str
    source: Server
    target: Server
    folder: Path
    words: tuple[str, ...] = ()
    count: int = 0
    supplements: int = 0

    def go(self, *, keep_receipt: bool = True) -> None:
        """Carry a bundle, what it lacks, and the receipt back."""
        told = self._take_in(path := self._written())
        if told["state"] == "missing":
            self.supplements += 1
            told = self._take_in(path := self._written("--missing", f"{path}.missing"))
        assert told["state"] == "approved" and not told["left"], told
        if keep_receipt:
            self.source.command("bundle", "acknowledge", f"{path}.receipt")

    def lose(self) -> None:
        """Write a bundle that nobody sees again."""
        shutil.rmtree(self._written())

    def _written(self, *words: str) -> Path:
        self.count += 1
        path = self.folder / f"{self.stream}-{self.count}"
        command(self.source, "bundle", "export", self.stream, "--to", str(path), *words)
        return path

    def _take_in(self, path: Path) -> dict[str, Any]:
        files = ("--missing-to", f"{path}.missing", "--receipt-to", f"{path}.receipt")
        words = ("bundle", "import", str(path), "--json", "--delete", *files, *self.words)
        return dict(json.loads(command(self.target, *words, code=None).out))


def command(server: Server, *words: str, code: int | None = 0) -> Result:
    """Run a command that may take a while."""
    program = [sys.executable, "-m", "registry.cli", *words, "--config", str(server.config)]
    return run(program, environ=environment(), code=code, deadline_seconds=3600)


@pytest.fixture
def crossings(engine: Engine, scratch: Path, scale: Scale) -> Iterator[tuple[Crossing, Crossing]]:
    """There, from a disk to a bucket, and back."""
    for name in ("gap", "near", "far"):
        (scratch / name).mkdir()
    keys = {}
    for name in ("near", "far"):
        told = moorage("bundle", "key", "new", "--to", str(scratch / name), "--json").out
        keys[name] = json.loads(told)

    def settings(name: str, other: str, stream: str) -> dict[str, Any]:
        exports = {
            "source": f"{name}.example",
            "signing_key_file": keys[name]["private"],
            "streams": [{"name": stream, "repositories": ["team/**"]}],
        }
        imports = {"trusted_keys": [keys[other]["public"]]}
        return {**scale.upkeep, "bundles": {"export": exports, "import": imports}}

    near = Server(scratch / "near/root", scratch / "near", settings("near", "far", "plant"))
    bucket = Bucket(client_of(engine.endpoint), f"registries/far-{os.urandom(4).hex()}")
    far = serve(bucket, scratch / "far", settings("far", "near", "returns"))
    gap = scratch / "gap"
    yield Crossing("plant", near, far, gap), Crossing("returns", far, near, gap, ("--map", "team/=back/"))
    for server in (near, far):
        server.stop()


def clean(server: Server) -> None:
    """Retention, and a collection that waits for nobody."""
    command(server, "retention", "run", "--yes")
    asyncio.run(collect(json.loads(server.config.read_text()), "tester"))


@pytest.mark.timeout(0)
@pytest.mark.soak
@pytest.mark.parametrize("scale", SCALES)
def test_what_was_selected_is_the_same_on_all_sides(
    crossings: tuple[Crossing, Crossing], scale: Scale
) -> None:
    there, back = crossings
    wires = [Wire(one.registry.host_port) for one in (there.source, there.target)]
    near = Near(wires[0], random.Random(9))

    def fill(number: int) -> None:
        name = f"team/app-{number:02}"
        for tag in range(scale.tags):
            near.push(name, near.image(), f"b{tag}")
        near.push(name, near.index(), "stable")

    at_once(fill, range(scale.repositories))
    near.push_chart("1.0.0")
    for number in range(scale.rounds):
        there.go(keep_receipt=number != 1)
        back.go()
        near.change(number)
        there.lose()
        # Somebody behind the gap deletes what the near side believes to be there.
        stable = wires[1].manifest("team/app-00", "stable").digest
        assert wires[1].status(f"/v2/team/app-00/manifests/{stable}", "DELETE") == 202
        for server in (there.source, there.target):
            clean(server)
    there.go()
    back.go()
    assert there.supplements == scale.rounds
    selected = held(wires[0], "team/")
    kinds = {kind for one in selected.values() for kind in one[1].values()}
    assert kinds == {SIGNATURE, SBOM} and f"{CHART.removeprefix('team/')}:1.0.0" in selected
    assert len(selected) > scale.repositories * (scale.tags - 1)
    assert held(wires[1], "team/") == selected
    assert held(wires[0], "back/") == selected
    what_is_told(there)


def what_is_told(crossing: Crossing) -> None:
    """Who signed a bundle that was written, what it is about, and that the first one is let go."""
    bundles = json.loads(crossing.source.command("bundle", "list", "--json").out)["bundles"]
    written = sorted((one["number"], one["id"]) for one in bundles if one["direction"] == "out")
    last = ("bundle", "show", written[-1][1])
    (signer,) = json.loads(crossing.source.command(*last, "--json").out)["signed_by"]
    said = " ".join(crossing.source.command(*last).out.split())
    assert signer in said and "selection: referrers yes; repositories team/**; tags *" in said
    again = (
        "bundle",
        "export",
        crossing.stream,
        "--again",
        written[0][1],
        "--to",
        f"{crossing.folder}/again",
    )
    assert "is not kept any more" in crossing.source.command(*again, code=1).err


def test_a_disk_that_is_full_half_way(scratch: Path, mount: Mount) -> None:
    key = json.loads(moorage("bundle", "key", "new", "--to", str(scratch), "--json").out)
    root = mount("far", 4 << 20)
    exports = {"bundles": {"export": {"signing_key_file": key["private"]}}}
    source = Server(scratch / "near", scratch, exports)
    target = Server(root, scratch, {"bundles": {"import": {"trusted_keys": [key["public"]]}}})
    near, far = (Wire(one.registry.host_port) for one in (source, target))
    layers = [Content(LAYER, os.urandom(1 << 20)) for _ in range(6)]
    made = artifact(Content(CONFIG, b"{}"), layers)
    Near(near, random.Random(9)).push("team/app", made, "1")
    path = str(scratch / "bundle")
    source.command("bundle", "export", "images", "--image", "team/app:1", "--to", path)
    refused = target.command("bundle", "import", path, code=1)
    assert (
        "the store is full" in refused.err and "make room (`moorage gc run`, or a larger disk)" in refused.err
    )
    assert names(far, "") == []
    run(["mount", "-o", "remount,size=64m", root])
    target.command("bundle", "import", path)
    assert far.whole("team/app", "1") == near.whole("team/app", "1")
    for server in (source, target):
        server.stop()
