"""Logins in the audit trail of a real server: each that fails, one that succeeds, and no secret of either."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.api.conftest import Serve
from tests.api.people import Login, add_key, add_users, bearer, post_token, rules_file, token
from tests.api.server import Server
from tests.api.test_audit import Line, lines, whole

RULES = "- {who: user:alice, repositories: ['**'], may: [pull, push, delete, list, admin]}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


@pytest.fixture
def alice(tmp_path: Path) -> Login:
    return add_users(tmp_path / "data", ["alice"])["alice"]


@pytest.fixture
def server(serve: Serve, path: Path, tmp_path: Path, alice: Login) -> Server:
    return serve(settings={**rules_file(tmp_path, RULES), "audit": {"file": str(path)}})


def told(path: Path, after: int = 0) -> list[tuple[str, str, str, str]]:
    """Event, who, how and outcome of the lines."""
    return [
        (line["event"], line.get("who", ""), line.get("via", ""), line["outcome"])
        for line in lines(path)[after:]
        if not line["event"].startswith("audit.")
    ]


def asked_with(server: Server, login: Login, agent: str = "a test/1") -> int:
    """The status of `GET /v2/` with a name and a password."""
    return server.registry.ask("GET", "/v2/", {**login.basic, "User-Agent": agent}).status


def test_a_login_is_told_once_and_each_that_fails(server: Server, path: Path, alice: Login) -> None:
    for _ in range(3):
        assert asked_with(server, alice) == 200
    assert asked_with(server, Login("alice", "wrong")) == 401
    assert asked_with(server, Login("nobody", "wrong")) == 401
    assert asked_with(server, Login("nobody", "wrong")) == 401
    assert told(path) == [
        ("login.succeeded", "user:alice", "basic", "done"),
        ("login.failed", "alice", "basic", "refused"),
        ("login.failed", "nobody", "basic", "refused"),
        ("login.failed", "nobody", "basic", "refused"),
    ]
    failed: Line = lines(path)[2]
    assert (failed["address"], failed["agent"]) == ("127.0.0.1", "a test/1")
    assert failed["rule"] == "the user name or password is incorrect"
    assert failed["request"]
    whole(path)


def test_the_operations_api_tells_of_logins_too(server: Server, path: Path, alice: Login) -> None:
    fields = {"Content-Type": "application/json"}
    for login, status in ((alice, 200), (Login("alice", "wrong"), 401)):
        answer = server.registry.ask("POST", "/api/v1/user/list", {**login.basic, **fields}, b"{}")
        assert answer.status == status
    assert told(path) == [
        ("login.succeeded", "user:alice", "basic", "done"),
        ("login.failed", "alice", "basic", "refused"),
    ]


def test_the_token_endpoint_tells_once_of_each_way_to_log_in(
    server: Server, path: Path, alice: Login
) -> None:
    registry = server.registry
    made = token(registry, alice, "repository:a:pull", offline_token="true")
    assert token(registry, alice, "repository:a:pull").status == 200
    assert token(registry, Login("alice", "wrong")).refuses(401, "UNAUTHORIZED")
    form = (("grant_type", "password"), ("username", "alice"), ("password", "wrong"))
    assert post_token(registry, *form).refuses(401, "UNAUTHORIZED")
    for identity, status in ((made.json()["refresh_token"], 200), (f"moorage.identity.{'0' * 32}.a", 401)):
        asked = post_token(registry, ("grant_type", "refresh_token"), ("refresh_token", identity))
        assert asked.status == status
    assert told(path) == [
        ("login.succeeded", "user:alice", "basic", "done"),
        ("login.failed", "alice", "basic", "refused"),
        ("login.failed", "alice", "basic", "refused"),
        ("login.succeeded", "user:alice", "token", "done"),
        ("login.failed", "", "token", "refused"),
    ]
    # With the token itself nobody logs in, and nobody in particular is merely asked to.
    assert registry.ask("GET", "/v2/", bearer(made)).status == 200
    assert registry.ask("GET", "/auth/token").status == 401
    assert len(told(path)) == 5


def test_what_the_token_endpoint_refuses_without_a_login_is_a_refusal(server: Server, path: Path) -> None:
    for authorization in ("Bearer a.b.c", "Basic nonsense"):
        answer = server.registry.ask("GET", "/auth/token", {"Authorization": authorization})
        assert answer.refuses(401, "UNAUTHORIZED")
    assert told(path) == [
        ("request.refused", "", "token", "refused"),
        ("request.refused", "", "basic", "refused"),
    ]
    assert lines(path)[1]["detail"] == "UNAUTHORIZED: GET /auth/token"


def test_keys_and_whoever_is_disabled(server: Server, path: Path, alice: Login) -> None:
    key = add_key(server, "ci", "--repositories", "**", "--may", "pull", "--owner", "user:alice")
    assert asked_with(server, Login("anything", key.password)) == 200
    server.command("user", "disable", "alice")
    (listed,) = json.loads(server.command("apikey", "list", "--json").out)["keys"]
    assert listed["state"] == "owner disabled"
    assert "owner disabled" in server.command("apikey", "list").out
    before = len(lines(path))
    assert asked_with(server, Login("anything", key.password)) == 401
    assert asked_with(server, alice) == 401
    # A key in the place of a name.
    assert asked_with(server, Login(key.password, "x")) == 401
    assert told(path, before) == [
        ("login.failed", "key:ci", "apikey", "refused"),
        ("login.failed", "alice", "basic", "refused"),
        ("login.failed", "", "basic", "refused"),
    ]
    assert ("login.succeeded", "key:ci", "apikey", "done") in told(path)
    assert key.password not in path.read_text() and alice.password not in path.read_text()


def test_a_login_that_was_slowed_says_so(server: Server, path: Path) -> None:
    for _ in range(5):
        assert asked_with(server, Login("alice", "wrong")) == 401
    details = [line.get("detail", "") for line in lines(path)[1:]]
    assert details[:3] == [""] * 3
    assert details[-1].startswith("slowed by "), details


@pytest.mark.parametrize("where", ["/api/v1/", "/v2/"])
def test_who_is_turned_away_at_the_door_is_told(serve: Serve, path: Path, where: str) -> None:
    server = serve(settings={"audit": {"file": str(path)}})
    assert server.registry.ask("GET", where, {"Host": "evil.example"}).refuses(403, "DENIED")
    (line,) = lines(path)[1:]
    assert (line["event"], line["address"], line["outcome"]) == ("request.refused", "127.0.0.1", "refused")
    assert line["detail"] == f"DENIED: GET {where}"
