"""That bundles are measured beside both tools, and that what a command took is seen."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.api.server import environment
from tests.bench import bundles, tree
from tests.bench.__main__ import main
from tests.bench.commands import run
from tests.bench.memory import MIB
from tests.equipment.absence import require

HELD_BYTES = 64 * MIB
WORKER = f"""
import time
held = b"x" * {HELD_BYTES}
while time.process_time() < 0.5:
    pass
"""


@pytest.mark.e2e
def test_bundles_are_measured_beside_both_tools(capsys: pytest.CaptureFixture[str]) -> None:
    for tool in bundles.TOOLS:
        require(tool)
    names = [name for trial in bundles.TRIALS for name in trial.names]
    assert main(["--tiny", "--place", "disk", "--only", *names, "--json"]) == 0
    (section,) = json.loads(capsys.readouterr().out)["sections"]
    figures = {figure["name"]: figure for figure in section["figures"]}
    assert list(figures) == names
    assert all(figure["rounds"]["moorage"][0] > 0 for figure in figures.values())
    for name in bundles.CROSSING:
        assert figures[name]["rounds"]["distribution"][0] > 0
        assert name.endswith("-rate") or figures[name]["goal"] == "≤ 1.00"
    # Of so little the statement is the larger part; never is there less than what has changed.
    assert figures["bundle-change"]["rounds"]["moorage"][0] > 1
    assert figures["bundle-import-memory"]["goal"] == "≤ 200 MiB"


def test_what_a_command_took_is_seen(tmp_path: Path) -> None:
    spent = run([sys.executable, "-c", WORKER], environment(), tmp_path / "log")
    assert 0.5 <= spent.processor_seconds <= spent.waited_seconds
    assert HELD_BYTES / MIB < spent.peak_mib < 3 * HELD_BYTES / MIB
    with pytest.raises(AssertionError, match="no good"):
        run([sys.executable, "-c", "raise SystemExit('no good')"], environment(), tmp_path / "log")


def test_some_manifests_of_a_tree_share_their_layers(tmp_path: Path) -> None:
    number = 2 * tree.REPOSITORIES + 1
    tree.write(tmp_path, number, layers=2, alike=2)
    # The config, and the layers of a pair in each repository, or of one that has none beside it.
    assert tree.data(tmp_path) == number + 1 + 2 * (tree.REPOSITORIES + 1)
