"""Access rules change while the server serves, and no request in between sees anything else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.conftest import Serve
from tests.api.people import add_users, bearer, token
from tests.api.server import Server

RULES = "- {{who: anonymous, repositories: ['{repositories}'], may: [pull, push]}}\n"


def written(path: Path, text: str) -> Path:
    beside = path.with_name("beside.yaml")
    beside.write_text(text)
    os.replace(beside, path)
    return path


def until(met: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not met():
        assert time.monotonic() < deadline, f"waited in vain for {what}"


def may_push(server: Server, name: str) -> bool:
    status = server.registry.ask("POST", f"/v2/{name}/blobs/uploads/").status
    assert status in (202, 403)
    return status == 202


@pytest.mark.parametrize("workers", [1, 2])
def test_new_rules_count_without_a_restart_and_bad_ones_leave_the_old(
    serve: Serve, tmp_path: Path, workers: int
) -> None:
    rules = written(tmp_path / "access.yaml", RULES.format(repositories="a"))
    server = serve(settings={"access": {"rules_file": str(rules), "check_seconds": 0.01}, "workers": workers})
    until(lambda: len(server.events("server.started")) == workers, "all workers")
    assert may_push(server, "a") and not may_push(server, "b")

    written(rules, RULES.format(repositories="b"))
    until(lambda: len(server.events("access.reloaded")) == workers, "the new rules")
    assert may_push(server, "b") and not may_push(server, "a")

    written(rules, RULES.format(repositories="a/{{"))
    until(lambda: len(server.events("access.refused")) == workers, "the refusal of bad rules")
    assert may_push(server, "b") and not may_push(server, "a")
    refusal = server.events("access.refused")[0]
    assert (refusal["what"], refusal["file"]) == ("access rules", str(rules))
    assert f"{rules}:1: repositories[0]" in refusal["reason"]

    written(rules, RULES.format(repositories="a"))
    until(lambda: len(server.events("access.reloaded")) == 2 * workers, "the good rules after them")
    assert may_push(server, "a") and not may_push(server, "b")


def test_rules_that_begin_to_know_people_let_them_log_in(serve: Serve, tmp_path: Path) -> None:
    rules = written(tmp_path / "access.yaml", RULES.format(repositories="a"))
    alice = add_users(tmp_path / "data", ["alice"])["alice"]
    access = {"rules_file": str(rules), "check_seconds": 0.01, "passwords": {"cost": 10}}
    server = serve(settings={"access": access})
    assert may_push(server, "a") and server.registry.ask("GET", "/v2/").status == 200

    written(rules, RULES.format(repositories="a").replace("anonymous", "user:alice"))
    until(lambda: server.registry.ask("GET", "/auth/token?service=any").status != 404, "tokens")
    assert server.registry.ask("GET", "/v2/").status == 401
    answer = token(server.registry, alice, "repository:a:pull,push")
    assert server.registry.ask("POST", "/v2/a/blobs/uploads/", bearer(answer)).status == 202
    assert server.registry.ask("POST", "/v2/a/blobs/uploads/").status == 401
