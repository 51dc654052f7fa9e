"""The servers that are measured, each on a directory of its own; each logs one line a request."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from registry import __version__
from tests.api.server import CHECKOUT, merged
from tests.api.server import configuration as moorage_configuration
from tests.api.server import environment as moorage_environment
from tests.bench.bucket import Place
from tests.bench.certificate import pair
from tests.bench.processor import family
from tests.bench.source import Source
from tests.e2e.distribution import configuration as distribution_configuration
from tests.e2e.distribution import environment as distribution_environment
from tests.e2e.processes import Daemon, accepts
from tests.equipment import catalogue

ANNOUNCED = re.compile(r"https?://(127\.0\.0\.1:[0-9]+)")
LISTENING_STATE = "0A"
NAMESPACE = "bench"  # that mirrors, below which all repositories of the bench are
NOWHERE = Path(os.devnull)
BARE = ("tests.bench.bare:app", "--port", "0", "--http", "httptools", "--loop", "asyncio", "--no-access-log")


class Contestant:
    """A server that runs, and where it listens; `root` is its storage, `source` what it mirrors, if any."""

    def __init__(
        self,
        folder: Path,
        command: Sequence[object],
        environ: Mapping[str, str],
        *,
        root: Path | None = None,
        log: Path = NOWHERE,
        tls: bool = False,
        source: Source | None = None,
    ) -> None:
        self.root = root or folder / "data"
        self.source = source
        self.tls = tls
        self.host_port = ""
        # Standard output has a line for each request; what else there is to say goes to the errors.
        quiet = ["sh", "-c", 'log=$1; shift; exec "$@" >"$log"', "sh", log, *command]
        self._daemon = Daemon(quiet, folder / "log", environ)
        self._daemon.wait_until(self._listens)

    @property
    def pid(self) -> int:
        """The process whose time counts, with all below it."""
        return self._daemon.pid

    @property
    def errors(self) -> str:
        """The end of what it wrote beside its log."""
        return self._daemon.tail()

    def stop(self) -> None:
        """End it."""
        self._daemon.stop()

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        self._daemon.kill()

    def _listens(self) -> bool:
        # Distribution, logging errors only, does not say which port the kernel gave it, nor does uvicorn.
        ports = listening_ports(self.pid)
        self.host_port = f"127.0.0.1:{ports[0]}" if ports else ""
        return bool(ports) and accepts("127.0.0.1", ports[0])


class Distribution(Contestant):
    """CNCF Distribution v3 with its cache of descriptors and its access log, without tracing."""

    def __init__(
        self,
        folder: Path,
        *,
        root: Path | None = None,
        log: Path = NOWHERE,
        tls: bool = False,
        bucket: Place | None = None,
        source: Source | None = None,
    ) -> None:
        folder.mkdir()
        settings = json.loads(distribution_configuration(root or folder / "data", delete=True))
        if bucket is not None:
            settings["storage"], root = bucket.distribution(), bucket.root
        # At any other level it writes a second line for each request, beside that of the access log.
        settings["log"] = {"level": "error", "accesslog": {"disabled": False}}
        # As its own container image has it: HEAD of a blob costs it less than half with it.
        settings["storage"]["cache"] = {"blobdescriptor": "inmemory"}
        if tls:
            settings["http"]["tls"] = pair(folder)
        if source is not None:
            settings["proxy"] = {"remoteurl": source.url}
        config = folder / "config.yml"
        config.write_text(json.dumps(settings))
        program = catalogue.program(catalogue.load()["distribution"])
        super().__init__(
            *(folder, [program, "serve", config], distribution_environment()),
            root=root,
            log=log,
            tls=tls,
            source=source,
        )


class Moorage(Contestant):
    """`moorage serve` as it comes, but for what `settings` say."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any] | None = None,
        *,
        root: Path | None = None,
        log: Path = NOWHERE,
        tls: bool = False,
        bucket: Place | None = None,
        source: Source | None = None,
    ) -> None:
        folder.mkdir()
        config = folder / "config.yaml"
        if bucket is not None:
            settings, root = merged(settings or {}, bucket.moorage(folder)), bucket.root
        safe = {"registry": {"tls": pair(folder)}} if tls else {}
        if source is not None:
            settings = merged(settings or {}, mirroring(source))
        config.write_text(
            json.dumps(moorage_configuration(root or folder / "data", merged(safe, settings or {})))
        )
        command = [sys.executable, "-m", "registry.cli", "serve", "--config", config]
        super().__init__(folder, command, moorage_environment(), root=root, log=log, tls=tls, source=source)

    def _listens(self) -> bool:
        found = ANNOUNCED.search(self._daemon.tail())
        self.host_port = found[1] if found else ""
        return found is not None


class Uvicorn(Contestant):
    """Our HTTP server alone, with an application that does nothing and writes no line."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        command = [sys.executable, "-m", "uvicorn", *BARE, "--log-level", "error"]
        super().__init__(folder, command, moorage_environment())


def mirroring(source: Source) -> dict[str, Any]:
    """The settings of one that mirrors, and asks for a tag again later than anything here lasts."""
    mirror = {"name": NAMESPACE, "upstreams": [{"url": source.url}], "fresh_for": "1h"}
    return {"mirrors": [mirror], "egress": {"allow": ["127.0.0.0/8"], "no_proxy": ["127.0.0.1"]}}


def listening_ports(pid: int) -> list[int]:
    """The TCP ports that a process or one below it listens on."""
    inodes = set()
    for one in family(pid):
        for descriptor in Path(f"/proc/{one}/fd").iterdir():
            # One that has been closed meanwhile was not the listener's.
            with suppress(FileNotFoundError):
                inodes.add(os.readlink(descriptor).removeprefix("socket:[").removesuffix("]"))
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [
        int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == LISTENING_STATE and row[9] in inodes
    ]


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
