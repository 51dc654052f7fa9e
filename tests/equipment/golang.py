"""Programs built by the Go tool chain, the machine's own or the one that PyPI carries."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.equipment.catalogue import Tool, find_program, folder, load

DEADLINE_SECONDS = 1800


def build(tool: Tool, target: Path) -> None:
    """Build one module's command into `target/bin`, under the name that the catalogue gives it."""
    places = target / "bin"
    environ = {**os.environ, "GOBIN": str(places), "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    subprocess.run(
        [str(find_go()), "install", f"{tool.module}@{tool.version}"],
        env=environ,
        check=True,
        timeout=DEADLINE_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    [built] = places.iterdir()
    built.rename(places / tool.programs[0])


def find_go() -> Path:
    """The go command: the machine's own, else the one that came from the package index."""
    if found := find_program("go"):
        return found
    # The package's own wrapper in bin/ names the folder that it was built in.
    carried = folder(load()["go"]).glob("lib/python*/site-packages/go/bin/go")
    return next(carried)
