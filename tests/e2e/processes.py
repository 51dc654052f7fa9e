"""Starting and stopping other programs: commands that end by themselves, and daemons that do not."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STOP_SECONDS = 30
POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Result:
    """What a command that has ended printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both streams, for looking for a message wherever the program puts it."""
        return self.out + self.err


def run(
    command: Sequence[object],
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    given: str = "",
    code: int | None = 0,
    deadline_seconds: float = 120,
) -> Result:
    """Run a command to its end; an exit code other than `code` (None: any) fails, with its output."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        env=None if environ is None else dict(environ),
        cwd=folder,
        input=given.encode(),
        capture_output=True,
        timeout=deadline_seconds,
    )
    result = Result(
        done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )
    if code is not None and result.code != code:
        raise AssertionError(
            f"{' '.join(words)}\nended with {result.code}, wanted {code}\n{result.text[-6000:]}"
        )
    return result


class Daemon:
    """A program that runs until it is stopped; its output goes to a log file."""

    def __init__(
        self, command: Sequence[object], log: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        self.command = [str(word) for word in command]
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                env=None if environ is None else dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        """The process id, for signals of the test's own."""
        return self._process.pid

    def running(self) -> bool:
        """Whether the program has not ended yet."""
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], deadline_seconds: float = 30) -> None:
        """Poll until `ready` says so; a program that ends first or takes too long is stopped, and fails."""
        deadline = time.monotonic() + deadline_seconds
        while not ready():
            if not self.running() or time.monotonic() > deadline:
                state = "is not ready in time" if self.running() else f"ended with {self._process.returncode}"
                self.stop()
                raise AssertionError(f"{self.command[0]} {state}; {self.log} ends with\n{self.tail()}")
            time.sleep(POLL_SECONDS)

    def tail(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-4000:]

    def stop(self, deadline_seconds: float = STOP_SECONDS) -> int:
        """Ask it to end, wait, insist if it does not, and return its exit code."""
        if self.running():
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(deadline_seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.wait()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        self._process.kill()
        self._process.wait()


def log_lines(text: str) -> list[dict[str, Any]]:
    """The lines of a log of JSON that are whole: the last may be in the middle of being written."""
    whole = text[: text.rfind("\n") + 1]
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


def accepts(host: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def free_port() -> int:
    """A port that nothing listens on now; only for programs that cannot be told to choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
