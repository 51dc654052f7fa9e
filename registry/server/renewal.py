"""How a parent of workers becomes the program anew: new code and settings, the same process and sockets.

The workers remain its children. What it has to know of them passes through the environment, so that `exec`
keeps it. Versions read each other's: a field may be added, and none may change its meaning.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import NoReturn

_VARIABLE = "REGISTRY_ESTATE"
_TOLD_BYTES = 4096
# None of them may meet the new program before it can handle them.
_HELD_BACK = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclass(frozen=True, slots=True)
class Renewal:
    """Two commands: `serve` starts this program again, and `check` ends with 0 if that would go well.

    `check` may take so many seconds.

    `settings` are left to the next program, in the words of whoever calls `serve`, for the case that those
    it finds are bad, having changed since `check`; `refused` says that this program goes on with such.
    """

    check: tuple[str, ...]
    serve: tuple[str, ...]
    settings: str | None = None
    refused: str | None = None
    check_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Sockets:
    """The descriptors of a listener, and the address as it was written when they were bound."""

    address: str
    descriptors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Veteran:
    """A worker of the program before: its process id, and the descriptor of our end of its channel.

    `renewals` counts those that it has seen since it was relieved.
    """

    pid: int
    channel: int
    ready: bool = True
    retired: bool = False
    renewals: int = 0


@dataclass(frozen=True, slots=True)
class Estate:
    """What a parent leaves to the program that takes its place."""

    listeners: Mapping[str, Sockets]
    workers: Sequence[Veteran]
    metrics: str
    settings: str | None = None

    def hand_over(self, command: Sequence[str]) -> NoReturn:
        """Become that command. Raises OSError when it cannot be started, and then nothing has happened."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
        try:
            with self._inheritable():
                environ = {**os.environ, _VARIABLE: json.dumps(asdict(self))}
                os.execve(command[0], [*command], environ)  # noqa: S606 (the command that started us)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)

    @contextmanager
    def _inheritable(self) -> Iterator[None]:
        descriptors = [number for one in self.listeners.values() for number in one.descriptors]
        descriptors += [worker.channel for worker in self.workers]
        for number in descriptors:
            os.set_inheritable(number, True)
        try:
            yield
        finally:
            for number in descriptors:
                os.set_inheritable(number, False)

    @classmethod
    def take(cls) -> Estate | None:
        """What was left to this process, once; None if it was started in the ordinary way."""
        written = os.environ.pop(_VARIABLE, None)
        if written is None:
            return None
        left = json.loads(written)
        listeners = {
            name: Sockets(one["address"], tuple(one["descriptors"]))
            for name, one in left["listeners"].items()
        }
        known = {field.name for field in fields(Veteran)}
        workers = [
            Veteran(**{name: value for name, value in one.items() if name in known})
            for one in left["workers"]
        ]
        for number in (
            *(n for one in listeners.values() for n in one.descriptors),
            *(w.channel for w in workers),
        ):
            os.set_inheritable(number, False)
        return cls(listeners, workers, left["metrics"], left.get("settings"))


def settings_left() -> str | None:
    """The `settings` of the renewal that made this program what it is; None where none did."""
    written = os.environ.get(_VARIABLE)
    settings = json.loads(written).get("settings") if written else None
    return settings if isinstance(settings, str) else None


class Trial:
    """A check of what would be served next, in a process of its own, which is killed when it is `due_at`."""

    def __init__(self, renewal: Renewal, now: float) -> None:
        self.due_at: float | None = now + renewal.check_seconds
        self._seconds = renewal.check_seconds
        self._told = tempfile.TemporaryFile()  # noqa: SIM115 (read when the process has ended)
        self._process = subprocess.Popen(  # noqa: S603 (the command that started us, less its verb)
            renewal.check, stdin=subprocess.DEVNULL, stdout=self._told, stderr=subprocess.STDOUT
        )

    def problem(self, now: float) -> str | None:
        """What it found; empty when nothing is wrong, None while it still looks."""
        code = self._process.poll()
        if code is None:
            if self.due_at is not None and now >= self.due_at:
                self.due_at = None
                self._process.kill()
            return None
        self._told.seek(0)
        told = self._told.read(_TOLD_BYTES).decode("utf-8", "replace").strip()
        self._told.close()
        if code == 0:
            return ""
        if self.due_at is None:
            return f"{self._process.args!r} had not ended after {self._seconds:g} s {told}".rstrip()
        return told or f"{self._process.args!r} ended with exit code {code}"

    def abandon(self) -> None:
        """End it; its answer is of no use any more."""
        self._process.kill()
        self._process.wait()
        self._told.close()
