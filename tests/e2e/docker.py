"""Docker: a daemon on a socket and data of its own, in one of the tests' mount namespaces, and its client."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import Client, bare
from tests.e2e.images import Image, write_archive
from tests.e2e.mounts import MountSpace
from tests.e2e.processes import Daemon, Result
from tests.equipment.absence import require


@dataclass(frozen=True, slots=True)
class Docker(Client):
    """The docker command, bound to one daemon."""

    def load(self, image: Image, reference: str) -> None:
        """Bring an image into the daemon without a registry."""
        archive = write_archive(image, self.folder / f"{os.urandom(4).hex()}.tar", reference)
        self("load", "--input", archive)
        archive.unlink()

    def push(self, reference: str) -> str:
        """Push, and return the digest that the daemon says it pushed."""
        found = re.search(r"digest: (sha256:[0-9a-f]{64})", self("push", reference).out)
        assert found, "docker push named no digest"
        return found[1]

    def plugin(self, program: Path, *arguments: object, code: int | None = 0) -> Result:
        """Run a command that a plugin provides; its name is the first argument."""
        place = Path(self.environ["DOCKER_CONFIG"]) / "cli-plugins" / f"docker-{arguments[0]}"
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.symlink_to(program)
        return self(*arguments, code=code)

    def inspect(self, reference: str) -> dict[str, Any]:
        """What the daemon knows of an image."""
        [found] = json.loads(self("image", "inspect", reference).out)
        assert isinstance(found, dict)
        return found


NO_NETWORK = ("--iptables=false", "--ip6tables=false", "--bridge=none")


def start(
    space: MountSpace,
    dockerd: Path,
    docker: Path,
    settings: Mapping[str, Any],
    network: Sequence[str] = NO_NETWORK,
) -> tuple[Daemon, Docker]:
    """Start a docker daemon that touches neither the network nor any other docker on the machine."""
    folder = space.folder / "dk"
    folder.mkdir()
    config = folder / "daemon.json"
    config.write_text(json.dumps(settings))
    socket = f"unix://{folder}/d.sock"
    command: list[str | Path] = [
        dockerd,
        f"--config-file={config}",
        *network,
        f"--data-root={folder}/data",
        f"--exec-root={folder}/exec",
        f"--pidfile={folder}/pid",
        f"--host={socket}",
    ]
    daemon = Daemon(space.enter(*command), folder / "log", bare(folder))
    client = Docker(
        tuple(space.enter(docker)), folder, {"DOCKER_HOST": socket, "DOCKER_CONFIG": str(folder / "client")}
    )
    daemon.wait_until(lambda: client("version", code=None).code == 0)
    return daemon, client


@contextmanager
def asking_first(docker: Docker, *mirrors: str) -> Iterator[None]:
    """Within it, the daemon asks these addresses before Docker Hub."""
    config = docker.folder / "daemon.json"
    before = config.read_text()

    def asked() -> list[str]:
        told = docker("info", "--format={{json .RegistryConfig.Mirrors}}").out
        return [one.rstrip("/") for one in json.loads(told) or []]

    def tell(text: str, wanted: Sequence[str]) -> None:
        config.write_text(text)
        os.kill(int((docker.folder / "pid").read_text()), signal.SIGHUP)
        deadline = time.monotonic() + 30
        while asked() != list(wanted):
            assert time.monotonic() < deadline, f"docker goes on asking {asked()}"

    tell(json.dumps({**json.loads(before), "registry-mirrors": mirrors}), mirrors)
    try:
        yield
    finally:
        # What a reload does not name stays as it was.
        tell(json.dumps({**json.loads(before), "registry-mirrors": []}), [])
        config.write_text(before)


@pytest.fixture(scope="session")
def docker(space: MountSpace) -> Iterator[Docker]:
    """Docker as Debian 12 has it: the classic image store."""
    programs = require("dockerd"), require("dockerd", "docker")
    daemon, client = start(space, *programs, {"storage-driver": "overlay2"})
    yield client
    daemon.stop()


@pytest.fixture(scope="session")
def docker26(debian13: MountSpace) -> Iterator[Docker]:
    """Docker as Debian 13 has it, with containerd's image store, BuildKit and buildx."""
    programs = Path("/usr/sbin/dockerd"), Path("/usr/bin/docker")
    daemon, client = start(debian13, *programs, {"features": {"containerd-snapshotter": True}})
    yield client
    daemon.stop()
