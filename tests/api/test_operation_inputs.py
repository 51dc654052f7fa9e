"""The operations on users, keys, rules and the audit trail take any input that is none, and say so."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from registry.access.seal import new_key
from tests.api.client import Answer
from tests.api.conftest import Serve
from tests.api.people import Login, add_users, rules_file, token
from tests.api.server import Server, merged
from tests.equipment.absence import require_extra

RULES = "- {who: user:alice, repositories: ['**'], may: [pull, push, delete, list, admin]}\n"
ODD = (
    *("", " ", "\x00", "\ud800", "a\ud800b", "\u202e", "\n", "x" * 10_000, "../../etc", "a/b:c@d"),
    *(
        "user:",
        "user:\ud800",
        "key:",
        "key:\ud800",
        "key:" + "k" * 300,
        "ldap:eve",
        "issuer::",
        "token:x",
        ":",
    ),
    *("999999999999d", "999999999999w", "0d", "-1d", "9999-12-31", "0001-01-01T00:00:00+14:00"),
    *("9999-12-31T23:59:59-14:00", "\ud800=\ud800", "=", "a=\x00"),
)
# An input that each of them takes, so that one field at a time can be odd.
GOOD: dict[str, dict[str, Any]] = {
    "user/add": {"name": "new", "password": "good enough", "group": ["team"]},
    "user/show": {"name": "alice"},
    "user/set": {"name": "bob", "group": ["team"]},
    "user/password": {"name": "bob", "password": "good enough"},
    "user/enable": {"name": "bob"},
    "user/disable": {"name": "bob"},
    "user/remove": {"name": "bob", "dry_run": True},
    "apikey/add": {
        "name": "new",
        "repositories": "a/**",
        "may": "pull",
        "expires": "1d",
        "owner": "user:bob",
        "description": "a key",
    },
    "apikey/list": {"expiring": "1d"},
    "apikey/show": {"name": "ci"},
    "apikey/revoke": {"name": "ci", "dry_run": True},
    "access/explain": {
        "who": "user:bob",
        "action": "pull",
        "reference": "a/b:c",
        "group": ["group:a"],
        "claim": ["a=b"],
    },
    "access/logout": {"who": "user:bob"},
    "audit/list": {
        "since": "1d",
        "until": "1d",
        "who": "user:bob",
        "repository": "a/**",
        "last": "x",
    },
}


@pytest.fixture
def alice(tmp_path: Path) -> Login:
    return add_users(tmp_path / "data", ["alice", "bob"])["alice"]


@pytest.fixture
def server(serve: Serve, tmp_path: Path, alice: Login) -> Server:
    return serve(settings=rules_file(tmp_path, RULES))


def ask(server: Server, alice: Login, operation: str, given: object) -> Answer:
    """Ask for an operation."""
    fields = {**alice.basic, "Content-Type": "application/json"}
    return server.registry.ask("POST", f"/api/v1/{operation}", fields, json.dumps(given).encode())


def test_odd_input_is_answered_as_wrong_and_never_as_an_error_of_ours(server: Server, alice: Login) -> None:
    wrong = []
    for operation, good in GOOD.items():
        for field, value in good.items():
            for odd in ODD:
                given = {**good, field: [odd] if isinstance(value, list) else odd}
                answer = ask(server, alice, operation, given)
                if not (answer.status == 200 or 400 <= answer.status < 500):
                    wrong.append((operation, field, odd[:50], answer.status, answer.body))
    assert not wrong, "\n".join(map(str, wrong))
    assert ask(server, alice, "user/list", {}).status == 200


def test_a_secret_that_cannot_be_read_is_said_to_be_so_at_each_door(server: Server, alice: Login) -> None:
    bob = Login("bob", "any")
    for path in (server.root / "_moorage/v1/secret/accounts" / b"bob".hex()).iterdir():
        path.write_bytes(b"no document")
    answers = [
        ask(server, alice, "user/show", {"name": "bob"}),
        ask(server, alice, "user/password", {"name": "bob", "password": "good enough"}),
        ask(server, alice, "access/explain", {"who": "user:bob", "action": "pull", "reference": "a"}),
        server.registry.ask("GET", "/v2/", bob.basic),
        token(server.registry, bob, "repository:a:pull"),
    ]
    unavailable(server, *answers)
    assert "restore it from a backup" in server.log
    assert ask(server, alice, "user/show", {"name": "alice"}).status == 200


def test_a_directory_that_does_not_answer_is_said_to_be_so_at_each_door(
    serve: Serve, tmp_path: Path, alice: Login
) -> None:
    require_extra("ldap")
    with socket.socket() as silent:
        # Bound and not listening: whoever connects is turned away at once.
        silent.bind(("127.0.0.1", 0))
        directory = {
            "url": f"ldap://127.0.0.1:{silent.getsockname()[1]}",
            "user_base": "ou=people,dc=example,dc=com",
            "user_filter": "(uid={username})",
        }
        server = serve(settings=merged(rules_file(tmp_path, RULES), {"access": {"ldap": directory}}))
        key = {"name": "new", "repositories": "a/**", "may": "pull", "owner": "ldap:eve"}
        who = {"who": "ldap:eve", "action": "pull", "reference": "a"}
        answers = [
            ask(server, alice, "apikey/add", key),
            ask(server, alice, "access/explain", who),
            server.registry.ask("GET", "/v2/", Login("eve", "any").basic),
            token(server.registry, Login("eve", "any"), "repository:a:pull"),
        ]
        unavailable(server, *answers)
        assert ask(server, alice, "apikey/show", {"name": "new"}).status == 404
    told = json.loads(server.command("audit", "list", "--json").out)["entries"]
    assert [(entry["event"], entry["outcome"]) for entry in told] == [("access.changed", "failed")]


def test_signing_keys_that_have_gone_are_said_to_have(serve: Serve, tmp_path: Path, alice: Login) -> None:
    path = tmp_path / "signing.pem"
    path.write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    settings = merged(rules_file(tmp_path, RULES), {"access": {"tokens": {"signing_key_files": [str(path)]}}})
    server = serve(settings=settings)
    assert ask(server, alice, "access/show", {}).status == 200
    path.unlink()
    unavailable(server, ask(server, alice, "access/show", {}))
    assert token(server.registry, alice, "repository:a:pull").status == 200, (
        "the keys that are known still sign"
    )


def test_a_seal_key_that_has_gone_is_said_to_have(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "seal.key"
    path.write_text(new_key())
    path.chmod(0o600)
    server = serve(settings={"access": {"seal_key_file": str(path)}})
    path.unlink()
    unavailable(server, ask(server, Login("nobody", ""), "user/list", {}))


def unavailable(server: Server, *answers: Answer) -> None:
    """Each is 503, to be tried again, and tells nothing of what is where on the server."""
    for answer in answers:
        assert (answer.status, answer.json()["errors"][0]["code"]) == (503, "UNAVAILABLE"), answer
        assert answer["Retry-After"]
        assert str(server.root).encode() not in answer.body
        assert b"_moorage" not in answer.body
