"""Old tags go by rules that an operator writes: seen through servers, a client and the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.api.contents import image, index
from tests.api.server import Server
from tests.e2e.client import Client
from tests.equipment.absence import require
from tests.folders import make_older
from tests.server.conftest import until

RULES: dict[str, Any] = {
    "enforce": True,
    "interval": "1m",
    "max_delete_percent": 100,
    "rules": [
        {"name": "builds", "repositories": ["team/*"], "tags": ["b*"], "newest_pushed": 2},
        {"name": "cleaning", "repositories": ["**"], "untagged_for": "2d"},
    ],
}


@pytest.fixture
def root(scratch: Path) -> Iterator[Path]:
    """A month old: five builds, one of them signed, an index of what has no tag, and what nothing needs."""
    server = Server(scratch / "root", scratch)
    app = server.repository("team/app")
    builds = [app.push(image(), f"b{number}") for number in range(5)]
    app.push(image(), f"{builds[2].digest.replace(':', '-')}.sig")
    child = app.push(image())
    app.push(index([child.descriptor()]), "index")
    app.push(image())
    server.stop()
    # As Distribution leaves it, whose tags are as old as their links.
    shutil.rmtree(server.root / "_moorage/v1/history")
    make_older(server.root, 30 * 86400)
    # And pulls have been recorded for as long.
    (mark,) = (server.root / "_moorage/v1/pulls/uncovered").iterdir()
    mark.rename(mark.with_name(str((datetime.now(UTC) - timedelta(days=30)).date())))
    yield server.root


def tags(server: Server) -> list[str]:
    """What a client is told."""
    found: list[str] = server.repository("team/app").ask("GET", "tags/list").json()["tags"]
    return found


def test_a_server_lets_go_what_no_rule_keeps_and_a_tag_comes_back(root: Path, scratch: Path) -> None:
    crane = Client((str(require("crane")), "--insecure"), scratch)
    server = Server(root, scratch, {"retention": {**RULES, "enforce": False}})
    try:
        before = tags(server)
        gone = server.repository("team/app").get("b0")
        rehearsed = json.loads(server.command("retention", "run", "--dry-run", "--json").out)
        assert (rehearsed["tags_gone"], rehearsed["manifests_gone"]) == (3, 1)
        explained = server.command("retention", "explain", "team/app:b0").out
        assert explained.startswith(
            "team/app:b0 would go, were the rules enforced: nothing keeps it (builds)"
        )
        assert tags(server) == before
    finally:
        server.stop()
    server = Server(root, scratch, {"retention": RULES})
    try:
        until(lambda: bool(server.events("retention.ended")), "retention has run by itself")
        (ended, *_) = server.events("retention.ended")
        assert (ended["tags_gone"], ended["manifests_gone"], ended["dry_run"]) == (3, 1, False)
        assert tags(server) == [tag for tag in before if tag not in ("b0", "b1", "b2")]
        assert server.events("retention.stopped") == []
        status = json.loads(server.command("retention", "status", "--json").out)
        assert {one["tag"] for one in status["reports"][0]["decisions"]} == {"b0", "b1", "b2", ""}
        digest = gone["Docker-Content-Digest"]
        server.command("tag", "restore", f"team/app:b0@{digest}")
        reference = f"{server.registry.host_port}/team/app:b0"
        crane("pull", reference, scratch / "pulled.tar")
        assert crane("digest", reference).out.strip() == digest
    finally:
        server.stop()


def test_a_run_that_would_remove_too_much_ends_with_three(root: Path, scratch: Path) -> None:
    server = Server(root, scratch, {"retention": {**RULES, "max_delete_percent": 20, "interval": "1d"}})
    try:
        before = tags(server)
        refused = server.command("retention", "run", "--yes", code=3)
        assert "3 of the 7 tags of team would go, 43 %" in refused.out + refused.err
        assert tags(server) == before
        server.command("retention", "run", "--yes", "--max-delete-percent", "50")
        assert len(tags(server)) == len(before) - 3
    finally:
        server.stop()


def test_a_list_of_what_runs_keeps_it_and_none_stops_everything(root: Path, scratch: Path) -> None:
    listed = scratch / "in-use.txt"
    server = Server(root, scratch, {"retention": {**RULES, "in_use": [{"file": str(listed)}]}})
    try:
        until(lambda: bool(server.events("retention.stopped")), "retention has been stopped")
        refused = server.command("retention", "run", "--yes", code=3)
        assert f"{listed}, which lists what is in use, cannot be read" in refused.out
        assert len(tags(server)) == 7
        digest = server.repository("team/app").get("b0")["Docker-Content-Digest"]
        listed.write_text(f"elsewhere.example/app@{digest}\n")
        server.command("retention", "run", "--yes")
        assert [tag for tag in tags(server) if tag.startswith("b")] == ["b0", "b3", "b4"]
    finally:
        server.stop()
