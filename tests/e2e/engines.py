"""The stores with buckets that registries lie in: Ceph, or MOORAGE_TEST_ENGINE (minio, versitygw)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tests.e2e.processes import Daemon, accepts, free_port
from tests.equipment.absence import require
from tests.storage.buckets import ACCESS_KEY, SECRET_KEY

ENGINE = os.environ.get("MOORAGE_TEST_ENGINE", "ceph")


class Engine(Protocol):
    """A store that runs, and knows the keys of the tests."""

    @property
    def endpoint(self) -> str:
        """Its address, an URL."""


class Minio:
    """MinIO, with its data in a folder that is new."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        port, console = free_port(), free_port()
        listening = ("--address", f"127.0.0.1:{port}", "--console-address", f"127.0.0.1:{console}")
        keys = {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY, "MINIO_BROWSER": "off"}
        command = [require("minio"), "server", *listening, folder]
        self._daemon = Daemon(command, folder.with_name(f"{folder.name}.log"), {**os.environ, **keys})
        self._daemon.wait_until(lambda: accepts("127.0.0.1", port))
        self.endpoint = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        """End it."""
        self._daemon.stop()


@contextmanager
def minio(folder: Path) -> Iterator[Minio]:
    """One that runs within it."""
    server = Minio(folder)
    try:
        yield server
    finally:
        server.stop()
