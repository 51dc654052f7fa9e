"""Small file systems of a test's own, where the machine lets it mount some."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.equipment.absence import unavailable
from tests.equipment.catalogue import Missing

Mount = Callable[..., Path]


def _run(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mounts a tmpfs of so many bytes and returns its directory; the test ends where that is not allowed.

    Not below `tmp_path`: pytest could not remove what a killed run has left mounted there, and would fail.
    """
    with ExitStack() as mounted:

        def mount(name: str, size_bytes: int) -> Path:
            path = Path(tempfile.mkdtemp(prefix=f"moorage-{name}-"))
            mounted.callback(path.rmdir)
            if not _run("mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "none", str(path)):
                unavailable(Missing("small file systems", "only root may mount them", "sudo make test"))
            mounted.callback(_run, "umount", str(path))
            return path

        yield mount


def remount_read_only(path: Path) -> None:
    """Let nobody write below a mounted directory any more."""
    assert _run("mount", "-o", "remount,ro", str(path))
