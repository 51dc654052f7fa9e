"""`make pythons`: the unit tests under every other Python of this machine that Moorage runs on."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.equipment.catalogue import cache_root, find_program
from tests.equipment.pythons import ENVIRONMENT

CHECKOUT = Path(__file__).parents[1]
LOCK = CHECKOUT / "requirements" / "dev.txt"
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
CHOSEN = ("-q", "-m", "not e2e and not soak")


def interpreter(version: str) -> Path | None:
    """A Python of that version that runs: pyenv has a name on the path also for one that is not chosen."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    named = find_program(f"python{version}")
    for found in (*([named] if named else []), *sorted(pyenv.glob(f"{version}.*/bin/python{version}"))):
        asked = [str(found), "-c", "import sys; print('{}.{}'.format(*sys.version_info))"]
        if subprocess.run(asked, capture_output=True, text=True, timeout=60).stdout.strip() == version:
            return found
    return None


def environment(python: Path, version: str) -> Path:
    """The Python of an environment with everything that the tests need, made once and kept in the cache."""
    pins = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:8]
    folder = cache_root() / f"unit-{version}-{pins}"
    made = folder / "made"
    if not made.exists():
        subprocess.run(
            ["sh", str(ENVIRONMENT), str(folder), str(LOCK)],
            env={**os.environ, "PYTHON": str(python)},
            cwd=CHECKOUT,
            check=True,
        )
        made.touch()
    return folder / "bin" / "python"


def main() -> int:
    """Run them, one Python after another; 1 when any failed."""
    failed = []
    for version in VERSIONS:
        if version == "{}.{}".format(*sys.version_info):
            continue
        python = interpreter(version)
        if python is None:
            print(f"Python {version}: not on this machine", flush=True)
            continue
        print(f"Python {version}: {python}", flush=True)
        command = [str(environment(python, version)), "-m", "pytest", "-n", "2", *CHOSEN]
        if subprocess.run(command, cwd=CHECKOUT).returncode:
            failed.append(version)
    if failed:
        print(f"The unit tests failed under Python {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
