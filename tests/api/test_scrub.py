"""A scrub of a directory beside a server that goes on: a flipped bit is found, not served, and healed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Serve
from tests.api.contents import digest_of, image
from tests.api.server import Server
from tests.api.tree import Tree


@pytest.fixture
def server(serve: Serve) -> Server:
    """One that reads no manifest from its memory."""
    return serve(settings={"gc": {"enabled": False}, "cache": {"manifests": "0B"}})


def flip(path: Path) -> None:
    """Let one bit in the middle be another, the file being as long and as old as before."""
    data, was = bytearray(path.read_bytes()), path.stat()
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def scrub(server: Server, *options: str, code: int = 0) -> dict[str, Any]:
    """Scrub, by another process; its report."""
    report: dict[str, Any] = json.loads(server.command("scrub", "run", "--json", *options, code=code).out)
    return report


def test_a_flipped_bit_is_found_set_aside_and_healed(server: Server) -> None:
    layer = os.urandom(3 << 20)
    here, there = server.repository("here"), server.repository("there")
    made = here.push(image([layer]), "latest")
    there.push_blob(layer)
    other = here.push(image(), "other")
    tree = Tree(server.root)
    digest = digest_of(layer)
    assert scrub(server, "--yes")["damaged"] == []
    for damaged in (digest, other.digest):
        flip(tree.blob_file(damaged))
    spoilt = tree.blob_file(digest).read_bytes()
    told = scrub(server, "--dry-run", code=4)["damaged"]
    assert {one["content"]: one["outcome"] for one in told} == {digest: "left", other.digest: "left"}
    assert here.ask("GET", f"blobs/{digest}").body == spoilt, "so it would be served"
    found = {one["content"]: one for one in scrub(server, "--yes", code=4)["damaged"]}
    assert {digest: "set aside", other.digest: "set aside"} == {
        content: one["outcome"] for content, one in found.items()
    }
    assert found[digest]["repositories"] == ["here", "there"]
    assert found[other.digest]["repositories"] == ["here"]
    for repository in (here, there):
        for method in ("GET", "HEAD"):
            assert repository.ask(method, f"blobs/{digest}").status == 404
    assert here.get("other").status == 404
    (kept,) = (server.root / "_moorage/v1/quarantine/sha256" / digest.partition(":")[2]).iterdir()
    assert kept.read_bytes() == spoilt
    status = json.loads(server.command("scrub", "status", "--json").out)
    assert [len(report["damaged"]) for report in status["reports"]] == [2, 0]
    here.push(made, "latest")
    here.push(other, "other")
    assert there.ask("GET", f"blobs/{digest}").body == layer
    assert here.get("other").body == other.data
    assert scrub(server, "--yes")["damaged"] == []


def test_a_sound_copy_in_the_trash_heals_it_at_once(server: Server) -> None:
    layer = os.urandom(1 << 20)
    repository = server.repository("team/app")
    repository.push(image([layer]), "latest")
    file = Tree(server.root).blob_file(digest_of(layer))
    copy = server.root / "_moorage/v1/trash/data/sha256" / file.parent.name / "c-earlier"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(layer)
    flip(file)
    answer = server.registry.ask("POST", "/api/v1/scrub/run", {"Content-Type": "application/json"}, b"{}")
    assert answer.status == 200
    (one,) = answer.json()["result"]["damaged"]
    assert (one["outcome"], one["repositories"]) == ("put back", ["team/app"])
    assert repository.ask("GET", f"blobs/{digest_of(layer)}").body == layer
