"""Collection beside a server that goes on: what is needed stays, and what a push relies on comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.conftest import Serve
from tests.api.contents import artifact, digest_of, image
from tests.api.registry import Repository
from tests.api.server import Server
from tests.folders import make_older

TWO_DAYS_SECONDS = 2 * 86_400.0


@pytest.fixture
def server(serve: Serve) -> Server:
    """One that collects only when it is told to."""
    return serve(settings={"gc": {"enabled": False}})


def collect(server: Server) -> dict[str, Any]:
    """Collect, by another process, in two days; its report."""
    let_two_days_pass(server)
    report: dict[str, Any] = json.loads(server.command("gc", "run", "--yes", "--json").out)
    return report


def let_two_days_pass(server: Server) -> None:
    """Let all that lies there have been written two days earlier."""
    make_older(server.root, TWO_DAYS_SECONDS)


def held(repository: Repository, *blobs: bytes) -> list[int]:
    """How a pull of each of these blobs is answered, its bytes having been compared."""
    answers = [repository.ask("GET", f"blobs/{digest_of(blob)}") for blob in blobs]
    assert all(
        answer.body == blob for answer, blob in zip(answers, blobs, strict=True) if answer.status == 200
    )
    return [answer.status for answer in answers]


def test_the_empty_config_stays_with_whom_it_is_needed(server: Server) -> None:
    """trap 37"""
    here, there = server.repository("here"), server.repository("there")
    subject = here.push(image(), "latest")
    kept = here.push(artifact(None, subject.descriptor()))
    gone = there.push(artifact(None, subject.descriptor()))
    assert there.ask("DELETE", f"manifests/{gone.digest}").status == 202
    assert collect(server)["links_taken"] == 2
    let_two_days_pass(server)
    server.command("trash", "empty", "--yes")
    assert held(there, *gone.blobs) == [404, 404]
    assert held(here, *kept.blobs) == [200, 200]
    assert here.referrers(subject.digest) == [kept.digest]
    assert held(there, *there.push(artifact(None, subject.descriptor())).blobs) == [200, 200]


def test_a_push_that_relies_on_what_was_just_taken_is_whole(server: Server) -> None:
    """trap 79"""
    repository = server.repository("team/app")
    made = image()
    for blob in made.blobs:
        digest = repository.push_blob(blob)
        assert repository.ask("HEAD", f"blobs/{digest}").status == 200, "so no client sends it again"
    assert collect(server)["links_taken"] == 2
    assert repository.put(made, "latest").status == 201
    assert held(repository, *made.blobs) == [200, 200]
    assert collect(server)["links_taken"] == 0
    assert held(repository, *made.blobs) == [200, 200]


def test_a_push_that_relies_on_what_somebody_deleted_is_refused(server: Server) -> None:
    """trap 79"""
    repository = server.repository("team/app")
    made = image()
    for blob in made.blobs:
        repository.push_blob(blob)
    assert repository.ask("DELETE", f"blobs/{digest_of(made.blobs[1])}").status == 202
    collect(server)
    assert repository.put(made, "latest").refuses(400, "MANIFEST_BLOB_UNKNOWN")
    assert repository.get("latest").refuses(404, "MANIFEST_UNKNOWN")
