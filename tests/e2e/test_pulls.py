"""What clients pull is known afterwards, whichever worker answered them, and however it ended."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from registry.core.pull_records import PROCESSES, UNCOVERED
from tests.api.contents import digest_of, image
from tests.api.server import Server
from tests.e2e.buckets import settings
from tests.e2e.workers import lines
from tests.storage.buckets import Bucket, client_of, emulator

REPOSITORY = "team/app"


@pytest.fixture
def server(scratch: Path) -> Iterator[Server]:
    """Two workers on a new directory."""
    server = Server(scratch / "root", scratch, {"workers": 2})
    yield server
    server.stop()


def shown(server: Server, reference: str = REPOSITORY) -> dict[str, Any]:
    """What is known of pulls."""
    found: dict[str, Any] = json.loads(server.command("pulls", "show", reference, "--json").out)
    return found


def counts(found: dict[str, Any]) -> dict[str, int]:
    """How often each reference was pulled."""
    return {one["reference"]: one["pulls"] for one in found["references"]}


def listed(server: Server, prefix: str) -> list[str]:
    """The names of the objects right below a prefix."""
    return sorted(os.listdir(server.root / prefix))


def test_pulls_of_all_workers_are_known_when_they_have_ended(server: Server, scratch: Path) -> None:
    app = server.repository(REPOSITORY)
    first = app.push(image(), "v1")
    app.push(image(), "v2")
    today = datetime.now(UTC).date()
    asked = 0
    for line in lines([server]):
        for method, reference, headers in (
            ("GET", "v1", {}),
            ("HEAD", "v1", {}),
            ("GET", "v1", {"If-None-Match": f'"{first.digest}"'}),
            ("GET", first.digest, {}),
        ):
            answer = line.ask(method, app.path(f"manifests/{reference}"), headers)
            assert answer.status == (304 if headers else 200)
            asked += 1
        assert line.ask("GET", app.path("manifests/none")).status == 404
        assert line.ask("GET", app.path(f"blobs/{digest_of(first.blobs[0])}")).status == 200
    assert len(listed(server, PROCESSES)) == 2, "each says that it is there before it answers"
    # Nothing that the registry does by itself is a pull.
    server.command("tag", "copy", f"{REPOSITORY}:v2", f"{REPOSITORY}:v3")
    server.command("repo", "show", REPOSITORY)
    server.stop()
    assert not (server.root / PROCESSES).exists() or listed(server, PROCESSES) == []
    found = shown(server)
    assert counts(found) == {"v1": 6, first.digest: 2}
    assert found["pulls"] == asked == 8
    days = {str(today), str(datetime.now(UTC).date())}
    assert {one["last"] for one in found["references"]} <= days
    # Recording began today; nothing is known of the days before.
    assert found["uncovered"][0] == found["since"] and found["uncovered"][-1] in days
    assert listed(server, UNCOVERED)[-1] == found["uncovered"][-1]
    assert counts(shown(server, f"{REPOSITORY}:v1")) == {"v1": 6}
    assert shown(server, f"{REPOSITORY}:v2")["references"] == []
    told = server.command("pulls", "show", REPOSITORY).out
    assert f"{REPOSITORY} was pulled 8 times" in told and "v1: 6 times, last on" in told


def test_of_a_server_that_was_killed_it_is_known_that_not_all_is(scratch: Path) -> None:
    server = Server(scratch / "root", scratch)
    app = server.repository(REPOSITORY)
    app.push(image(), "v1")
    assert app.get("v1").status == 200
    server.kill()
    (record,) = (server.root / PROCESSES).iterdir()
    # As if all this had been long ago.
    for mark in (server.root / UNCOVERED).iterdir():
        mark.unlink()
    then = time.time() - timedelta(days=2).total_seconds()
    os.utime(record, (then, then))
    found = shown(server)
    assert counts(found) == {}
    assert found["recorded_until"] is None
    assert len(found["uncovered"]) >= 3
    assert date.fromisoformat(found["uncovered"][0]) == datetime.fromtimestamp(then, UTC).date()
    assert "not all is known of" in server.command("pulls", "show", REPOSITORY).out


def test_pulls_of_all_replicas_on_a_bucket_are_known(scratch: Path) -> None:
    with emulator() as store:
        written = settings(Bucket(client_of(store)), scratch)
        replicas = [Server(scratch, scratch, written) for _ in range(2)]
        try:
            replicas[0].repository(REPOSITORY).push(image(), "v1")
            for number, replica in enumerate(replicas):
                for _ in range(number + 1):
                    assert replica.repository(REPOSITORY).get("v1").status == 200
            # One has ended, and the other has not recorded yet.
            replicas[1].stop()
            found = shown(replicas[0])
            assert counts(found) == {"v1": 2}
            assert found["recorded_until"] is not None
        finally:
            for replica in replicas:
                replica.stop()
        found = shown(replicas[0])
        assert counts(found) == {"v1": 3}
        assert found["recorded_until"] is None


def test_what_a_read_only_server_answers_is_not_recorded(scratch: Path) -> None:
    first = Server(scratch / "root", scratch)
    first.repository(REPOSITORY).push(image(), "v1")
    first.stop()
    before = {path: path.read_bytes() for path in first.root.rglob("*") if path.is_file()}
    server = Server(scratch / "root", scratch, {"read_only": True})
    assert server.repository(REPOSITORY).get("v1").status == 200
    server.stop()
    assert {path: path.read_bytes() for path in first.root.rglob("*") if path.is_file()} == before
