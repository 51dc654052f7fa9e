"""Wheels as files, for installing where no index can be reached, such as inside of an image that is built."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.equipment.catalogue import LOCKS, Missing, Tool, find_program

DEADLINE_SECONDS = 600


def fetch(tool: Tool, target: Path) -> None:
    """Download what the lock names into `target`, for the Python that the tool's version says.

    What is had as source alone comes so, with what it is built with.
    """
    for lock in (tool.lock, LOCKS / "build.txt"):
        subprocess.run(
            [
                *(*_pip(tool), "download", "--quiet", "--disable-pip-version-check", "--dest", str(target)),
                *("--require-hashes", "--no-deps", "--only-binary=:all:", "--no-binary=python-ldap"),
                *(f"--python-version={tool.version}", "--requirement", str(lock)),
            ],
            check=True,
            timeout=DEADLINE_SECONDS,
            stdin=subprocess.DEVNULL,
        )


def _pip(tool: Tool) -> list[str]:
    """The environment's own pip, or the machine's: one that uv made has none."""
    if subprocess.run([sys.executable, "-c", "import pip"], capture_output=True).returncode == 0:
        return [sys.executable, "-m", "pip"]
    if found := find_program("pip3"):
        return [str(found)]
    raise Missing(tool.name, "nothing here can download wheels", "apt-get install python3-pip (as root)")
