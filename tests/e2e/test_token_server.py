"""A token server's tokens are worth the same to CNCF Distribution and to us, forged ones too."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from registry.access.rights import Right
from registry.access.tokens import TokenInvalid
from registry.access.trust.settings import TokenServerSettings
from registry.access.trust.token_server import TokenServer
from registry.access.trust.webkeys import libtrust_name, read_key
from registry.model.names import RepositoryName
from tests.access.trust.test_token_server import signer, x5c
from tests.access.trust.tokens import Signer, private_key
from tests.api.client import ask
from tests.api.people import rules_file
from tests.api.server import Server, merged
from tests.certificates import DAY, Pair, self_signed
from tests.e2e.distribution import Distribution

APP = RepositoryName("team/app")
SERVICE, ISSUER = "registry.test", "auth.test"
ABSENT = f"sha256:{'0' * 64}"
# What a right is asked for with; whoever has it gets anything but 401.
REQUESTS: dict[Right, tuple[str, str]] = {
    "pull": ("GET", f"/v2/{APP}/tags/list"),
    "create": ("POST", f"/v2/{APP}/blobs/uploads/"),
    "delete": ("DELETE", f"/v2/{APP}/manifests/{ABSENT}"),
    "list": ("GET", "/v2/_catalog"),
}


def key() -> Signer:
    """A key whose coordinates fill their bytes: Distribution takes the thumbprint of others wrongly."""
    while True:
        private_key.cache_clear()
        made = Signer.new("jwks-key")
        if not {made.jwk["x"][:2], made.jwk["y"][:2]} & {"AA", "AB", "AC", "AD"}:
            return made


KEY, STRANGER = key(), Signer.new("stranger")
RSA = Signer.new("rsa-key", "RS256")
EDDSA = Signer.new("ed-key", "EdDSA")
ROOT = self_signed("auth", key().key)
OTHER = self_signed("auth")
MIDDLE = ROOT.issue("middle", authority=True)
LEAF = ROOT.issue("leaf")
BELOW = MIDDLE.issue("below")
THUMBPRINT = read_key(signer(ROOT).jwk).thumbprint
LIBTRUST = libtrust_name(ROOT.key.public_key())
EVERYTHING = [
    {"type": "repository", "name": APP, "actions": ["*"]},
    {"type": "registry", "name": "catalog", "actions": ["*"]},
]


def claims(**more: Any) -> dict[str, Any]:
    """What a good token says now."""
    now = int(time.time())
    usual = {"iss": ISSUER, "aud": SERVICE, "sub": "alice", "iat": now, "nbf": now - 10, "exp": now + 300}
    return {name: one for name, one in {**usual, "access": EVERYTHING, **more}.items() if one is not None}


def access(kind: str, name: str, *actions: str) -> list[dict[str, Any]]:
    return [{"type": kind, "name": name, "actions": list(actions)}]


def by_chain(*chain: Pair, **more: Any) -> str:
    return signer(chain[0]).signed(claims(**more), x5c=x5c(*chain))


def now(seconds: int) -> int:
    return int(time.time()) + seconds


# What both versions have: certificates.
OF_CERTIFICATES: dict[str, Callable[[], str]] = {
    "a chain": lambda: by_chain(LEAF),
    "a longer chain": lambda: by_chain(BELOW, MIDDLE),
    "the certificate itself": lambda: by_chain(ROOT),
    "nothing granted": lambda: by_chain(LEAF, access=None),
    "pull": lambda: by_chain(LEAF, access=access("repository", APP, "pull")),
    # Distribution asks for both where something is to be pushed.
    "push": lambda: by_chain(LEAF, access=access("repository", APP, "pull", "push")),
    "delete": lambda: by_chain(LEAF, access=access("repository", APP, "delete")),
    "pull and push, apart": lambda: by_chain(
        LEAF, access=[*access("repository", APP, "pull"), *access("repository", APP, "push")]
    ),
    "another repository": lambda: by_chain(LEAF, access=access("repository", "team/other", "*")),
    "a longer repository": lambda: by_chain(LEAF, access=access("repository", f"{APP}/x", "*")),
    "the catalog": lambda: by_chain(LEAF, access=access("registry", "catalog", "*")),
    "another type": lambda: by_chain(LEAF, access=access("plugin", APP, "*")),
    "another action": lambda: by_chain(LEAF, access=access("repository", APP, "Pull")),
    "no actions": lambda: by_chain(LEAF, access=access("repository", APP)),
    "no subject": lambda: by_chain(LEAF, sub=""),
    "another audience": lambda: by_chain(LEAF, aud="else"),
    "no audience": lambda: by_chain(LEAF, aud=None),
    "another issuer": lambda: by_chain(LEAF, iss="else"),
    "no issuer": lambda: by_chain(LEAF, iss=None),
    "half a minute late": lambda: by_chain(LEAF, exp=now(-30)),
    "half a minute early": lambda: by_chain(LEAF, nbf=now(30)),
    "too late": lambda: by_chain(LEAF, exp=now(-90)),
    "without an end": lambda: by_chain(LEAF, exp=None),
    "too early": lambda: by_chain(LEAF, nbf=now(90)),
    "a chain without the one between": lambda: by_chain(BELOW),
    "a leaf that vouches": lambda: by_chain(LEAF.issue("x"), LEAF),
    "a root of the same name": lambda: by_chain(OTHER),
    "another's chain": lambda: STRANGER.signed(claims(), x5c=x5c(LEAF)),
    "an old certificate": lambda: by_chain(ROOT.issue("old", begins=-2 * DAY, ends=-DAY)),
    "a certificate of tomorrow": lambda: by_chain(ROOT.issue("new", begins=DAY, ends=2 * DAY)),
    "a chain that is none": lambda: KEY.signed(claims(), x5c=["AA=="]),
    "a key of nobody": lambda: STRANGER.signed(claims()),
    "a key that it brings": lambda: STRANGER.signed(claims(), jwk=STRANGER.jwk),
    "alg none": lambda: signer(LEAF).signed(claims(), x5c=x5c(LEAF), alg="none"),
    "HS256": lambda: signer(LEAF).signed(claims(), x5c=x5c(LEAF), alg="HS256"),
    "cut": lambda: by_chain(LEAF)[:-20],
    "another body": lambda: ".".join(
        (by_chain(LEAF).split(".")[0], by_chain(LEAF, sub="bob").split(".")[1], by_chain(LEAF).split(".")[2])
    ),
    "no token": lambda: "token",
}
# What the third version has besides: sets of keys, and thumbprints.
OF_KEYS: dict[str, Callable[[], str]] = {
    "a thumbprint": lambda: signer(ROOT).signed(claims(), kid=THUMBPRINT),
    "a name in the set": lambda: KEY.signed(claims()),
    "RSA": lambda: RSA.signed(claims()),
    "RSA with PSS": lambda: Signer("rsa-key", "PS256", RSA.key).signed(claims()),
    "EdDSA": lambda: EDDSA.signed(claims()),
    "a known key that it brings": lambda: KEY.signed(claims(), jwk=KEY.jwk),
    "a key that it calls by a known name": lambda: STRANGER.signed(
        claims(), jwk={**STRANGER.jwk, "kid": "jwks-key"}
    ),
    "a known key that is not its own": lambda: STRANGER.signed(claims(), jwk=KEY.jwk),
    "a known name of another's key": lambda: STRANGER.signed(claims(), kid="jwks-key"),
    "a known name of another kind": lambda: KEY.signed(claims(), kid="rsa-key"),
    "an empty chain": lambda: KEY.signed(claims(), x5c=[]),
    "audiences": lambda: KEY.signed(claims(aud=["else", SERVICE])),
    "other audiences": lambda: KEY.signed(claims(aud=["else", "other"])),
    "another name": lambda: KEY.signed(claims(), kid="else"),
}
# What only the second one has, and we have too.
OF_NAMES: dict[str, Callable[[], str]] = {
    "a name of the first years": lambda: signer(ROOT).signed(claims(), kid=LIBTRUST),
}


def theirs(distribution: Distribution, token: str) -> set[Right]:
    """The rights that Distribution sees in a token."""
    found: set[Right] = set()
    for right, (method, path) in REQUESTS.items():
        answer = ask(distribution.host_port, method, path, [("Authorization", f"Bearer {token}")])
        if answer.status != 401:
            found.add(right)
    return found


def ours(server: TokenServer, token: str) -> set[Right]:
    """The rights that we see in it."""
    try:
        _, grants = server.verify(token)
    except TokenInvalid:
        return set()
    return {right for right in REQUESTS if grants.covers(right, APP)}


@pytest.mark.parametrize("version", [2, 3])
def test_a_token_is_worth_the_same(
    distribution: Callable[..., Distribution], scratch: Path, version: int
) -> None:
    (scratch / "auth.pem").write_bytes(ROOT.pem)
    # Of a key that names its algorithm Distribution takes others as well, and we do not.
    keys = [{name: one for name, one in key.jwk.items() if name != "alg"} for key in (KEY, RSA, EDDSA)]
    (scratch / "keys.json").write_text(json.dumps({"keys": keys}))
    files = {"certificates": scratch / "auth.pem", "jwks_file": scratch / "keys.json"}
    named = {"realm": "https://auth.test/token", "service": SERVICE, "issuer": ISSUER}
    server = TokenServer(TokenServerSettings.model_validate({**named, **files}), lambda: datetime.now(UTC))
    auth: Mapping[str, Any] = {**named, "rootcertbundle": str(files["certificates"])}
    if version == 3:
        auth = {**auth, "jwks": str(files["jwks_file"])}
    started = distribution(version, scratch / "root", more={"auth": {"token": auth}})
    tokens = OF_CERTIFICATES | (OF_KEYS if version == 3 else OF_NAMES)
    made = {name: make() for name, make in tokens.items()}
    found = {name: (theirs(started, token), ours(server, token)) for name, token in made.items()}
    assert {name: pair for name, pair in found.items() if pair[0] != pair[1]} == {}
    assert found["a chain"][1] == set(REQUESTS), "some are good for something"
    assert found["another's chain"][1] == set()


@pytest.fixture
def serve(scratch: Path) -> Iterator[Callable[..., Server]]:
    """Ours, which believes the token server; with rules, if there are any."""
    started: list[Server] = []

    def start(rules: str | None = None) -> Server:
        (scratch / "auth.pem").write_bytes(ROOT.pem)
        settings: dict[str, Any] = {} if rules is None else dict(rules_file(scratch, rules))
        named = {"realm": "https://auth.test/token", "service": SERVICE, "issuer": ISSUER}
        files = {"certificates": str(scratch / "auth.pem")}
        started.append(
            Server(
                scratch / "data", scratch, merged(settings, {"access": {"token_server": {**named, **files}}})
            )
        )
        return started[-1]

    yield start
    for server in started:
        server.stop()


def with_token(*chain: Pair, **more: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {by_chain(*chain, **more)}"}


def test_clients_are_sent_there_and_what_they_bring_back_decides(serve: Callable[..., Server]) -> None:
    server = serve()
    registry = server.registry
    for method, path in REQUESTS.values():
        answer = registry.ask(method, path)
        assert answer.refuses(401, "UNAUTHORIZED")
        assert answer["WWW-Authenticate"].startswith(
            f'Bearer realm="https://auth.test/token",service="{SERVICE}",scope='
        )
        assert registry.ask(method, path, with_token(LEAF)).status != 401
    wanted = f'Bearer realm="https://auth.test/token",service="{SERVICE}"'
    assert registry.ask("GET", "/v2/")["WWW-Authenticate"] == wanted
    assert registry.ask("GET", "/v2/", with_token(LEAF, access=None)).status == 200
    assert registry.ask("GET", "/auth/token?scope=repository:a:pull").status == 404, "there is another"
    little = with_token(LEAF, access=access("repository", APP, "pull"))
    refused = registry.ask("POST", f"/v2/{APP}/blobs/uploads/", little)
    assert refused.refuses(401, "UNAUTHORIZED")
    assert refused["WWW-Authenticate"] == (
        f'{wanted},scope="repository:{APP}:pull,push",error="insufficient_scope"'
    )
    bad = {
        by_chain(OTHER): "none of the trusted certificates vouches for it",
        by_chain(LEAF, aud="else"): "it is for another audience",
        by_chain(LEAF, exp=now(-90)): "it has expired",
    }
    for token in bad:
        answer = registry.ask("GET", f"/v2/{APP}/tags/list", {"Authorization": f"Bearer {token}"})
        assert answer.refuses(401, "UNAUTHORIZED")
        assert answer["WWW-Authenticate"] == f'{wanted},error="invalid_token"'
    server.stop()
    assert "What may be pushed and pulled is said by the tokens of https://auth.test/token" in server.log
    for token, reason in bad.items():
        assert reason in server.log and token not in server.log


def test_with_rules_both_have_to_allow_it(serve: Callable[..., Server]) -> None:
    registry = serve("- {who: token, repositories: ['team/**'], may: [pull]}\n").registry
    assert registry.ask("GET", f"/v2/{APP}/tags/list", with_token(LEAF)).refuses(404, "NAME_UNKNOWN")
    assert registry.ask("POST", f"/v2/{APP}/blobs/uploads/", with_token(LEAF)).refuses(403, "DENIED")
    nothing = with_token(LEAF, access=None)
    assert registry.ask("GET", f"/v2/{APP}/tags/list", nothing).refuses(401, "UNAUTHORIZED")
