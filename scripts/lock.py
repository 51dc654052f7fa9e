# ruff: noqa: S603, T201 - a developer runs this by hand; it calls uv and says what it wrote
"""Lock every dependency by version and hash: `python scripts/lock.py`, with uv at hand (`make lock`)."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
OPTIONS = [
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--no-header",
    "--no-annotate",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--quiet",
    "--upgrade",
]


def main() -> int:
    """Write the run-time set, the developers' set that contains it, and one file for each Python tool."""
    uv = find_uv()
    if not uv:
        print("make lock needs uv: install it (pip install uv) and try again", file=sys.stderr)
        return 1
    runtime = REQUIREMENTS / "runtime.txt"
    project = [str(ROOT / "pyproject.toml")]
    compile_set(uv, project, runtime)
    compile_set(uv, [*project, "--group=dev", f"--constraint={runtime}"], REQUIREMENTS / "dev.txt")
    tools = tomllib.loads((ROOT / "tests" / "equipment" / "tools.toml").read_text())["python"]
    for name, tool in tools.items():
        pin = f"{tool['requirement']}=={tool['version']}"
        compile_set(uv, ["-"], REQUIREMENTS / "tools" / f"{name}.txt", pin)
    return 0


def find_uv() -> list[str]:
    """How uv is called here; empty where it is not."""
    if program := shutil.which("uv"):
        return [program]
    return [sys.executable, "-m", "uv"] if importlib.util.find_spec("uv") else []


def compile_set(uv: list[str], sources: list[str], target: Path, text: str = "") -> None:
    """Resolve what the sources (or `text`, for the source `-`) ask for, and write it to one lock file."""
    command = [*uv, "pip", "compile", *OPTIONS, *sources, f"--output-file={target}"]
    subprocess.run(command, cwd=ROOT, input=text, text=True, check=True, stdout=subprocess.DEVNULL)
    print(f"wrote {target.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
