"""Bundles carried between real registries that share nothing but a folder, by what people type."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.api.server import Server, environment, moorage
from tests.e2e.buckets import serve
from tests.e2e.client import Client
from tests.e2e.containers import Clients
from tests.e2e.distribution import Distribution
from tests.e2e.engines import Engine
from tests.e2e.images import Image, NewImage, index
from tests.e2e.processes import run
from tests.e2e.wire import Wire
from tests.equipment.absence import require
from tests.storage.buckets import Bucket, client_of

STREAM = {"name": "plant", "repositories": ["team/**"]}
VERIFIER = Path(__file__).parents[2] / "registry/bundles/verify_bundle.py"


@dataclass(frozen=True)
class Sides:
    """A near registry on a disk and a far one in a bucket, a key, and a folder between them."""

    near: Server
    far: Server
    public: Path
    folder: Path

    def export(self, name: str, *words: str) -> Path:
        """Write a bundle."""
        path = self.folder / name
        self.near.command("bundle", "export", "plant", "--to", str(path), *words)
        return path

    def take_in(self, *words: str | Path, code: int = 0) -> Any:
        """Import one."""
        return json.loads(self.far.command("bundle", "import", "--json", *map(str, words), code=code).out)

    @property
    def wires(self) -> tuple[Wire, Wire]:
        """As clients see them."""
        return Wire(self.near.registry.host_port), Wire(self.far.registry.host_port)


@pytest.fixture
def sides(engine: Engine, scratch: Path) -> Iterator[Sides]:
    """New ones."""
    key = json.loads(moorage("bundle", "key", "new", "--to", str(scratch), "--json").out)
    near, far = scratch / "near", scratch / "far"
    far.mkdir()
    exports = {"source": "near.example", "streams": [STREAM], "signing_key_file": key["private"]}
    started = [Server(near, scratch, {"bundles": {"export": exports}})]
    bucket = Bucket(client_of(engine.endpoint), f"registries/far-{os.urandom(4).hex()}")
    started.append(serve(bucket, far, {"bundles": {"import": {"trusted_keys": [key["public"]]}}}))
    yield Sides(started[0], started[1], Path(key["public"]), scratch)
    for server in started:
        server.stop()


def test_a_first_and_a_second_crossing_and_onward(sides: Sides, new_image: NewImage, scratch: Path) -> None:
    near, far = sides.wires
    both = index(*(new_image(random_bytes=1000, architecture=name) for name in ("amd64", "arm64")))
    near.push("team/app", both, "1")
    near.push("team/tool", first := new_image(), "latest")
    near.push("other/app", new_image(random_bytes=10), "1")

    bundle = sides.export("first")
    moorage("bundle", "verify", str(bundle), "--key", str(sides.public))
    run([sys.executable, str(VERIFIER), "--key", str(sides.public), str(bundle)])
    run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], folder=bundle)
    imported = sides.take_in(bundle)
    assert imported["state"] == "approved" and imported["moved"] == 2
    assert far.whole("team/app", "1") == near.whole("team/app", "1")
    assert far.manifest("team/tool", "latest").digest == first.digest
    assert far.status("/v2/other/app/manifests/1") == 404

    code = next(line[5:] for line in imported["receipt"].splitlines() if line.startswith("code "))
    sides.near.command("bundle", "acknowledge", code.lower().replace("-", " "))
    near.push("team/tool", second := new_image(random_bytes=2000), "latest")
    bundle = sides.export("second")
    names = {path.name for path in (bundle / "blobs/sha256").iterdir()}
    assert names == {content.digest[7:] for content in second.contents} - {
        content.digest[7:] for content in first.contents
    } | {second.manifest.digest[7:]}
    assert sides.take_in(bundle)["moved"] == 1
    assert far.whole("team/tool", "latest") == {content.digest for content in second.contents}

    # What the far side had before comes back, and goes again.
    undone = sides.far.command("bundle", "undo", imported_id(sides, 2), "--json")
    assert json.loads(undone.out)["moved"] == 1
    assert far.manifest("team/tool", "latest").digest == first.digest

    onward = scratch / "onward"
    sides.far.command(
        *("bundle", "export", "next", "--image", "team/app:1", "--unsigned", "--to", str(onward))
    )
    head = json.loads((onward / "bundle.json").read_text())
    assert [(one["source"], one["stream"]) for one in head["provenance"]] == [("near.example", "plant")]


def imported_id(sides: Sides, number: int) -> str:
    """The id of the bundle with a number that has come."""
    shown = json.loads(sides.far.command("bundle", "list", "--json").out)["bundles"]
    return str(next(one["id"] for one in shown if one["number"] == number))


def test_what_is_missing_is_asked_for_and_comes(sides: Sides, new_image: NewImage) -> None:
    near, far = sides.wires
    near.push("team/app", new_image(random_bytes=1000), "1")
    lost = json.loads(
        sides.near.command(
            *("bundle", "export", "plant", "--to", str(sides.folder / "lost"), "--one-way", "--json")
        ).out
    )
    near.push("team/app", new_image(random_bytes=1000), "2")
    bundle = sides.export("second", "--one-way")
    assert json.loads((bundle / "bundle.json").read_text())["parent"] == lost["id"]
    missing = sides.folder / "missing.txt"
    told = sides.take_in(bundle, "--missing-to", missing, code=1)
    assert told["state"] == "missing" and told["missing"]
    assert far.ask("GET", "/v2/_catalog").json()["repositories"] == []
    supplement = sides.export("supplement", "--missing", str(missing))
    taken = sides.take_in(supplement)
    assert taken["state"] == "approved"
    for tag in ("1", "2"):
        assert far.whole("team/app", tag) == near.whole("team/app", tag)
    # Its receipt tells that all of what it supplements is there.
    code = next(line[5:] for line in taken["receipt"].splitlines() if line.startswith("code "))
    acknowledged = json.loads(sides.near.command("bundle", "acknowledge", code, "--json").out)
    assert acknowledged["id"] == json.loads((bundle / "bundle.json").read_text())["id"]
    again = sides.export("again", "--again", lost["id"])
    for path in (sides.folder / "lost").rglob("*"):
        if path.is_file() and ".sig" not in path.name:
            assert (again / path.relative_to(sides.folder / "lost")).read_bytes() == path.read_bytes()


def test_an_import_killed_at_any_time_goes_on(sides: Sides, new_image: NewImage) -> None:
    near, far = sides.wires
    for number in range(3):
        near.push("team/app", new_image(random_bytes=3 << 20), f"{number}")
    bundle = sides.export("bundle")
    command = [sys.executable, "-m", "registry.cli", "bundle", "import", "--json", str(bundle)]
    command += ["--config", str(sides.far.config)]
    killed = 0
    for count in range(1, 12):
        with subprocess.Popen(
            command, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            # After so many lines of progress, wherever that is.
            for _ in range(count):
                if not process.stderr.readline():
                    break
            else:
                process.send_signal(signal.SIGKILL)
                killed += 1
        tags = far.ask("GET", "/v2/team/app/tags/list")
        for tag in tags.json()["tags"] if tags.status == 200 else ():
            far.whole("team/app", tag)
        if process.returncode == 0:
            break
    assert killed
    sides.take_in(bundle)
    for number in range(3):
        assert far.whole("team/app", f"{number}") == near.whole("team/app", f"{number}")


def test_a_full_bundle_is_read_by_others(
    sides: Sides,
    new_image: NewImage,
    containers: Clients,
    crane: Client,
    distribution: Callable[..., Distribution],
    scratch: Path,
) -> None:
    near, _ = sides.wires
    first = new_image(random_bytes=1000)
    near.push("team/app", first, "1")
    bundle = sides.export("full")
    foreign = Wire(distribution(3, scratch / "foreign").host_port)
    copied(containers, bundle, "team/app:1", foreign, first, "skopeo")
    here = Client((str(require("oras")),), scratch)
    here(
        *("cp", "--from-oci-layout-path", bundle, "team/app:1", "--to-plain-http"),
        f"{foreign.host_port}/oras/tagged:1",
    )
    assert foreign.manifest("oras/tagged", "1").digest == first.digest
    oras = Client(("env", f"--chdir={bundle}", str(require("oras"))), scratch)
    oras("cp", "--from-oci-layout", f".@{first.digest}", "--to-plain-http", f"{foreign.host_port}/oras/app:1")
    assert foreign.whole("oras/app", "1") == {content.digest for content in first.contents}
    crane("push", bundle, f"{foreign.host_port}/crane/app:1")
    assert foreign.whole("crane/app", "1") >= {content.digest for content in first.contents}

    # What builds on it goes to where that is.
    sides.near.command("bundle", "acknowledge", code_of(sides, bundle))
    near.push("team/app", second := new_image(random_bytes=500), "2")
    more = sides.export("more")
    copied(containers, more, "team/app:2", foreign, second, "skopeo")

    # crane takes all of it, by its index.
    both = sides.export("both", "--full")
    crane("push", both, f"{foreign.host_port}/crane/both:1", "--index")
    for image in (first, second):
        assert foreign.status(f"/v2/crane/both/manifests/{image.digest}") == 200


def copied(clients: Clients, bundle: Path, name: str, foreign: Wire, image: Image, repository: str) -> None:
    """Have skopeo copy an image of a bundle."""
    skopeo = clients("skopeo")
    place = f"docker://{foreign.host_port}/{repository}/app:copied"
    skopeo("copy", "--dest-tls-verify=false", f"oci:{bundle}:{name}", place)
    assert foreign.whole(f"{repository}/app", "copied") == {content.digest for content in image.contents}


def code_of(sides: Sides, bundle: Path) -> str:
    """The code of a bundle's receipt."""
    receipt = sides.folder / f"{bundle.name}.receipt"
    sides.take_in(bundle, "--receipt-to", receipt)
    return next(line[5:] for line in receipt.read_text().splitlines() if line.startswith("code "))


def test_from_any_registry(
    sides: Sides, new_image: NewImage, distribution: Callable[..., Distribution], scratch: Path
) -> None:
    foreign = Wire(distribution(2, scratch / "source").host_port)
    foreign.push("some/app", image := new_image(random_bytes=1000), "7")
    settings = {"egress": {"allow": ["127.0.0.1/32"]}}
    (scratch / "empty").mkdir()
    (scratch / "from.json").write_text(json.dumps({"storage": {"root": str(scratch / "empty")}, **settings}))
    words = ("--from", f"http://{foreign.host_port}", "--image", "some/app:7", "--unsigned")
    moorage(
        *("bundle", "export", "images", *words, "--to", str(scratch / "images")),
        *("--config", str(scratch / "from.json")),
    )
    blobs = {path.name for path in (scratch / "images/blobs/sha256").iterdir()}
    assert blobs == {content.digest[7:] for content in image.contents}


def test_a_drop_folder_takes_in_what_is_whole(new_image: NewImage, scratch: Path) -> None:
    key = json.loads(moorage("bundle", "key", "new", "--to", str(scratch), "--json").out)
    diode, receipts = scratch / "diode", scratch / "receipts"
    diode.mkdir()
    stream = {**STREAM, "one_way": True, "interval": "1s"}
    exports = {"streams": [stream], "signing_key_file": key["private"], "dir": str(diode)}
    imports = {"trusted_keys": [key["public"]], "dir": str(diode), "receipts_dir": str(receipts)}
    near = Server(scratch / "near", scratch, {"bundles": {"export": exports}})
    try:
        wire = Wire(near.registry.host_port)
        wire.push("team/app", image := new_image(random_bytes=1000), "1")
    finally:
        near.stop()
    # At its start it looks at once whether one is due.
    near = Server(scratch / "near", scratch, {"bundles": {"export": exports}})
    try:
        near.wait_until(lambda: bool(near.events("bundle.exported")))
    finally:
        near.stop()
    far = Server(scratch / "far", scratch, {"bundles": {"import": imports}})
    try:
        far.wait_until(lambda: bool(far.events("bundle.imported")))
        far_wire = Wire(far.registry.host_port)
        assert far_wire.whole("team/app", "1") == {content.digest for content in image.contents}
        assert [path.name.endswith(".receipt.txt") for path in receipts.iterdir()] == [True]
    finally:
        far.stop()
