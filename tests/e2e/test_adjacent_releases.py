"""Two releases of adjacent levels serve one store together, until the newer one raises its format."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.store import layout
from tests.api.contents import Manifest, digest_of, image
from tests.api.server import Server, configuration, environment, moorage
from tests.e2e.processes import Result, run
from tests.server.conftest import until

NAME = "team/app"


@pytest.fixture
def root(scratch: Path) -> Path:
    """The store."""
    return scratch / "root"


@pytest.fixture
def older(root: Path, scratch: Path) -> Iterator[Server]:
    """This release, which begins the store."""
    server = Server(root, scratch)
    yield server
    server.stop()


@pytest.fixture
def newer(root: Path, scratch: Path, older: Server) -> Iterator[Server]:
    """The next one, on the same store."""
    assert older.registry.host_port
    server = Server(root, scratch, program="tests.e2e.next_release")
    yield server
    server.stop()


def upgrade(root: Path, scratch: Path) -> Result:
    """By the next release."""
    (config := scratch / "upgrading.yaml").write_text(json.dumps(configuration(root, {})))
    command = [sys.executable, "-m", "tests.e2e.next_release", "storage", "upgrade", "--config", config]
    return run(command, environ=environment())


def pushed_by(server: Server, tag: str) -> Manifest:
    return server.repository(NAME).push(image([os.urandom(100)]), tag)


def test_adjacent_releases(older: Server, newer: Server, root: Path, scratch: Path) -> None:
    images = {"old": pushed_by(older, "old"), "new": pushed_by(newer, "new")}
    # A session that the one begins is finished by the other, and each deletes what the other has pushed.
    session = older.repository(NAME).begin()
    answer = newer.registry.ask("PATCH", session, body=b"half")
    assert answer.status == 202
    closed = older.repository(NAME).close(answer["Location"], digest_of(b"half and half"), b" and half")
    assert closed.status == 201
    for server, other in ((older, newer), (newer, older)):
        gone = pushed_by(server, "gone")
        assert other.repository(NAME).ask("DELETE", f"manifests/{gone.digest}").status == 202
        assert server.repository(NAME).get("gone").status == 404
    serve_all(older, newer, images)
    # The newer one alone does not raise it.
    assert json.loads((root / layout.FORMAT).read_text()) == {"oldest_writer": 1}
    assert "already at level 1" in moorage("storage", "upgrade", "--root", str(root)).out

    assert "was at level 1 and is at level 2 now" in upgrade(root, scratch).out
    until(lambda: bool(older.events("format.outdated")), "the older one has seen it")
    serve_all(older, newer, images)
    assert older.repository(NAME).ask("POST", "blobs/uploads/").refuses(503, "UNAVAILABLE")
    images["newest"] = pushed_by(newer, "newest")
    serve_all(older, newer, images)
    refused = moorage("storage", "upgrade", "--root", str(root), code=3)
    assert "level 2" in refused.err
    assert json.loads((root / layout.FORMAT).read_text()) == {"oldest_writer": 2}
    assert "already at level 2" in upgrade(root, scratch).out


def serve_all(older: Server, newer: Server, images: dict[str, Manifest]) -> None:
    """Either serves what both have pushed."""
    for server in (older, newer):
        repository = server.repository(NAME)
        assert repository.tags() == sorted(images)
        for tag, made in images.items():
            assert repository.get(tag).body == made.data
            for blob in made.blobs:
                assert repository.ask("GET", f"blobs/{digest_of(blob)}").body == blob
