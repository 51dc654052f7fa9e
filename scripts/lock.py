# ruff: noqa: S603, T201 - a developer runs this by hand; it calls uv and says what it wrote
"""Lock every dependency by version and hash: `python scripts/lock.py`, with uv at hand (`make lock`)."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
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
    """Write the run-time set, those with an extra or the developers' tools, a builder, and one a tool."""
    uv = find_uv()
    if not uv:
        print("make lock needs uv: install it (pip install uv) and try again", file=sys.stderr)
        return 1
    runtime = REQUIREMENTS / "runtime.txt"
    project = [str(ROOT / "pyproject.toml")]
    compile_set(uv, project, runtime)
    constraint = f"--constraint={runtime}"
    compile_set(uv, [*project, "--extra=ldap", constraint], REQUIREMENTS / "ldap.txt")
    # What python-ldap is built with where the image has it.
    compile_set(uv, ["-"], REQUIREMENTS / "build.txt", "setuptools")
    compile_set(uv, [*project, "--extra=s3", constraint], REQUIREMENTS / "s3.txt")
    dev = [*project, "--extra=s3", "--group=dev", f"--constraint={REQUIREMENTS / 's3.txt'}"]
    compile_set(uv, dev, REQUIREMENTS / "dev.txt")
    tools = tomllib.loads((ROOT / "tests" / "equipment" / "tools.toml").read_text())
    for name, tool in tools["python"].items():
        pin = f"{tool['requirement']}=={tool['version']}"
        compile_set(uv, ["-"], REQUIREMENTS / "tools" / f"{name}.txt", pin)
    npm = shutil.which("npm")
    if npm is None:
        print("make lock needs npm for the modules that tests run with Node: install it", file=sys.stderr)
        return 1
    for name, tool in tools["node"].items():
        lock_modules(npm, {tool["requirement"]: tool["version"]}, REQUIREMENTS / "tools" / f"{name}.json")
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


def lock_modules(npm: str, wanted: dict[str, str], target: Path) -> None:
    """Resolve what modules for Node need, and write versions and hashes, without any address, to one file."""
    options = ["--package-lock-only", "--omit-lockfile-registry-resolved", "--ignore-scripts", "--no-audit"]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "package.json").write_text(json.dumps({"private": True, "dependencies": wanted}))
        subprocess.run([npm, "install", *options], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        lock = json.loads((Path(folder) / "package-lock.json").read_text())
    lock.pop("name", None)
    for module in lock["packages"].values():
        module.pop("funding", None)
    target.write_text(json.dumps(lock, indent=2) + "\n")
    print(f"wrote {target.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
