"""What the pages tell people to type is typed, and does what they say."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.api.server import Server, environment
from tests.architecture.pages import Page, page
from tests.e2e.docker import Docker
from tests.e2e.images import NewImage
from tests.e2e.processes import run
from tests.e2e.wire import Wire

PROGRAM = shlex.join([sys.executable, "-m", "registry.cli"])
IMAGE = "alpine:3.20"


@dataclass(frozen=True)
class Reader:
    """Somebody who types what a page says, with a server of their own in place of the one on port 5000."""

    server: Server
    docker: Docker

    def follow(self, one: Page) -> int:
        """Type every line of the page's blocks; how many there were."""
        lines = [line for block in one.blocks("sh") for line in block.splitlines()]
        typed = [line for line in lines if line.strip() and not line.startswith("make ")]
        for line in typed:
            self.type(line)
        return len(typed)

    def type(self, line: str) -> None:
        """Type one line; what stands behind `#` in JSON is what it must print."""
        line, _, comment = line.partition("  #")
        words = shlex.split(line.replace("127.0.0.1:5000", self.server.registry.host_port))
        match words:
            case ["docker", "pull", image] if image == IMAGE:
                self.docker.inspect(image)  # it comes from elsewhere, and is here already
            case ["docker", *rest]:
                self.docker(*rest)
            case ["curl", url]:
                answer = Wire(self.server.registry.host_port).ask("GET", "/" + url.split("/", 3)[3])
                assert answer.status == 200
                if comment.strip().startswith("{"):
                    assert answer.json() == json.loads(comment)
            case [".venv/bin/moorage", *rest]:
                shell(
                    f"{PROGRAM} {shlex.join(str(self.server.root) if one == 'data' else one for one in rest)}"
                )
            case _:
                raise AssertionError(f"nobody knows how to type {line}")


def shell(script: str) -> str:
    """Run a script as a person would, with the program at hand as `moorage`."""
    return run(["sh", "-ec", f'moorage() {{ {PROGRAM} "$@"; }}\n{script}'], environ=environment()).out


@pytest.fixture
def server(scratch: Path) -> Iterator[Server]:
    """A server without rules on loopback, as `make serve` starts it."""
    server = Server(scratch / "data", scratch)
    yield server
    server.stop()


@pytest.mark.parametrize("name", ["README.md", "docs/quickstart.md"])
def test_the_first_steps(name: str, server: Server, docker: Docker, new_image: NewImage) -> None:
    docker.load(new_image(), IMAGE)
    assert Reader(server, docker).follow(page(name)) >= 10
    assert Wire(server.registry.host_port).status("/v2/demo/alpine/manifests/3.20") == 404


def test_a_backup_is_a_registry(server: Server, scratch: Path, new_image: NewImage) -> None:
    wire = Wire(server.registry.host_port)
    wire.push("demo/alpine", new_image(), "1")
    [block] = [block for block in page("docs/running.md").blocks("sh") if "cp -a" in block]
    copy = scratch / "copy"
    copy.mkdir()
    # Nobody pushes here, so there is nobody to wait for.
    shell(
        block.replace("/var/lib/moorage", str(server.root))
        .replace("/backup/moorage", str(copy))
        .replace("sleep 10\n", "")
    )
    second = Server(copy, scratch)
    try:
        there = Wire(second.registry.host_port)
        assert there.whole("demo/alpine", "1") == wire.whole("demo/alpine", "1")
        for one in (wire, there):
            assert one.ask("POST", "/v2/more/blobs/uploads/").status == 202, "both take writes again"
    finally:
        second.stop()
