"""The server that is fuzzed, with something in it, and whether it has come through unharmed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.api.contents import image
from tests.api.server import Server
from tests.server.test_tls import settings as tls_settings
from tests.server.test_tls import trusting

SETTINGS = {"workers": 2, "url": "http://x"}


class Victim:
    """A registry of several workers, of which none may die, nor log an error.

    It is filled in plain HTTP; with `pair`, a folder with a certificate, it speaks TLS then.
    """

    def __init__(self, folder: Path, pair: Path | None = None) -> None:
        self.tls = trusting(pair) if pair else None
        self.server = Server(folder / "data", folder, SETTINGS)
        self.repository = self.server.repository("fuzz/target")
        made = self.repository.push(image(), "latest")
        blobs = [self.repository.push_blob(os.urandom(size)) for size in (0, 100, 3_000_000)]
        self.paths = (
            *("/v2/", "/v2/_catalog", "/v2/_catalog?n=2", "/", "/v2/a", "/v2/A/tags/list", "/livez"),
            *(self.repository.path(rest) for rest in ("tags/list", "manifests/latest", "blobs/uploads/")),
            *(
                self.repository.path(rest)
                for rest in (f"manifests/{made.digest}", f"referrers/{made.digest}")
            ),
            *(self.repository.path(f"blobs/{digest}") for digest in blobs),
            *(self.repository.path(f"blobs/uploads/?digest={digest}") for digest in blobs),
            *(
                self.repository.path(f"blobs/uploads/?mount={blobs[0]}&from=fuzz/other"),
                self.repository.begin(),
            ),
            *(f"{self.repository.begin()}?digest={blobs[1]}", self.repository.path("manifests/new")),
        )
        if pair:
            self.server.stop()
            settings = {**SETTINGS, "registry": {"tls": tls_settings(pair)}}
            self.server = Server(folder / "data", folder, settings)
        self._workers = set(self._children())
        assert len(self._workers) == 2

    def harm(self) -> Iterator[str]:
        """End the server, and tell what it should not have done."""
        if set(self._children()) != self._workers:
            yield "a worker has died"
        code = self.server.stop()
        if code != 0:
            yield f"the server ended with {code}"
        for line in self.server.log.splitlines():
            if not line.startswith("{"):
                if "Traceback" in line or "Error" in line:
                    yield f"on standard error: {line}"
                continue
            told: dict[str, Any] = json.loads(line)
            if told["level"] in ("error", "critical") or "exception" in told:
                yield f"in the log: {line}"
            if "smuggled" in str(told.get("path")):
                yield f"a smuggled request was seen: {line}"

    def _children(self) -> list[int]:
        tasks = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children")
        return [int(pid) for pid in tasks.read_text().split()]
