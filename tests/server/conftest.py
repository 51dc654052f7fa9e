"""Starts the toy application in a process of its own, and looks at it from outside."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

import pytest

from tests.e2e.processes import log_lines

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 60.0

T = TypeVar("T")


def until(probe: Callable[[], T], what: str) -> T:
    """The first true answer of the probe; fails when none comes in time."""
    end = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if found := probe():
                return found
        time.sleep(0.01)
    raise AssertionError(f"waited {DEADLINE_SECONDS:.0f} s in vain: {what}")


def running(pid: int) -> bool:
    """Whether the process lives; one that waits to be buried does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def pid(self) -> int:
        return int(self.body.split()[1])


@dataclass
class Server:
    """A running toy."""

    process: subprocess.Popen[bytes]
    directory: Path
    urls: dict[str, str] = field(default_factory=dict)
    modules: list[str] = field(default_factory=list)

    def connect(
        self, listener: str = "registry", tls: ssl.SSLContext | None = None
    ) -> http.client.HTTPConnection:
        place = urlsplit(self.urls[listener])
        if tls is None:
            return http.client.HTTPConnection(place.netloc, timeout=DEADLINE_SECONDS)
        return http.client.HTTPSConnection(place.netloc, timeout=DEADLINE_SECONDS, context=tls)

    def get(self, path: str, listener: str = "registry", tls: ssl.SSLContext | None = None) -> Answer:
        with contextlib.closing(self.connect(listener, tls)) as connection:
            return ask(connection, path)

    @property
    def journal(self) -> list[str]:
        file = self.directory / "journal"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def log(self) -> list[dict[str, Any]]:
        return log_lines((self.directory / "log").read_text())

    @property
    def workers(self) -> list[int]:
        """The process ids of all workers so far, the dead ones too."""
        return [line["pid"] for line in self.events("worker.started")]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.log if line["event"] == name]

    def wait_for(self, note: str) -> None:
        until(lambda: note in self.journal, f"{note!r} in the journal")

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_SECONDS)


def ask(connection: http.client.HTTPConnection, path: str) -> Answer:
    connection.request("GET", path)
    return read(connection)


def read(connection: http.client.HTTPConnection) -> Answer:
    response = connection.getresponse()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


class Start:
    """Starts toys with settings laid over the defaults for tests: any free port, loopback."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started: list[subprocess.Popen[bytes]] = []

    def __call__(
        self,
        *,
        prepare: str | None = None,
        wait: bool = True,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        **settings: Any,
    ) -> Server:
        directory = self._directory / f"server{len(self._started)}"
        directory.mkdir()
        (directory / "tmp").mkdir()
        if prepare:
            (directory / prepare).touch()
        merged = {"registry": {"listen": "127.0.0.1:0"}, "ops": {"listen": "127.0.0.1:0"}, **settings}
        with open(directory / "log", "wb") as log, open(directory / "errors", "wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "tests.server", str(directory), json.dumps(merged)],
                cwd=ROOT,
                stdin=stdin,
                stdout=log,
                stderr=errors,
                env={**os.environ, "TMPDIR": str(directory / "tmp")},
                start_new_session=True,
            )
        self._started.append(process)
        server = Server(process, directory)
        if wait:
            ready = directory / "ready"
            until(lambda: ready.exists() or process.poll() is not None, "the server to be ready")
            assert ready.exists(), (directory / "errors").read_text()
            told = json.loads(ready.read_text())
            server.urls, server.modules = told["urls"], told["modules"]
            workers = settings.get("workers", 1)
            until(lambda: len(server.events("server.started")) == workers, "every worker to serve")
        return server

    def kill(self) -> None:
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A function that starts a toy; whatever it started is gone after the test."""
    starter = Start(tmp_path)
    yield starter
    starter.kill()
