"""Memory, slow clients and start, as small as they can be; and that what goes wrong is seen."""

from __future__ import annotations

import math
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from registry.model.digests import Digest
from tests.bench import idle, tree
from tests.bench.__main__ import tell
from tests.bench.contestants import Moorage
from tests.bench.course import PARTS
from tests.bench.memory import MIB, forget_peak, peak_mib, resident_mib
from tests.bench.scale import TINY
from tests.bench.slow import outcome
from tests.bench.trials import Ground, Trial
from tests.equipment.absence import require

HELD_BYTES = 60 * MIB
ON_FILES = [trial for part in PARTS.values() if not part.in_bucket for trial in part.trials]
HOLDER = f"""
import sys
held = bytearray({HELD_BYTES})
held[::1024] = b"x" * len(held[::1024])
print("held", flush=True)
sys.stdin.readline()
del held
print("gone", flush=True)
sys.stdin.read()
"""


@pytest.mark.e2e
@pytest.mark.parametrize("trial", ON_FILES, ids=lambda trial: trial.names[0])
def test_each_trial_gives_the_figures_that_it_promises(trial: Trial, tmp_path: Path) -> None:
    require("distribution")
    figures = trial.run(Ground(tmp_path, TINY, tell))
    assert [figure.name for figure in figures] == list(trial.names)
    for figure in figures:
        for values in (figure.rounds.moorage, figure.rounds.distribution):
            assert values and all(math.isfinite(value) and value >= 0 for value in values), figure
        if figure.name in ("slow-failed", "mirror-crowd-failed"):
            assert figure.rounds.moorage == figure.rounds.distribution == (0,)
        if figure.name == "mirror-crowd":
            assert 1 <= figure.rounds.moorage[0] <= 2


@pytest.mark.e2e
def test_slow_clients_that_are_refused_are_counted(tmp_path: Path) -> None:
    server = Moorage(tmp_path / "server", {"uploads": {"max_in_flight": 2}})
    try:
        found = outcome(Ground(tmp_path, replace(TINY, slow_each=5), tell), server)
    finally:
        server.stop()
    assert found.failed.total() == 3 and all("429" in reason for reason in found.failed)


def test_the_peak_of_another_process_is_seen_and_forgotten() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert resident_mib(holder.pid) > HELD_BYTES / MIB
        holder.stdin.write(b"\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == b"gone\n"
        assert resident_mib(holder.pid) < HELD_BYTES / MIB < peak_mib(holder.pid)
        forget_peak(holder.pid)
        assert peak_mib(holder.pid) < HELD_BYTES / MIB
        holder.stdin.close()


def test_an_idle_connection_that_was_closed_is_seen() -> None:
    kept, other = socket.socketpair()
    with kept:
        assert idle.gone([kept]) == 0
        other.close()
        assert idle.gone([kept]) == 1


def test_a_tree_has_a_manifest_under_each_tag(tmp_path: Path) -> None:
    paths = tree.write(tmp_path, 7)
    assert len(set(paths)) == 7
    links = sorted(tmp_path.glob("docker/registry/v2/repositories/*/*/_manifests/tags/*/current/link"))
    assert len(links) == 7
    for link in links:
        encoded = Digest.parse(link.read_text()).encoded
        data = tmp_path / "docker/registry/v2/blobs/sha256" / encoded[:2] / encoded / "data"
        assert str(Digest.of(data.read_bytes())) == link.read_text()
