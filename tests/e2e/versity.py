"""versitygw, a store with buckets that are directories."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.processes import Daemon, accepts, free_port
from tests.storage.buckets import ACCESS_KEY, SECRET_KEY


@contextmanager
def versity(program: Path, folder: Path) -> Iterator[str]:
    """The address of one that knows the keys of the tests and keeps its buckets below a folder."""
    port = free_port()
    # By itself it closes each connection behind its answer, as no other store does.
    command = [program, "--quiet", "--keep-alive", "--port", f"127.0.0.1:{port}", "posix", folder]
    keys = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
    daemon = Daemon(command, folder.with_name(f"{folder.name}.log"), {**os.environ, **keys})
    try:
        daemon.wait_until(lambda: accepts("127.0.0.1", port))
        yield f"http://127.0.0.1:{port}"
    finally:
        daemon.stop()
