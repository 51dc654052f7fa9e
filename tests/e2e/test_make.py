"""`make serve` and the script behind it, on a copy of the checkout: the first thing that a newcomer types."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.contents import image
from tests.api.registry import Registry
from tests.api.server import CHECKOUT, LISTENING
from tests.e2e.processes import run

COPIED = ("Makefile", "pyproject.toml", "registry", "requirements", "scripts", "storage")
FREE = {"MOORAGE_OPS_LISTEN": "127.0.0.1:0"}
# In the place of mkdir: the script asks whether its probe is there in upper case too, and then it is.
FOLDING = 'command -p mkdir "$@"\n: >"$2/.tmp-case-probe-$PPID-A"\n'


@pytest.fixture
def checkout(scratch: Path) -> Path:
    """A copy of the checkout, without anything that was made in it."""
    copy = scratch / "a checkout"
    for name in COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            copy.mkdir(exist_ok=True)
            shutil.copy2(source, copy / name)
    return copy


@pytest.fixture
def made(checkout: Path) -> Path:
    """The copy, with an environment that is up to date: the one that the tests run in."""
    python = checkout / ".venv" / "bin" / "python"
    script(python, f'exec {shlex.quote(sys.executable)} "$@"\n')
    (checkout / ".venv" / "runtime.made").touch()
    return checkout


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)


def environ(**more: str) -> dict[str, str]:
    """As a newcomer has it: nothing of ours is set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MOORAGE_", "PYTHON"))}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


def test_from_nothing_it_makes_the_environment_first(checkout: Path) -> None:
    planned = run(["make", "-n", "serve"], environ=environ(), folder=checkout).out.splitlines()
    makes = [line for line in planned if "scripts/environment.sh .venv requirements/runtime.txt" in line]
    serves = [line for line in planned if "scripts/serve.sh" in line]
    assert len(makes) == len(serves) == 1
    assert planned.index(makes[0]) < planned.index(serves[0])


@pytest.fixture
def serving(made: Path, scratch: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """`make serve`, in a group of processes of its own as at a terminal, and what it prints."""
    log = scratch / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "serve", "ARGS=--listen 127.0.0.1:0"],
            cwd=made,
            env=environ(**FREE),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    yield process, log
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_it_serves_the_copy_with_the_data_in_it(
    serving: tuple[subprocess.Popen[bytes], Path], made: Path
) -> None:
    process, log = serving
    while (found := LISTENING.search(log.read_text())) is None:
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    told = log.read_text()
    assert f"The data lie in {made / 'data'}" in told
    assert re.search(rf"^  docker push {re.escape(found[1])}/", told, re.MULTILINE)
    repository = Registry(found[1]).repository("first/push")
    repository.push(image(), "1")
    assert (made / "data/docker/registry/v2/repositories/first/push").is_dir()
    assert "folds case" not in told
    # Ctrl-C goes to all of them.
    os.killpg(process.pid, signal.SIGINT)
    process.wait(60)
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("folds", [True, False])
def test_where_case_is_folded_it_says_so_and_allows_it(made: Path, folds: bool) -> None:
    python = made / "python"
    script(python, 'echo "allowed=$MOORAGE_STORAGE_ALLOW_CASE_FOLDING"\necho "$@"\n')
    if folds:
        script(made / "stubs" / "mkdir", FOLDING)
    given = environ(PYTHON=str(python), PATH=f"{made / 'stubs'}:{os.environ['PATH']}")
    told = run(["sh", "scripts/serve.sh", "--workers", "2"], environ=given, folder=made)
    asked = "-m registry.cli serve --root data --workers 2"
    assert told.out.splitlines() == [f"allowed={'true' if folds else ''}", asked]
    assert ("folds case" in told.err) == folds
    assert ("storage.allow_case_folding" in told.err) == folds
    # Nothing of the probe is left where the registry begins.
    assert [path.name for path in (made / "data").iterdir() if path.name.endswith("-a")] == []
