"""A server collects by itself, by the settings that operators have, and tells of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.contents import digest_of, image
from tests.api.server import Server
from tests.durability.reader import tree_of, unneeded
from tests.folders import make_older

SETTINGS = {"gc": {"grace_period": "1h", "interval": "1m"}}


@pytest.fixture
def server(scratch: Path) -> Iterator[Server]:
    """One whose content, its first report too, is two hours old."""
    first = Server(scratch / "root", scratch, SETTINGS)
    app = first.repository("team/app")
    app.push(image(), "kept")
    app.push_blob(b"unneeded")
    gone = app.push(image(), "gone")
    assert app.ask("DELETE", f"manifests/{gone.digest}").status == 202
    wait_for_the_end(first)
    first.stop()
    make_older(first.root, 2 * 3600)
    server = Server(scratch / "root", scratch, SETTINGS)
    yield server
    server.stop()


def wait_for_the_end(server: Server) -> dict[str, object]:
    """What a server says of its first collection."""
    deadline = time.monotonic() + 30
    while not (ended := server.events("gc.ended")):
        assert time.monotonic() < deadline, server.log
        time.sleep(0.02)
    return ended[0]


def test_what_is_old_and_unneeded_goes_and_can_be_asked_about(server: Server) -> None:
    ended = wait_for_the_end(server)
    assert (ended["links_taken"], ended["blobs_taken"], ended["troubles"]) == (3, 4, 0)
    assert unneeded(tree_of(server.root)) == []
    status = json.loads(server.command("gc", "status", "--json").out)
    newest, first = status["reports"]
    assert (newest["by"], newest["phase"], newest["blobs_taken"]) == ("schedule", "done", 4)
    assert first["blobs_taken"] == 0 and status["holder"] is None
    app = server.repository("team/app")
    assert app.get("kept").status == 200
    digest = digest_of(b"unneeded")
    explained = json.loads(server.command("gc", "explain", digest, "--json").out)
    assert (
        explained["verdict"].startswith("taken by collection, needed by no manifest")
        and len(explained["trash"]) == 2
    )
    # Who may push finds it as before.
    assert app.ask("HEAD", f"blobs/{digest}").status == 200
    explained = json.loads(server.command("gc", "explain", digest, "--json").out)
    assert explained["verdict"] == "stays while a repository links to it"
    again = json.loads(server.command("gc", "run", "--yes", "--json").out)
    assert (again["links_taken"], again["blobs_taken"], again["kept_young"]) == (0, 0, 1)
