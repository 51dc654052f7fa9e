"""Modules for Node, each with what it needs in a folder of its own, and the node that runs them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tests.equipment.catalogue import Missing, Tool, find_program

DEADLINE_SECONDS = 600


def build(tool: Tool, target: Path) -> None:
    """Install what the lock names into `target/node_modules`, without running anything of it."""
    node, npm = find_program("node"), find_program("npm")
    if node is None or npm is None:
        raise Missing(tool.name, "it is a module for Node", "apt-get install nodejs npm (as root)")
    (target / "package.json").write_text(manifest(tool.requirement, tool.version))
    shutil.copy(tool.lock, target / "package-lock.json")
    subprocess.run(
        [str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=target,
        check=True,
        timeout=DEADLINE_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    (target / "bin").mkdir()
    (target / "bin" / tool.programs[0]).symlink_to(node)


def manifest(requirement: str, version: str) -> str:
    """The file that npm reads what is wanted from."""
    return json.dumps({"private": True, "dependencies": {requirement: version}})
