"""Secrets go in by every door, and are looked for in all that comes out: logs, answers, metrics, settings."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.client import Answer
from tests.api.conftest import Serve
from tests.api.people import Login, add_key, add_users, post_token, rules_file, token
from tests.api.registry import Registry

RULES = "- {who: user:alice, repositories: ['**'], may: [pull, push, delete, list, admin]}\n"


def canary() -> str:
    """A secret that nothing else can be."""
    return f"canary{secrets.token_hex(12)}"


def basic(name: str, password: str) -> dict[str, str]:
    """Credentials of nobody."""
    return Login(name, password).basic


def jwt_like(word: str) -> str:
    """What looks like a token, and has the word in it."""
    part = base64.urlsafe_b64encode(json.dumps({"secret": word}).encode()).rstrip(b"=").decode()
    return f"{part}.{part}.{word}"


# What somebody may send that nobody else shall read; each is given a canary.
DOORS: dict[str, Callable[[Registry, Login, str], Answer]] = {
    "password": lambda registry, _, word: registry.ask("GET", "/v2/", basic("alice", word)),
    "password at the token endpoint": lambda registry, _, word: token(registry, Login("alice", word)),
    "password in a form": lambda registry, _, word: post_token(
        registry, ("grant_type", "password"), ("username", "alice"), ("password", word)
    ),
    "identity token": lambda registry, _, word: post_token(
        registry, ("grant_type", "refresh_token"), ("refresh_token", f"moorage.identity.{'0' * 32}.{word}")
    ),
    "key": lambda registry, _, word: registry.ask("GET", "/v2/", basic("ci", f"moorage_ci_{word}")),
    "key as a bearer": lambda registry, _, word: registry.ask(
        "GET", "/v2/", {"Authorization": f"Bearer moorage_ci_{word}"}
    ),
    "token": lambda registry, _, word: registry.ask(
        "GET", "/v2/", {"Authorization": f"Bearer {jwt_like(word)}"}
    ),
    "token with nonsense around it": lambda registry, _, word: registry.ask(
        "GET", "/v2/", {"Authorization": f"Bearer  {word} {word}"}
    ),
    "another scheme": lambda registry, _, word: registry.ask(
        "GET", "/v2/", {"Authorization": f"Digest response={word}"}
    ),
    "Basic that is none": lambda registry, _, word: registry.ask(
        "GET", "/v2/", {"Authorization": f"Basic {word}"}
    ),
    "two headers": lambda registry, _, word: registry.ask(
        "GET", "/v2/", [("Authorization", f"Bearer {word}"), ("Authorization", f"Basic {word}")]
    ),
    "cookie": lambda registry, _, word: registry.ask("GET", "/v2/", {"Cookie": f"session={word}"}),
    "new password": lambda registry, alice, word: registry.ask(
        "POST",
        "/api/v1/user/add",
        {**alice.basic, "Content-Type": "application/json"},
        json.dumps({"name": f"u{secrets.token_hex(4)}", "password": word}).encode(),
    ),
    "new password for nobody": lambda registry, alice, word: registry.ask(
        "POST",
        "/api/v1/user/password",
        {**alice.basic, "Content-Type": "application/json"},
        json.dumps({"name": "nobody", "password": word}).encode(),
    ),
    "new password that is no text": lambda registry, alice, word: registry.ask(
        "POST",
        "/api/v1/user/add",
        {**alice.basic, "Content-Type": "application/json"},
        json.dumps({"name": "x y", "password": [word], "more": 1}).encode(),
    ),
    "new password in a body that is none": lambda registry, alice, word: registry.ask(
        "POST",
        "/api/v1/user/add",
        {**alice.basic, "Content-Type": "application/json"},
        f'{{"name": "a", "password": "{word}"'.encode(),
    ),
}


def forms(word: str) -> list[bytes]:
    """The word as it may come out: as it is, and within credentials in base64 at each of the three shifts."""
    shifted = (base64.b64encode(b"x" * shift + word.encode())[4:-4] for shift in range(3))
    return [word.encode(), *shifted]


def test_what_goes_in_secret_does_not_come_out(serve: Serve, tmp_path: Path) -> None:
    alice = add_users(tmp_path / "data", ["alice"])["alice"]
    server = serve(settings={**rules_file(tmp_path, RULES), "log": {"level": "debug"}})
    registry = server.registry
    words = {door: canary() for door in DOORS}
    out: dict[str, bytes] = {}
    for door, ask in DOORS.items():
        answer = ask(registry, alice, words[door])
        assert answer.status < 500, (door, answer)
        out[f"answer to {door}"] = answer.body + repr(answer.headers).encode()
    key = add_key(server, "ci", "--repositories", "**", "--may", "pull")
    words["real key"], words["real password"] = key.password, alice.password
    made = token(registry, alice, "repository:a:pull", offline_token="true").json()
    words["real token"], words["real identity token"] = made["token"], made["refresh_token"]
    assert registry.ask("GET", "/v2/", {"Authorization": f"Bearer {made['token']}"}).status == 200
    assert (
        post_token(registry, ("grant_type", "refresh_token"), ("refresh_token", made["refresh_token"])).status
        == 200
    )
    for words_of in (("user", "list"), ("apikey", "list"), ("access", "show"), ("config", "show")):
        out[" ".join(words_of)] = server.command(*words_of).text.encode()
    out["metrics"] = ops(server.log).body
    out["log"] = server.log.encode()
    for place, text in out.items():
        for door, word in words.items():
            assert not [form for form in forms(word) if form in text], (door, place)


def test_what_is_stored_holds_no_secret_in_the_clear(serve: Serve, tmp_path: Path) -> None:
    alice = add_users(tmp_path / "data", ["alice"])["alice"]
    server = serve(settings=rules_file(tmp_path, RULES))
    key = add_key(server, "ci", "--repositories", "**", "--may", "pull")
    identity = token(server.registry, alice, offline_token="true").json()["refresh_token"]
    stored = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    for path in stored:
        for secret in (alice.password, key.password.split("_", 2)[2], identity.rpartition(".")[2]):
            assert secret.encode() not in path.read_bytes(), path
    kept = [path for path in stored if "_moorage/v1/secret" in str(path)]
    assert kept and {path.stat().st_mode & 0o077 for path in kept} == {0}


def ops(log: str) -> Answer:
    """The metrics, from the listener that the server says it has for them."""
    found = re.search(r"metrics and health: http://([0-9.:]+)", log)
    assert found is not None, log
    return Registry(found[1]).ask("GET", "/metrics")


@pytest.mark.parametrize("word", ["canary" + "0" * 20])
def test_a_canary_that_comes_out_would_be_seen(word: str) -> None:
    for text in (word.encode(), base64.b64encode(f"alice:{word}".encode())):
        assert [form for form in forms(word) if form in text]
