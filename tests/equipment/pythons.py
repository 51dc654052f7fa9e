"""Python environments of their own, for tools whose libraries must not meet ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.equipment.catalogue import Tool

ENVIRONMENT = Path(__file__).parents[2] / "scripts" / "environment.sh"
DEADLINE_SECONDS = 600


def build(tool: Tool, target: Path) -> None:
    """Make the environment of one tool in `target`, by the script that makes the project's own.

    One that is there is kept, and what it lacks is added.
    """
    subprocess.run(
        ["sh", str(ENVIRONMENT), str(target), str(tool.lock)],
        env={**os.environ, "PYTHON": sys.executable},
        check=True,
        timeout=DEADLINE_SECONDS,
        stdin=subprocess.DEVNULL,
    )
