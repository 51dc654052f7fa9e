"""The servers that are measured, each on a directory of its own, quiet or logging as it does by default."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from registry import __version__
from tests.api.server import CHECKOUT
from tests.api.server import configuration as moorage_configuration
from tests.api.server import environment as moorage_environment
from tests.bench.processor import family
from tests.e2e.distribution import configuration as distribution_configuration
from tests.e2e.distribution import environment as distribution_environment
from tests.e2e.processes import Daemon, accepts
from tests.equipment import catalogue

ANNOUNCED = re.compile(r"http://(127\.0\.0\.1:[0-9]+)")
LISTENING_STATE = "0A"


class Contestant:
    """A server that runs, and where it listens."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.host_port = ""
        daemon.wait_until(self._listens)

    @property
    def pid(self) -> int:
        """The process whose time counts, with all below it."""
        return self._daemon.pid

    def stop(self) -> None:
        """End it."""
        self._daemon.stop()

    def _listens(self) -> bool:
        raise NotImplementedError


class Distribution(Contestant):
    """CNCF Distribution v3 with its cache of descriptors; no access log, errors only, no tracing."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        settings = json.loads(distribution_configuration(folder / "data", delete=True))
        settings["log"]["level"] = "error"
        # As its own container image has it: HEAD of a blob costs it less than half with it.
        settings["storage"]["cache"] = {"blobdescriptor": "inmemory"}
        config = folder / "config.yml"
        config.write_text(json.dumps(settings))
        program = catalogue.program(catalogue.load()["distribution"])
        super().__init__(Daemon([program, "serve", config], folder / "log", distribution_environment()))

    def _listens(self) -> bool:
        # At this level it does not say which port the kernel gave it.
        ports = listening_ports(self.pid)
        self.host_port = f"127.0.0.1:{ports[0]}" if ports else ""
        return bool(ports) and accepts("127.0.0.1", ports[0])


class Moorage(Contestant):
    """`moorage serve` as it comes, its log (one line a request) going to /dev/null."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        config = folder / "config.yaml"
        config.write_text(json.dumps(moorage_configuration(folder / "data", {})))
        serve = f'exec "{sys.executable}" -m registry.cli serve --config "{config}" >/dev/null'
        super().__init__(Daemon(["sh", "-c", serve], folder / "log", moorage_environment()))

    def _listens(self) -> bool:
        found = ANNOUNCED.search(self._daemon.tail())
        self.host_port = found[1] if found else ""
        return found is not None


def listening_ports(pid: int) -> list[int]:
    """The TCP ports that a process or one below it listens on."""
    inodes = set()
    for one in family(pid):
        for descriptor in Path(f"/proc/{one}/fd").iterdir():
            inodes.add(os.readlink(descriptor).removeprefix("socket:[").removesuffix("]"))
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [
        int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == LISTENING_STATE and row[9] in inodes
    ]


def file_system(folder: Path) -> str:
    """The kind of file system that a folder lies on."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    within = [mount for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    return max(within, key=lambda mount: len(mount[1]))[2]


def versions() -> dict[str, str]:
    """What was measured, and what it ran on."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True
    )
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    libraries = ("uvicorn", "starlette", "httptools")
    return {
        "Moorage": f"{__version__} {commit.stdout.strip()}".strip(),
        "Distribution": catalogue.load()["distribution"].version,
        "Python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in libraries},
        "Linux": platform.release(),
        "processors": f"{os.cpu_count()} of {model[1] if model else platform.machine()}",
    }
