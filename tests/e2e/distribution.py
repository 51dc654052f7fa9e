"""CNCF Distribution, whose layout is ours too: version 2.8 from Debian, version 3 from its Go module."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.processes import Daemon, Result, accepts, run

LISTENING = re.compile(r"listening on (127\.0\.0\.1:[0-9]+)")


class Distribution:
    """One Distribution process on a directory of its own or of ours, on a port that the kernel chose."""

    def __init__(
        self,
        program: Path,
        scratch: Path,
        root: Path,
        *,
        delete: bool = True,
        more: Mapping[str, object] | None = None,
    ) -> None:
        self.program = program
        self.root = root
        self._config = scratch / f"distribution-{os.urandom(4).hex()}.yml"
        self._config.write_text(configuration(root, delete=delete, more=more))
        log = self._config.with_suffix(".log")
        self._daemon = Daemon([program, "serve", self._config], log, environment())
        self.host_port = ""
        self._daemon.wait_until(self._listens)

    @property
    def url(self) -> str:
        return f"http://{self.host_port}"

    @property
    def pid(self) -> int:
        return self._daemon.pid

    def stop(self) -> None:
        """End the process; the data stay."""
        self._daemon.stop()

    def kill(self) -> None:
        """kill -9."""
        self._daemon.kill()

    def collect_garbage(self, *flags: str) -> Result:
        """Run its offline collector on the same directory."""
        return run([self.program, "garbage-collect", *flags, self._config], environ=environment())

    def _listens(self) -> bool:
        found = LISTENING.search(self._daemon.log.read_text(errors="replace"))
        if found is None or not accepts("127.0.0.1", int(found[1].rpartition(":")[2])):
            return False
        self.host_port = found[1]
        return True


def configuration(root: Path, *, delete: bool, more: Mapping[str, object] | None = None) -> str:
    """Its configuration file, with `more` sections; JSON is YAML too."""
    return json.dumps(
        {
            "version": 0.1,
            "log": {"level": "info", "formatter": "text", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(root)},
                "delete": {"enabled": delete},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {"addr": "127.0.0.1:0", "secret": os.urandom(16).hex()},
            **(more or {}),
        }
    )


def environment() -> dict[str, str]:
    """Without tracing, and without the certificate setting that its S3 driver cannot bear."""
    kept = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}
    return {**kept, "OTEL_TRACES_EXPORTER": "none"}
