"""Who sees what a bundle brings, and who decides about it, on a server with access rules."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.api.people import Login, add_users, rules_file
from tests.api.server import Server, merged, moorage
from tests.e2e.images import NewImage
from tests.e2e.wire import Wire

RULES = """\
- {who: 'user:reader', repositories: ['**'], may: [pull, push, delete, list]}
- {who: 'user:alice', repositories: ['team/**'], may: [pull, approve]}
- {who: 'user:bob', repositories: ['**'], may: [pull, approve, admin]}
- {who: 'user:eve', repositories: ['other/**'], may: [pull, approve]}
- {who: 'user:dave', repositories: ['**'], may: [pull, approve]}
- {who: 'user:dave', repositories: ['team/**'], tags: ['1'], deny: [push]}
"""


@dataclass(frozen=True)
class Far:
    """A far side on which a bundle waits."""

    server: Server
    logins: dict[str, Login]
    bundle: str
    path: Path

    def decide(self, who: str, verb: str, **more: Any) -> tuple[int, Any]:
        """What the API answers."""
        wire = Wire(self.server.registry.host_port, self.logins[who].basic)
        headers = {"Content-Type": "application/json"}
        body = json.dumps({"id": self.bundle, **more}).encode()
        answer = wire.ask("POST", f"/api/v1/bundle/{verb}", headers, body)
        return answer.status, answer.json()

    def status(self, who: str, target: str, method: str = "GET") -> int:
        """What somebody is answered."""
        return Wire(self.server.registry.host_port, self.logins[who].basic).status(target, method)

    @property
    def waiting(self) -> str:
        """Where the manifest waits."""
        return f"/v2/staged/{self.bundle}/team/app/manifests/1"


@pytest.fixture
def far(scratch: Path, new_image: NewImage) -> Iterator[Far]:
    """Two approvals are needed."""
    key = json.loads(moorage("bundle", "key", "new", "--to", str(scratch), "--json").out)
    near = Server(scratch / "near", scratch, {"bundles": {"export": {"signing_key_file": key["private"]}}})
    Wire(near.registry.host_port).push("team/app", new_image(random_bytes=100), "1")
    path = scratch / "bundle"
    near.command("bundle", "export", "images", "--image", "team/app:1", "--to", str(path))
    near.stop()
    logins = add_users(scratch / "far", ["reader", "alice", "bob", "eve", "dave"])
    imports = {"trusted_keys": [key["public"]], "approvals": 2, "dir": str(scratch / "inbox")}
    settings = merged(rules_file(scratch, RULES), {"bundles": {"import": imports}})
    server = Server(scratch / "far", scratch, {**settings, "delete": {"enabled": True}})
    imported = json.loads(server.command("bundle", "import", str(path), "--json").out)
    assert imported["state"] == "staged"
    yield Far(server, logins, imported["id"], path)
    server.stop()


def test_only_who_may_approve_sees_what_waits(far: Far) -> None:
    assert far.status("alice", far.waiting) == 200
    assert far.status("bob", far.waiting) == 200
    assert far.status("reader", far.waiting) == 403
    assert far.status("eve", far.waiting) == 403
    wire = Wire(far.server.registry.host_port, far.logins["reader"].basic)
    assert wire.ask("GET", "/v2/_catalog").json()["repositories"] == []


def test_nobody_writes_there(far: Far) -> None:
    for who in ("reader", "alice", "bob"):
        assert far.status(who, f"/v2/staged/{far.bundle}/team/app/blobs/uploads/", "POST") == 403
        assert far.status(who, far.waiting, "DELETE") == 403


def test_two_people_decide(far: Far) -> None:
    assert far.decide("reader", "approve")[0] == 403
    assert far.decide("eve", "approve")[0] == 403
    status, told = far.decide("alice", "approve")
    assert (status, told["result"]["needed"]) == (200, 1)
    # Once more is not another person.
    assert far.decide("alice", "approve")[1]["result"]["needed"] == 1
    assert far.status("alice", "/v2/team/app/manifests/1") == 404
    status, told = far.decide("bob", "approve", note="scanned")
    assert (status, told["result"]["moved"]) == (200, 1)
    assert far.status("alice", "/v2/team/app/manifests/1") == 200
    assert far.status("alice", far.waiting) == 404
    status, told = far.decide("alice", "reject")
    assert status == 403
    assert "approved by" in told["errors"][0]["message"]


def test_what_a_rule_denies_for_a_tag_is_not_approved(far: Far) -> None:
    status, told = far.decide("dave", "approve")
    assert status == 403
    assert "access rule 6 (line 6) denies it: user:dave to create team/app:1" in told["errors"][0]["message"]
    assert told["errors"][0]["detail"] == {"action": "create", "name": "team/app", "tag": "1"}
    # It did not count.
    assert far.decide("alice", "approve")[1]["result"]["needed"] == 1
    assert far.decide("bob", "approve")[1]["result"]["moved"] == 1


def test_who_has_imported_it_is_nobody_else(far: Far) -> None:
    told = far.server.command("bundle", "approve", far.bundle, code=3)
    assert "has imported" in told.text


def test_a_file_that_cannot_be_written_is_told_before_anything_is_done(far: Far, scratch: Path) -> None:
    problems = {scratch / "none/receipt": "there is no directory", scratch: "it is a directory"}
    for file, problem in problems.items():
        told = far.server.command("bundle", "import", str(far.path), "--receipt-to", str(file), code=1)
        assert f"{file} cannot be written: {problem}" in told.err and "nothing was done" in told.err


def test_what_is_rejected_goes(far: Far) -> None:
    assert far.decide("alice", "reject", note="no")[0] == 200
    assert far.status("alice", far.waiting) == 404
    assert far.decide("alice", "approve")[0] == 403
    [shown] = json.loads(far.server.command("bundle", "list", "--json").out)["bundles"]
    assert shown["state"] == "rejected"


def test_over_the_network_it_is_imported_from_its_folder_alone(far: Far) -> None:
    shutil.copytree(far.path, far.path.parent / "inbox/bundle")
    wire = Wire(far.server.registry.host_port, far.logins["bob"].basic)
    headers = {"Content-Type": "application/json"}

    def imports(path: str) -> tuple[int, Any]:
        body = json.dumps({"path": [path], "dry_run": True}).encode()
        answer = wire.ask("POST", "/api/v1/bundle/import", headers, body)
        return answer.status, answer.json()

    assert imports("bundle")[1]["result"]["state"] == "checked"
    for path in (str(far.path), "../bundle", ".hidden", "/etc"):
        assert imports(path)[0] == 400
