"""People of an htpasswd file and of a directory log in to a real server, as clients do."""

from __future__ import annotations

import base64
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.access.slapd import PEOPLE, Slapd, group, person
from tests.api.client import Answer
from tests.api.people import Login, add_users, bearer, post_token, token
from tests.api.server import Server

# Drives real servers.
pytestmark = pytest.mark.e2e

RULES = """\
- {who: 'htpasswd:alice', repositories: ['file/**'], may: [pull, push]}
- {who: 'user:alice', repositories: ['account/**'], may: [pull, push]}
- {who: ['ldap:alice', 'ldap-group:Platform Team'], repositories: ['directory/**'], may: [pull, push]}
- {who: authenticated, repositories: ['users/{user}/**'], may: [pull, push]}
"""

Serve = Callable[[Mapping[str, Any]], Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a server with these settings of access."""
    started: list[Server] = []
    (tmp_path / "access.yaml").write_text(RULES)

    def start(access: Mapping[str, Any]) -> Server:
        common = {
            "rules_file": str(tmp_path / "access.yaml"),
            "check_seconds": 0.01,
            "passwords": {"cost": 10},
        }
        started.append(Server(tmp_path / "data", tmp_path, {"access": {**common, **access}}))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def line(login: Login) -> str:
    """Somebody's line in an htpasswd file."""
    return f"{login.name}:{bcrypt.hashpw(login.password.encode(), bcrypt.gensalt(4)).decode()}\n"


def new(name: str) -> Login:
    """A name with a password of its own."""
    return Login(name, secrets.token_urlsafe(12))


def may_push(server: Server, login: Login, repository: str) -> bool:
    """Whether somebody with a token may push there, and as well with the password itself."""
    path = f"/v2/{repository}/blobs/uploads/"
    with_token = bearer(token(server.registry, login, f"repository:{repository}:pull,push"))
    statuses = {server.registry.ask("POST", path, headers).status for headers in (with_token, login.basic)}
    assert statuses in ({202}, {403}), statuses
    return statuses == {202}


def refused(server: Server, login: Login) -> bool:
    """Whether the name and the password are not good."""
    answer = token(server.registry, login)
    assert answer.status in (200, 401)
    return answer.status == 401 and answer.refuses(401, "UNAUTHORIZED")


def until(met: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not met():
        assert time.monotonic() < deadline, f"waited in vain for {what}"


def claims(answer: Answer) -> dict[str, Any]:
    """What a token says."""
    assert answer.status == 200, answer
    body = answer.json()["token"].split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


def test_a_team_with_an_htpasswd_file(serve: Serve, tmp_path: Path) -> None:
    alice, bob = new("alice"), new("bob")
    people = tmp_path / "people"
    people.write_text(line(alice))
    server = serve({"htpasswd_file": str(people)})
    assert may_push(server, alice, "file/a") and may_push(server, alice, "users/alice/a")
    assert not may_push(server, alice, "account/a") and not may_push(server, alice, "users/bob/a")
    assert refused(server, Login("alice", bob.password)) and refused(server, bob)
    identity = token(server.registry, alice, offline_token="true").json()["refresh_token"]

    (tmp_path / "beside").write_text(line(alice) + line(bob))
    os.replace(tmp_path / "beside", people)
    until(lambda: not refused(server, bob), "bob to be known")
    assert may_push(server, bob, "users/bob/a") and may_push(server, alice, "file/a")

    people.write_text((line(alice) + line(bob))[:-20])
    until(lambda: "access.refused" in server.log, "half a file to be refused")
    assert may_push(server, bob, "users/bob/a") and may_push(server, alice, "file/a")

    changed = new("alice")
    (tmp_path / "beside").write_text(line(changed))
    os.replace(tmp_path / "beside", people)
    until(lambda: refused(server, alice), "the new password to count")
    assert may_push(server, changed, "file/a") and refused(server, bob)
    renewing = post_token(
        server.registry, ("grant_type", "refresh_token"), ("service", "any"), ("refresh_token", identity)
    )
    assert renewing.status == 401, "what was believed of the old password is not of the new one"
    for login in (alice, bob, changed):
        assert login.password not in server.log


def test_an_account_of_ours_comes_before_the_file(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "people").write_text(line(other := new("alice")))
    ours = add_users(tmp_path / "data", ["alice"])["alice"]
    server = serve({"htpasswd_file": str(tmp_path / "people")})
    assert may_push(server, ours, "account/a") and not may_push(server, ours, "file/a")
    assert refused(server, other)


def test_a_file_that_is_no_good_ends_the_start(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "people").write_text(f"alice:{(secret := secrets.token_hex())}\n")
    with pytest.raises(AssertionError) as raised:
        serve({"htpasswd_file": str(tmp_path / "people")})
    assert f"{tmp_path}/people:1: what follows the colon is no whole bcrypt hash" in str(raised.value)
    assert secret not in str(raised.value)


@pytest.fixture
def alice(slapd: Slapd) -> Iterator[Login]:
    """Alice in the directory, and in a group."""
    login = new("Alice")
    dn = f"uid=Alice,{PEOPLE}"
    slapd.add(person("Alice", userPassword=login.password), group("Platform Team", dn))
    yield login
    slapd.delete(dn, f"cn=Platform Team,ou=groups,{PEOPLE.partition(',')[2]}")


def test_people_of_a_directory(serve: Serve, slapd: Slapd, alice: Login) -> None:
    bob = new(f"bob{secrets.token_hex(3)}")
    dn = f"uid={bob.name},{PEOPLE}"
    slapd.add(person(bob.name, userPassword=bob.password))
    settings = slapd.settings({"ca_file": str(slapd.folder / "server.crt"), "start_tls": True})
    server = serve({"ldap": settings})
    assert may_push(server, alice, "directory/a") and may_push(server, alice, "users/alice/a")
    assert not may_push(server, bob, "directory/a") and may_push(server, bob, f"users/{bob.name}/a")
    assert refused(server, Login("alice", bob.password)) and refused(server, Login("nobody", "x"))
    for login in (Login("alice", ""), Login("*", alice.password), Login("a" * 10_000, "x")):
        assert refused(server, login)
    assert claims(token(server.registry, Login("ALICE", alice.password)))["sub"] == "ldap:alice"

    # Once there is an account, it decides, and in whatever case the name is written.
    ours = Login("ALICE", secrets.token_urlsafe(12))
    server.command("user", "add", "alice", "--password-stdin", given=ours.password)
    assert refused(server, alice) and refused(server, Login("ALICE", alice.password))
    assert claims(token(server.registry, ours))["sub"] == "user:alice"
    server.command("user", "remove", "ALICE", "--yes")
    assert refused(server, ours) and not refused(server, alice)

    # A token says which groups there were; who renews an identity token has those of now.
    identity = token(server.registry, bob, offline_token="true").json()["refresh_token"]
    slapd.modify(f"cn=Platform Team,ou=groups,{PEOPLE.partition(',')[2]}", f"add: member\nmember: {dn}\n")
    renewed = post_token(
        server.registry,
        ("grant_type", "refresh_token"),
        ("service", "any"),
        ("refresh_token", identity),
        ("scope", "repository:directory/a:pull,push"),
    )
    assert renewed.status == 200, renewed
    headers = {"Authorization": f"Bearer {renewed.json()['access_token']}"}
    assert server.registry.ask("POST", "/v2/directory/a/blobs/uploads/", headers).status == 202
    explained = server.command("access", "explain", f"ldap:{bob.name}", "push", "directory/a")
    assert "access rule 3" in explained.out

    slapd.delete(dn)
    assert refused(server, bob)
    gone = post_token(
        server.registry, ("grant_type", "refresh_token"), ("service", "any"), ("refresh_token", identity)
    )
    assert gone.status == 401
    for secret in (alice.password, bob.password, slapd.service_password):
        assert secret not in server.log
        assert secret not in server.command("config", "show").text


def test_a_directory_that_cannot_be_asked_is_no_reason_to_fail(
    serve: Serve, slapd: Slapd, alice: Login, tmp_path: Path
) -> None:
    """Those whom a source before it knows do not even notice."""
    ours = add_users(tmp_path / "data", ["carol"])["carol"]
    (tmp_path / "people").write_text(line(bob := new("bob")))
    settings = slapd.settings({"timeout_seconds": 0.5})
    server = serve({"ldap": settings, "htpasswd_file": str(tmp_path / "people")})
    held = bearer(token(server.registry, alice, "repository:directory/a:pull,push"))
    slapd.pause()
    try:
        answer = token(server.registry, alice)
        assert answer.refuses(503, "UNAVAILABLE") and answer["Retry-After"]
        assert not refused(server, bob) and not refused(server, ours)
        assert server.registry.ask("POST", "/v2/directory/a/blobs/uploads/", held).status == 202
        asked = server.command("access", "explain", "ldap:alice", "push", "directory/a", code=None)
        assert asked.code == 1 and "ldap://" in asked.err and "Traceback" not in asked.err
        assert "Traceback" not in asked.text
    finally:
        slapd.resume()
    assert not refused(server, alice)
    assert "no answer within 0.5 s" in server.log and "Traceback" not in server.log
    assert alice.password not in server.log
