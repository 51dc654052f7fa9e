"""The script that makes the environment: takes what is there, and says what is lacking."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "scripts" / "environment.sh"


def make(folder: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run it on a lock file that asks for nothing, with no program on the path but what a test puts there."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "lock.txt").write_text("")
    return subprocess.run(
        ["/bin/sh", str(SCRIPT), str(folder / "made"), str(folder / "lock.txt")],
        env={"PATH": str(folder / "bin"), **environ},
        capture_output=True,
        text=True,
        timeout=120,
    )


def without(folder: Path, *modules: str) -> str:
    """A path for PYTHONPATH on which those modules cannot be imported."""
    for module in modules:
        (folder / f"{module}.py").write_text(f"raise ImportError('{module} is not here')\n")
    return str(folder)


def test_no_python_is_named_with_how_to_say_where_one_is(tmp_path: Path) -> None:
    done = make(tmp_path, {"PYTHON": str(tmp_path / "none")})
    assert done.returncode == 1
    assert "No Python 3.11 to 3.14 was found" in done.stderr
    assert "make PYTHON=" in done.stderr


def test_nothing_to_make_an_environment_with_is_named(tmp_path: Path) -> None:
    lacking = without(tmp_path, "ensurepip", "virtualenv", "uv")
    done = make(tmp_path, {"PYTHON": sys.executable, "PYTHONPATH": lacking})
    assert done.returncode == 1
    assert "neither ensurepip nor virtualenv" in done.stderr
    assert "apt-get install python3-venv" in done.stderr
    assert not (tmp_path / "made").exists()


def test_uv_serves_where_ensurepip_lacks(tmp_path: Path) -> None:
    lacking = without(tmp_path, "ensurepip", "virtualenv", "uv")
    (tmp_path / "bin").mkdir()
    uv = tmp_path / "bin" / "uv"
    uv.write_text(f'#!/bin/sh\necho "$*" >>"{tmp_path}/asked"\n')
    uv.chmod(0o755)
    done = make(tmp_path, {"PYTHON": sys.executable, "PYTHONPATH": lacking})
    assert done.returncode == 0, done.stderr
    made, installed = (tmp_path / "asked").read_text().splitlines()
    assert made.startswith("venv ") and made.endswith(str(tmp_path / "made"))
    assert "--require-hashes --no-deps" in installed and installed.endswith("lock.txt")
