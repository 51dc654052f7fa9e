"""What a running server has not imported: what it does not need, and in the parent of workers nearly all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.server import environment
from tests.architecture.source import CHECKOUT
from tests.e2e.processes import run

# Each looks into a process of its own.
pytestmark = pytest.mark.e2e

UNWANTED = (
    *("boto3", "botocore", "urllib3", "storage.s3", "aiohttp", "rich", "moto", "ldap", "pytest", "jwt"),
    *("cryptography", "bcrypt"),
)
OF_WORKERS = (
    *("starlette", "uvicorn", "httptools", "aiofiles"),
    *("registry.app.serving", "registry.api.application", "storage.local"),
)

# Serves as the command does; when it listens, a thread asks, and then says what the process has imported.
SERVE = """
import json, os, signal, sys, threading, urllib.request
from registry.cli.composition import Imported
from registry.cli import serving, commands
from registry.config import load, load_policy

def ask(urls):
    parent = set(sys.modules)
    for method, path, data in (("POST", "/v2/a/blobs/uploads/", b""), ("GET", "/v2/_catalog", None)):
        request = urllib.request.Request(urls["registry"] + path, data, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            assert answer.status in (200, 202), answer.status
    print(json.dumps(sorted(parent if int(sys.argv[2]) > 1 else sys.modules)), file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

commands.build(["serve"], Imported())
flags = {"--root": sys.argv[1], "--workers": sys.argv[2], "--listen": "127.0.0.1:0"}
settings = load(None, os.environ, flags)
load_policy(settings)
sys.exit(Imported().serve(settings, lambda urls: threading.Thread(target=ask, args=(urls,)).start()))
"""


def imported(root: Path, workers: int) -> set[str]:
    """The names of the modules that the process which was started has imported."""
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT), "MOORAGE_OPS_LISTEN": "127.0.0.1:0"}
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(root), str(workers)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return set(json.loads(next(line for line in done.stderr.splitlines() if line.startswith("["))))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_on_a_disk_has_nothing_that_it_does_not_need(tmp_path: Path, workers: int) -> None:
    found = imported(tmp_path, workers)
    assert "registry.server" in found
    assert [name for name in UNWANTED if name in found] == []


def test_the_parent_of_workers_has_only_what_it_needs(tmp_path: Path) -> None:
    found = imported(tmp_path, 2)
    assert [name for name in OF_WORKERS if name in found] == []


def test_a_lone_process_has_what_the_parent_has_not(tmp_path: Path) -> None:
    """So that the names above cannot go stale unseen."""
    assert set(OF_WORKERS) <= imported(tmp_path, 1)


def test_a_command_imports_what_its_noun_needs_and_no_more(tmp_path: Path) -> None:
    """Imports are most of what a short command takes."""
    words = ("-m", "registry.cli", "repo", "list", "--root", tmp_path)
    told = run((sys.executable, "-X", "importtime", *words), environ=environment(), code=1).err
    found = {line.rpartition("|")[2].strip() for line in told.splitlines()}
    assert "registry.core.operations" in found
    others = ("starlette", "prometheus_client", "cryptography", "multiprocessing", "registry.app.serving")
    assert [name for name in (*others, *UNWANTED) if name in found] == []
    assert [
        name for name in found if name.endswith("operations") and name.startswith("registry.bundles")
    ] == []
