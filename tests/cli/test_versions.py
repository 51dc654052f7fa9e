from __future__ import annotations

import json
import subprocess
import sys

import pytest

from registry import __version__
from tests.cli.conftest import Run

# In processes of their own.
pytestmark = pytest.mark.e2e


def test_the_version_as_text_and_as_json(run: Run) -> None:
    assert run("version").out.startswith(f"moorage {__version__} ")
    assert run("--version").out == run("version").out
    assert json.loads(run("version", "--json").out)["version"] == __version__


@pytest.mark.parametrize("word", ["version", "--version"])
def test_a_small_command_imports_neither_rich_nor_the_server(word: str) -> None:
    script = (
        "import sys; from registry.cli import main\n"
        f"try: main(['{word}'])\n"
        "except SystemExit: pass\n"
        "found = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(found & {'rich', 'uvicorn', 'starlette', 'aiofiles', 'prometheus_client'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_package_can_be_run() -> None:
    command = [sys.executable, "-m", "registry.cli", "version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert __version__ in done.stdout
