from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.api.client import Answer
from tests.api.conftest import Serve
from tests.api.contents import digest_of
from tests.api.people import Login, add_key, add_users, bearer, post_token, rules_file, shifted, token
from tests.api.registry import Registry
from tests.api.server import Server

RULES = """\
- {who: anonymous, repositories: ['public/**'], may: [pull]}
- {who: user:alice, repositories: ['team/**', 'public/**'], may: [pull, push, list]}
"""
WANTED = "repository:team/app:pull,push"
Granted = Callable[..., str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tokens")
    logins.update(add_users(folder / "data", ["alice", "bob"]))
    started = Server(folder / "data", folder, rules_file(folder, RULES))
    yield started
    started.stop()


logins: dict[str, Login] = {}


@pytest.fixture
def alice(server: Server) -> Login:
    return logins["alice"]


def good(answer: Answer) -> dict[str, Any]:
    """The document of a token, as Go clients decode it."""
    assert answer.status == 200 and answer["Cache-Control"] == "no-store", answer
    document: dict[str, Any] = answer.json()
    assert document["token"] == document["access_token"] and type(document["expires_in"]) is int
    assert document["expires_in"] >= 60 and document["issued_at"].endswith("Z")
    return document


class TestGet:
    def test_docker_logs_in(self, registry: Registry, alice: Login) -> None:
        """Trap 2: login asks for no scope, and then `/v2/` with a token that grants nothing."""
        answer = token(registry, alice, account="alice", client_id="docker", offline_token="true")
        document = good(answer)
        assert document["refresh_token"] and document["scope"] == ""
        assert registry.ask("GET", "/v2/", bearer(answer)).status == 200

    def test_wrong_passwords_are_401(self, registry: Registry, alice: Login) -> None:
        """Trap 48."""
        for login in (Login("alice", "wrong"), Login("nobody", alice.password), Login("alice", "")):
            assert token(registry, login, WANTED).refuses(401, "UNAUTHORIZED")

    def test_less_than_was_asked_for_is_no_error(self, registry: Registry, alice: Login) -> None:
        """Trap 47."""
        document = good(token(registry, alice, f"{WANTED},delete registry:catalog:*", "repository:x:pull"))
        assert document["scope"] == f"{WANTED} registry:catalog:*"
        assert good(token(registry, logins["bob"], WANTED))["scope"] == ""

    def test_nobody_in_particular_gets_what_everybody_may(self, registry: Registry) -> None:
        """Trap 49: an empty name and password are nobody in particular."""
        for login in (None, Login("", "")):
            document = good(token(registry, login, "repository:public/a:pull,push"))
            assert document["scope"] == "repository:public/a:pull" and "refresh_token" not in document
            assert token(registry, login).refuses(401, "UNAUTHORIZED"), "that would be a login of nobody"

    def test_no_identity_token_is_handed_out_unasked(self, registry: Registry, alice: Login) -> None:
        assert "refresh_token" not in good(token(registry, alice, WANTED))


class TestPost:
    def test_containerd_logs_in(self, registry: Registry, alice: Login) -> None:
        """Trap 51."""
        fields = [
            *[("grant_type", "password"), ("client_id", "containerd-client"), ("service", "any")],
            *[("username", "alice"), ("password", alice.password), ("scope", WANTED)],
        ]
        assert good(post_token(registry, *fields))["scope"] == WANTED
        assert "refresh_token" in good(post_token(registry, *fields, ("access_type", "offline")))
        twice = good(post_token(registry, *fields, ("scope", "registry:catalog:*")))
        assert twice["scope"] == f"{WANTED} registry:catalog:*"

    def test_an_identity_token_does_for_a_password(self, registry: Registry, alice: Login) -> None:
        """Trap 50."""
        identity = good(token(registry, alice, offline_token="true"))["refresh_token"]
        asked = [("grant_type", "refresh_token"), ("refresh_token", identity), ("scope", WANTED)]
        for _ in range(2):
            document = good(post_token(registry, *asked))
            assert document["scope"] == WANTED and document["refresh_token"] == identity

    @pytest.mark.parametrize(
        "fields",
        [
            [("grant_type", "refresh_token"), ("refresh_token", "moorage.identity.a.b")],
            [("grant_type", "refresh_token")],
            [("grant_type", "password"), ("username", "alice"), ("password", "wrong")],
            [("grant_type", "password"), ("username", "alice")],
            [("grant_type", "password")],
        ],
    )
    def test_what_is_not_good_is_401(self, registry: Registry, fields: list[tuple[str, str]]) -> None:
        assert post_token(registry, *fields).refuses(401, "UNAUTHORIZED")

    @pytest.mark.parametrize("grant", ["", "authorization_code", "client_credentials", "x" * 1000])
    def test_other_grants_are_400(self, registry: Registry, grant: str) -> None:
        assert post_token(registry, ("grant_type", grant)).refuses(400, "REQUEST_INVALID")

    @pytest.mark.parametrize(
        ("kind", "body"),
        [
            ("application/json", b"{}"),
            ("", b"grant_type=password"),
            ("application/x-www-form-urlencoded", b"\xff=\xff"),
            ("application/x-www-form-urlencoded", b"a=" + b"x" * (65 << 10)),
            ("application/x-www-form-urlencoded", b"&".join(b"a%d=b" % number for number in range(300))),
        ],
    )
    def test_what_is_no_form_is_400(self, registry: Registry, kind: str, body: bytes) -> None:
        answer = registry.ask("POST", "/auth/token", {"Content-Type": kind} if kind else {}, body)
        assert answer.refuses(400, "REQUEST_INVALID")


class TestScopes:
    """By GET and by POST."""

    @pytest.fixture(params=["GET", "POST"])
    def granted(self, registry: Registry, alice: Login, request: pytest.FixtureRequest) -> Granted:
        """What a token is good for that alice asks for."""

        def by_get(*scopes: str) -> str:
            return str(good(token(registry, alice, *scopes))["scope"])

        def by_post(*scopes: str) -> str:
            login = [("grant_type", "password"), ("username", "alice"), ("password", alice.password)]
            return str(good(post_token(registry, *login, *(("scope", one) for one in scopes)))["scope"])

        return by_get if request.param == "GET" else by_post

    def test_they_add_up_in_one_parameter_and_in_several(self, granted: Granted) -> None:
        """Trap 44."""
        both = f"repository:public/a:pull {WANTED}"
        assert granted(both) == granted(*both.split()) == granted(WANTED, f"{both} {WANTED}") == both
        assert granted("repository:team/app:pull", "repository:team/app:push") == WANTED

    def test_a_host_with_its_port_is_part_of_a_name(self, granted: Granted) -> None:
        """Trap 45: it is the name of nothing here, and takes nothing from its neighbours."""
        assert granted(f"repository:localhost:5000/team/app:pull,push {WANTED}") == WANTED
        assert granted("repository:localhost:5000/team/app:pull,push") == ""

    def test_a_star_is_all_that_the_caller_may(self, granted: Granted) -> None:
        """Trap 46."""
        assert granted("repository:team/app:*") == WANTED
        assert granted("repository:other/app:*", "registry:catalog:*") == "registry:catalog:*"


def test_every_token_says_how_long_it_lasts(registry: Registry, alice: Login) -> None:
    """Trap 53, trap 54."""
    password = [("grant_type", "password"), ("username", "alice"), ("password", alice.password)]
    first = token(registry, alice, offline_token="true")
    refresh = [("grant_type", "refresh_token"), ("refresh_token", good(first)["refresh_token"])]
    anybody = token(registry, None, "repository:public/a:pull")
    for answer in (first, anybody, post_token(registry, *password), post_token(registry, *refresh)):
        lasts = good(answer)["expires_in"]
        claims = jwt.decode(answer.json()["token"], options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] == lasts and type(lasts) is int and lasts >= 60


class TestWhatATokenIsGoodFor:
    def test_a_push(self, registry: Registry, alice: Login) -> None:
        header = bearer(token(registry, alice, WANTED))
        data = secrets.token_bytes(20)
        target = f"/v2/team/app/blobs/uploads/?digest={digest_of(data)}"
        assert registry.ask("POST", target, header, data).status == 201
        assert registry.ask("GET", f"/v2/team/app/blobs/{digest_of(data)}", header).body == data

    def test_giving_up_a_push(self, registry: Registry, alice: Login) -> None:
        """Trap 29."""
        header = bearer(token(registry, alice, WANTED))
        place = registry.ask("POST", "/v2/team/app/blobs/uploads/", header)["Location"]
        small = bearer(token(registry, alice, "repository:team/app:pull"))
        assert registry.ask("DELETE", place, small).refuses(401, "UNAUTHORIZED")
        assert registry.ask("DELETE", place, header).status == 204
        assert registry.ask("GET", place, header).refuses(404, "BLOB_UPLOAD_UNKNOWN")

    def test_a_token_that_is_too_small_is_told_so(self, registry: Registry, alice: Login) -> None:
        small = bearer(token(registry, alice, "repository:team/app:pull"))
        answer = registry.ask("POST", "/v2/team/app/blobs/uploads/", small)
        assert answer.refuses(401, "UNAUTHORIZED")
        challenge = answer["WWW-Authenticate"]
        assert f'scope="{WANTED}"' in challenge and 'error="insufficient_scope"' in challenge

    def test_what_the_rules_refuse_is_final(self, registry: Registry, alice: Login) -> None:
        """Trap 47: the refusal comes here, and not with the token."""
        header = bearer(token(registry, alice, "repository:other/app:pull,push"))
        answer = registry.ask("POST", "/v2/other/app/blobs/uploads/", header)
        assert answer.refuses(403, "DENIED") and answer.get("WWW-Authenticate") is None
        assert "user:alice to push to other/app" in answer.json()["errors"][0]["message"]

    @pytest.mark.parametrize("text", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "ey" + "x" * 20_000, "ü"])
    def test_a_token_that_is_none_is_said_to_be(self, registry: Registry, text: str) -> None:
        """Trap 52: without the word, containerd sends the same token for ever."""
        answer = registry.ask("GET", "/v2/", {"Authorization": f"Bearer {text}"})
        assert answer.refuses(401, "UNAUTHORIZED")
        assert 'error="invalid_token"' in answer["WWW-Authenticate"]

    def test_a_token_that_has_expired_is_said_to_be_none(self, server: Server, alice: Login) -> None:
        """Trap 52."""
        made = token(server.registry, alice, WANTED)
        lasts = made.json()["expires_in"]
        assert server.registry.ask("GET", "/v2/", shifted(server, made, 60 - lasts)).status == 200
        answer = server.registry.ask("GET", "/v2/", shifted(server, made, -lasts))
        assert answer.refuses(401, "UNAUTHORIZED")
        assert 'error="invalid_token"' in answer["WWW-Authenticate"]

    def test_a_replica_may_be_a_minute_ahead(self, server: Server, alice: Login) -> None:
        """Trap 85."""
        made = token(server.registry, alice, WANTED)
        assert server.registry.ask("GET", "/v2/", shifted(server, made, 60)).status == 200
        assert server.registry.ask("GET", "/v2/", shifted(server, made, 600)).refuses(401, "UNAUTHORIZED")

    def test_a_key_and_what_its_revocation_ends(self, server: Server) -> None:
        """Trap 50: whoever cannot have an identity token is not handed one."""
        registry = server.registry
        key = add_key(server, "ci", "--repositories", "team/**", "--may", "pull")
        document = good(token(registry, key, WANTED, offline_token="true"))
        assert document["scope"] == "repository:team/app:pull" and "refresh_token" not in document
        assert registry.ask("GET", "/v2/team/none/tags/list", key.basic).status == 404
        shown = json.loads(server.command("apikey", "show", "ci", "--json").out)
        assert shown["used_at"] is not None and key.password not in json.dumps(shown)
        server.command("apikey", "revoke", "ci", "--yes")
        assert token(registry, key, WANTED).refuses(401, "UNAUTHORIZED")
        assert registry.ask("GET", "/v2/team/none/tags/list", key.basic).refuses(401, "UNAUTHORIZED")

    def test_whoever_is_disabled_gets_no_token(self, server: Server) -> None:
        registry, bob = server.registry, logins["bob"]
        identity = good(token(registry, bob, offline_token="true"))["refresh_token"]
        server.command("user", "disable", "bob")
        assert token(registry, bob).refuses(401, "UNAUTHORIZED")
        again = post_token(registry, ("grant_type", "refresh_token"), ("refresh_token", identity))
        assert again.refuses(401, "UNAUTHORIZED")
        server.command("user", "enable", "bob")
        assert good(token(registry, bob))

    def test_a_new_signing_key_logs_nobody_out(self, server: Server, alice: Login) -> None:
        registry = server.registry
        old = bearer(token(registry, alice, WANTED))
        made = json.loads(server.command("access", "rotate-key", "--json").out)
        assert registry.ask("GET", "/v2/", old).status == 200
        kids = {key["kid"] for key in registry.ask("GET", "/auth/jwks.json").json()["keys"]}
        assert kids, made


def test_methods_and_paths_that_are_none(registry: Registry) -> None:
    assert registry.ask("PUT", "/auth/token").refuses(405, "UNSUPPORTED")
    assert registry.ask("GET", "/auth/other").refuses(404, "NOT_FOUND")
    assert registry.ask("DELETE", "/auth/jwks.json").refuses(404, "NOT_FOUND")


def test_the_base_wants_a_login_though_anybody_may_pull(registry: Registry) -> None:
    """Trap 1: nowhere else does docker's classic store look for a challenge."""
    for nobody in ({}, Login("", "").basic):
        answer = registry.ask("GET", "/v2/", nobody)
        assert answer.refuses(401, "UNAUTHORIZED")
        assert answer["WWW-Authenticate"].startswith(f'Bearer realm="http://{registry.host_port}/auth/token"')
        assert registry.ask("GET", "/v2/public/a/tags/list", nobody).refuses(404, "NAME_UNKNOWN")


def test_the_challenge_never_repeats_what_a_request_says_of_us(registry: Registry) -> None:
    """Trap 55."""
    answer = registry.ask(
        "GET", "/v2/", {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "x"}
    )
    assert "evil" not in answer["WWW-Authenticate"]


def test_behind_a_proxy_the_challenge_has_the_url(serve: Serve, tmp_path: Path) -> None:
    """Trap 55."""
    settings = {**rules_file(tmp_path, RULES), "url": "https://registry.example.com/sub"}
    registry = serve(settings=settings).registry
    challenge = registry.ask("GET", "/v2/")["WWW-Authenticate"]
    assert 'realm="https://registry.example.com/sub/auth/token"' in challenge
    assert 'service="registry.example.com/' in challenge


def test_without_people_there_are_no_tokens(serve: Serve, tmp_path: Path) -> None:
    """Trap 1: where nobody can log in, nobody is told to."""
    rules = "- {who: anonymous, repositories: ['**'], may: [pull]}\n"
    registry = serve(settings=rules_file(tmp_path, rules)).registry
    assert registry.ask("GET", "/v2/").status == 200
    assert registry.ask("GET", "/auth/token?scope=repository:a:pull").refuses(404, "NOT_FOUND")
    assert registry.ask("POST", "/v2/a/blobs/uploads/").refuses(403, "DENIED")


def test_replicas_believe_each_other_and_a_copy_is_believed_by_none(serve: Serve, tmp_path: Path) -> None:

    logins = add_users(tmp_path / "data", ["alice"])
    settings = rules_file(tmp_path, RULES)
    one, two = serve(settings=settings), serve(settings=settings)
    header = bearer(token(one.registry, logins["alice"], WANTED))
    assert two.registry.ask("GET", "/v2/", header).status == 200
    one.stop()
    two.stop()
    shutil.copytree(tmp_path / "data", tmp_path / "copy", copy_function=shutil.copy2)
    again, copy = serve(settings=settings), serve(tmp_path / "copy", settings)
    assert again.registry.ask("GET", "/v2/", header).status == 200
    assert copy.registry.ask("GET", "/v2/", header).refuses(401, "UNAUTHORIZED")
    theirs = bearer(token(copy.registry, logins["alice"], WANTED))
    assert again.registry.ask("GET", "/v2/", theirs).refuses(401, "UNAUTHORIZED")
    assert copy.registry.ask("GET", "/v2/", theirs).status == 200
