"""The kit for the first day: from a folder to a running registry, in a namespace without a network."""

from __future__ import annotations

import json
import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.server import Server
from tests.architecture.pages import Page
from tests.e2e.images import NewImage
from tests.e2e.processes import run
from tests.e2e.wire import Wire

ALONE = ["unshare", "--net"]
SERVES = """\
import fcntl, http.client, socket, struct, subprocess, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 0x41))
served = subprocess.Popen([sys.argv[1], "serve", "--root", sys.argv[2], "--listen", "127.0.0.1:5000"],
    stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True)
told = ""
while "listening" not in told and (line := served.stdout.readline()):
    told += line
asked = http.client.HTTPConnection("127.0.0.1", 5000, timeout=10)
asked.request("GET", "/v2/")
print(asked.getresponse().status, told if served.poll() else "")
served.terminate()
served.wait()
"""


@pytest.fixture
def near(scratch: Path) -> Iterator[Server]:
    """A registry that has an image of itself."""
    server = Server(scratch / "near", scratch)
    yield server
    server.stop()


def test_a_bare_machine_serves_from_the_kit(near: Server, new_image: NewImage, scratch: Path) -> None:
    image = new_image(random_bytes=1000)
    Wire(near.registry.host_port).push("team/moorage", image, "1")
    kit = scratch / "kit"
    near.command("bundle", "kit", "--to", str(kit), "--image", "team/moorage:1")
    run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], folder=kit)
    environ = {**os.environ, "PYTHON": sys.executable, "PIP_CONFIG_FILE": os.devnull}
    run([*ALONE, "sh", kit / "install.sh", scratch / "opt"], environ=environ)
    moorage = scratch / "opt/.venv/bin/moorage"
    assert run([moorage, "--version"]).out
    told = run([*ALONE, sys.executable, "-c", SERVES, moorage, scratch / "data"], environ=environ)
    assert told.out.split() == ["200"]
    run([sys.executable, kit / "verify_bundle.py", "--help"])
    for folder in (kit, scratch / "opt"):
        assert dead_links(folder) == []
    again = scratch / "again"
    run([*ALONE, moorage, "bundle", "kit", "--to", again, "--root", scratch / "data"], environ=environ)
    assert files_of(again) == files_of(kit) - {"image.tar"}
    names = {one["name"] for one in json.loads((kit / "sbom.cdx.json").read_text())["components"]}
    assert {"moorage", "starlette", "uvicorn"} <= names
    with tarfile.open(kit / "image.tar") as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        [listed] = json.loads(manifest.read())
        assert listed["RepoTags"] == ["team/moorage:1"]
        for layer in (*listed["Layers"], listed["Config"]):
            assert archive.getmember(layer).size


def dead_links(folder: Path) -> list[str]:
    """The links of the pages in a folder that lead nowhere in it."""
    pages = [Page(path) for path in folder.rglob("*.md") if ".venv" not in path.parts]
    assert len(pages) > 40
    dead = []
    for page in pages:
        for link in page.links():
            target = (page.path.parent / link.partition("#")[0]).resolve()
            if ":" not in link and not (target.exists() and target.is_relative_to(folder.resolve())):
                dead.append(f"{page.path.relative_to(folder)}: {link}")
    return dead


def files_of(folder: Path) -> set[str]:
    """The paths of all files in a folder."""
    return {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}
