"""Moorage as a process of its own, on a directory and a port that the kernel chose."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.api.registry import Registry, Repository
from tests.e2e.processes import Daemon, Result, log_lines, run

CHECKOUT = Path(__file__).parents[2]
LISTENING = re.compile(r"listens on https?://(127\.0\.0\.1:[0-9]+)")


class Server:
    """One `moorage serve`; `wrapper` is put before its command, `settings` are merged into its file."""

    def __init__(
        self,
        root: Path,
        scratch: Path,
        settings: Mapping[str, Any] | None = None,
        wrapper: Sequence[str] = (),
        program: str = "registry.cli",
    ) -> None:
        self.root = root
        name = f"moorage-{os.urandom(4).hex()}"
        self.config = scratch / f"{name}.yaml"
        self.config.write_text(json.dumps(configuration(root, settings or {})))
        command = [*wrapper, sys.executable, "-m", program, "serve", "--config", str(self.config)]
        self._daemon = Daemon(command, scratch / f"{name}.log", environment())
        self.registry = Registry("")
        self._daemon.wait_until(self._listens)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._daemon.pid

    @property
    def log(self) -> str:
        """What it has printed so far."""
        return self._daemon.log.read_text(errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """The lines of its log with this event."""
        return [line for line in log_lines(self.log) if line["event"] == name]

    def repository(self, name: str) -> Repository:
        """One of its repositories."""
        return self.registry.repository(name)

    def command(
        self, *words: str, code: int | None = 0, given: str = "", deadline_seconds: float = 120
    ) -> Result:
        """Run another command of Moorage on the same configuration; `given` is its standard input."""
        more = ("--config", str(self.config))
        return moorage(*words, *more, code=code, given=given, deadline_seconds=deadline_seconds)

    def wait_until(self, met: Callable[[], bool]) -> None:
        """Wait for something that comes by itself; fails where it does not come."""
        self._daemon.wait_until(met, 60)

    def stop(self) -> int:
        """Ask it to end, and wait; its exit code."""
        return self._daemon.stop()

    def terminate(self) -> None:
        """Ask it to end, and do not wait."""
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._daemon.kill()

    def _listens(self) -> bool:
        found = LISTENING.search(self.log)
        if found is None:
            return False
        self.registry = Registry(found[1])
        return True


def moorage(*words: str, code: int | None = 0, given: str = "", deadline_seconds: float = 120) -> Result:
    """Run a command of Moorage to its end."""
    command = [sys.executable, "-m", "registry.cli", *words]
    return run(command, environ=environment(), code=code, given=given, deadline_seconds=deadline_seconds)


def configuration(root: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration file; JSON is YAML too."""
    in_a_bucket = settings.get("storage", {}).get("driver") == "s3"
    base: dict[str, Any] = {
        "storage": {} if in_a_bucket else {"root": str(root)},
        "registry": {"listen": "127.0.0.1:0"},
        "ops": {"listen": "127.0.0.1:0"},
    }
    return merged(base, settings)


def merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Both trees in one, the leaves of `more` winning."""
    found = dict(base)
    for key, value in more.items():
        inner = found.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            value = merged(inner, value)
        found[key] = value
    return found


def environment() -> dict[str, str]:
    """The environment of this process, the checkout importable, without settings of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MOORAGE_")}
    return {**kept, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}
