"""Tokens of another token server: whose they are, what they are good for, and which are not believed."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from registry.access.callers import Caller, Grants
from registry.access.policy import Policy
from registry.access.principals import ANONYMOUS, Principal
from registry.access.rights import RIGHTS, Right
from registry.access.rules import read_rules
from registry.access.tokens import TokenInvalid
from registry.access.trust.settings import TokenServerSettings
from registry.access.trust.token_server import TokenServer
from registry.access.trust.webkeys import libtrust_name, read_key
from registry.access.watched import Unusable
from registry.errors import Denied, Unauthorized
from registry.model.names import RepositoryName
from tests.access.trust.tokens import Clock, Signer
from tests.certificates import DAY, Pair, self_signed

# Certificates are made for the real day.
AT = datetime.now(UTC).replace(microsecond=0)
NOW = int(AT.timestamp())
SERVICE, ISSUER = "registry.test", "auth.test"
ROOT = self_signed("auth")
KEY = Signer.new("jwks-key")
STRANGER = Signer.new("stranger")
APP = RepositoryName("team/app")


def signer(pair: Pair, kid: str = "x") -> Signer:
    """Whoever has the key of a certificate."""
    return Signer(kid, "ES256", pair.key)


def x5c(*pairs: Pair) -> list[str]:
    return [
        base64.b64encode(pair.certificate.public_bytes(serialization.Encoding.DER)).decode() for pair in pairs
    ]


def claims(**more: Any) -> dict[str, Any]:
    access = [{"type": "repository", "name": APP, "actions": ["pull", "push"]}]
    usual = {"iss": ISSUER, "aud": SERVICE, "sub": "alice", "iat": NOW, "nbf": NOW, "exp": NOW + 300}
    return {key: value for key, value in {**usual, "access": access, **more}.items() if value is not None}


def settings(folder: Path, **more: Any) -> TokenServerSettings:
    (folder / "auth.pem").write_bytes(ROOT.pem)
    (folder / "keys.json").write_text(json.dumps({"keys": [KEY.jwk]}))
    given = {
        "realm": "https://auth.test/token",
        "service": SERVICE,
        "issuer": ISSUER,
        "certificates": folder / "auth.pem",
        "jwks_file": folder / "keys.json",
    }
    return TokenServerSettings.model_validate(given | more)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> TokenServer:
    """A token server that is trusted by certificates and by keys."""
    return TokenServer(settings(tmp_path_factory.mktemp("auth")), Clock(AT).now)


def refused(server: TokenServer, token: str) -> str:
    with pytest.raises(TokenInvalid) as raised:
        server.verify(token)
    return str(raised.value)


LEAF = ROOT.issue("leaf")
MIDDLE = ROOT.issue("middle", authority=True)
BELOW = MIDDLE.issue("below")
THUMBPRINT = read_key(signer(ROOT).jwk).thumbprint
LIBTRUST = libtrust_name(ROOT.key.public_key())

GOOD = {
    "a chain": signer(LEAF).signed(claims(), x5c=x5c(LEAF), kid=None),
    "a longer chain": signer(BELOW).signed(claims(), x5c=x5c(BELOW, MIDDLE)),
    "the certificate itself": signer(ROOT).signed(claims(), x5c=x5c(ROOT)),
    "a thumbprint": signer(ROOT).signed(claims(), kid=THUMBPRINT),
    "a name of the first years": signer(ROOT).signed(claims(), kid=LIBTRUST),
    "a name in the set": KEY.signed(claims()),
    "a key that is known": KEY.signed(claims(), jwk=KEY.jwk, kid=None),
    "audiences": KEY.signed(claims(aud=["else", SERVICE])),
    "a minute late": KEY.signed(claims(exp=NOW - 59)),
    "a minute early": KEY.signed(claims(nbf=NOW + 60, iat=NOW + 60)),
    "many rights": KEY.signed(
        claims(access=[{"type": "repository", "name": f"team/{n}", "actions": ["pull"]} for n in range(150)])
    ),
}


@pytest.mark.parametrize("how", GOOD)
def test_what_is_believed(server: TokenServer, how: str) -> None:
    """trap 85, trap 86"""
    principal, _ = server.verify(GOOD[how])
    assert principal == Principal("token:alice")


NO_KEY = "its key is none of access.token_server's"
BAD_SIGNATURE = "its signature is not that of its key"
CHAIN = "its key cannot be believed: "
ENTRY = "what it is good for holds a malformed entry"
BAD = {
    "by a stranger": (STRANGER.signed(claims()), NO_KEY),
    "by a stranger under a known name": (STRANGER.signed(claims(), kid="jwks-key"), BAD_SIGNATURE),
    "by a stranger who brings a key": (STRANGER.signed(claims(), jwk=STRANGER.jwk), NO_KEY),
    "by a stranger who calls it by a known name": (
        STRANGER.signed(claims(), jwk={**STRANGER.jwk, "kid": "jwks-key"}),
        NO_KEY,
    ),
    "by a stranger who brings a known key": (STRANGER.signed(claims(), jwk=KEY.jwk), BAD_SIGNATURE),
    "by a stranger who brings a chain": (
        STRANGER.signed(claims(), x5c=x5c(self_signed("auth", STRANGER.key))),
        CHAIN + "none of the trusted certificates vouches for it",
    ),
    "by a stranger with another's chain": (STRANGER.signed(claims(), x5c=x5c(LEAF)), BAD_SIGNATURE),
    "a chain that is broken, and a name that is known": (
        KEY.signed(claims(), x5c=x5c(BELOW)),
        CHAIN + "none of the trusted certificates vouches for it",
    ),
    "a chain that is none": (
        KEY.signed(claims(), x5c="AA=="),
        CHAIN + "x5c is no list of 1 to 5 certificates",
    ),
    "an old certificate": (
        signer(LEAF).signed(claims(), x5c=x5c(ROOT.issue("old", LEAF.key, begins=-2 * DAY, ends=-DAY))),
        CHAIN + "the certificate of CN=old has expired, or is not valid yet",
    ),
    "a key that is none": (
        KEY.signed(claims(), jwk="x"),
        CHAIN + "it is no public key in the form of RFC 7517",
    ),
    "alg none": (KEY.signed(claims(), alg="none"), NO_KEY),
    "HS256": (KEY.signed(claims(), alg="HS256"), NO_KEY),
    "HS256 by a chain": (
        signer(LEAF).signed(claims(), x5c=x5c(LEAF), alg="HS256"),
        "it is not signed by one of EdDSA, ES256, ES384, ES512, RS256, RS384, RS512, PS256, PS384, PS512",
    ),
    "another algorithm by a chain": (
        signer(LEAF).signed(claims(), x5c=x5c(LEAF), alg="ES384"),
        "its key is not one for ES384",
    ),
    "of another issuer": (KEY.signed(claims(iss="else")), "it is from another issuer"),
    "of no issuer": (KEY.signed(claims(iss=None)), "it is from another issuer"),
    "for another service": (KEY.signed(claims(aud="else")), "it is for another audience"),
    "for no service": (KEY.signed(claims(aud=None)), "it is for another audience"),
    "expired": (KEY.signed(claims(exp=NOW - 60)), "it has expired"),
    "without an end": (KEY.signed(claims(exp=None)), "it does not say when it expires"),
    "not valid yet": (KEY.signed(claims(nbf=NOW + 61)), "it is not valid yet (nbf)"),
    "oversized": (KEY.signed(claims(x="x" * 33000)), "it has more than 32768 bytes"),
    "no token": ("token", "it is no token: three parts in base64url, joined by dots"),
    "a subject that is none": (KEY.signed(claims(sub=["alice"])), "its subject is no name"),
    "a subject with a NUL": (KEY.signed(claims(sub="alice\x00")), "its subject is no name"),
    "a subject with a line break": (KEY.signed(claims(sub="a\nb")), "its subject is no name"),
    "a long subject": (KEY.signed(claims(sub="a" * 1025)), "its subject is no name"),
    "rights that are no list": (KEY.signed(claims(access={})), "what it is good for is no list"),
    "a right that is none": (
        KEY.signed(claims(access=["pull"])),
        "what it is good for holds what is no entry",
    ),
    "a right without a name": (KEY.signed(claims(access=[{"type": "repository", "actions": []}])), ENTRY),
    "actions that are a text": (
        KEY.signed(claims(access=[{"type": "repository", "name": "a", "actions": "pull"}])),
        ENTRY,
    ),
    "an action that is none": (
        KEY.signed(claims(access=[{"type": "repository", "name": "a", "actions": [1]}])),
        ENTRY,
    ),
}


@pytest.mark.parametrize("how", BAD)
def test_what_is_not_believed(server: TokenServer, how: str) -> None:
    token, reason = BAD[how]
    assert refused(server, token) == reason


def test_only_what_is_configured_is_believed(tmp_path: Path) -> None:
    by_keys = TokenServer(settings(tmp_path, certificates=None), Clock(AT).now)
    assert by_keys.verify(GOOD["a name in the set"])
    assert NO_KEY in refused(by_keys, GOOD["a thumbprint"])
    assert "none of the trusted certificates" in refused(by_keys, GOOD["a chain"])
    by_certificates = TokenServer(settings(tmp_path, jwks_file=None), Clock(AT).now)
    assert by_certificates.verify(GOOD["a chain"])
    assert NO_KEY in refused(by_certificates, GOOD["a name in the set"])
    few = TokenServer(settings(tmp_path, algorithms=["RS256"]), Clock(AT).now)
    assert refused(few, GOOD["a chain"]) == "it is not signed by one of RS256"


def test_a_key_in_both_files_is_one_key(tmp_path: Path) -> None:
    both = settings(tmp_path)
    jwk = {**signer(ROOT).jwk, "kid": "mine"}
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [jwk]}))
    server = TokenServer(both, Clock(AT).now)
    for kid in ("mine", THUMBPRINT, LIBTRUST):
        assert server.verify(signer(ROOT).signed(claims(), kid=kid))


def test_a_token_is_good_until_a_minute_after_its_end(tmp_path: Path) -> None:
    clock = Clock(AT)
    server = TokenServer(settings(tmp_path), clock.now)
    token = KEY.signed(claims())
    first = server.verify(token)
    clock.at += timedelta(seconds=359)
    assert server.verify(token) is first
    clock.at += timedelta(seconds=1)
    assert refused(server, token) == "it has expired"


def test_files_that_change_count_from_the_next_look(tmp_path: Path) -> None:
    server = TokenServer(settings(tmp_path), Clock(AT).now)
    for how in ("a chain", "a name in the set"):
        assert server.verify(GOOD[how])
    (tmp_path / "auth.pem").write_bytes(self_signed("new").pem)
    server.look()
    assert "none of the trusted certificates" in refused(server, GOOD["a chain"])
    assert server.verify(GOOD["a name in the set"])
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [STRANGER.jwk]}))
    server.look()
    assert refused(server, GOOD["a name in the set"]) == NO_KEY
    assert server.verify(STRANGER.signed(claims()))
    (tmp_path / "keys.json").write_text("{}")
    server.look()
    assert server.verify(STRANGER.signed(claims())), "the keys of before count on"


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("auth.pem", b"", "no certificates in PEM"),
        (
            "auth.pem",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "no certificates in PEM",
        ),
        ("auth.pem", b"x" * (2 << 20), "more than 1 MiB"),
        ("keys.json", b"", "not JSON"),
        ("keys.json", b"[" * 100_000, "not JSON"),
        ("keys.json", b'{"keys": []}', "none of its keys"),
    ],
    ids=["empty", "no certificate", "large", "no JSON", "deep", "no keys"],
)
def test_a_file_that_is_no_good_at_first_is_told(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    one = settings(tmp_path)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(Unusable, match=reason):
        TokenServer(one, Clock(AT).now)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"certificates": None, "jwks_file": None}, "needs certificates or a jwks_file"),
        ({"algorithms": ["HS256"]}, "algorithms"),
        ({"algorithms": []}, "must not be empty"),
        ({"realm": "auth.test"}, "must be https://"),
        ({"service": ""}, "service"),
    ],
)
def test_settings_that_would_believe_too_much_are_none(
    tmp_path: Path, more: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason):
        settings(tmp_path, **more)


class TestRights:
    def grants(self, server: TokenServer, *access: dict[str, Any]) -> Grants:
        return server.verify(KEY.signed(claims(access=list(access))))[1]

    def allowed(self, caller: Caller, repository: RepositoryName | None = APP) -> set[Right]:
        return {right for right in RIGHTS if caller.may(right, repository)}

    @pytest.mark.parametrize(
        ("actions", "rights"),
        [
            (["pull"], {"pull"}),
            (["push"], {"create", "overwrite"}),
            (["pull", "push"], {"pull", "create", "overwrite"}),
            (["delete"], {"delete"}),
            (["*"], {"pull", "create", "overwrite", "delete"}),
            (["admin"], set()),
            ([], set()),
        ],
        ids=["pull", "push", "both", "delete", "star", "another", "none"],
    )
    def test_without_rules_the_token_decides(
        self, server: TokenServer, actions: list[str], rights: set[Right]
    ) -> None:
        grants = self.grants(server, {"type": "repository", "name": APP, "actions": actions})
        caller = Caller(Principal("token:alice"), Policy.of_tokens(), grants)
        assert self.allowed(caller) == rights
        assert self.allowed(caller, RepositoryName("team/other")) == set()
        assert self.allowed(caller, None) == set()
        assert not caller.must_log_in

    def test_grants_for_one_repository_add_up(self, server: TokenServer) -> None:
        entries = [{"type": "repository", "name": APP, "actions": [one]} for one in ("pull", "delete")]
        assert self.grants(server, *entries).repositories == {APP: {"pull", "delete"}}

    def test_of_the_registry_as_a_whole_only_the_list(self, server: TokenServer) -> None:
        entries = [{"type": "registry", "name": name, "actions": ["*"]} for name in ("catalog", "api")]
        grants = self.grants(server, *entries, {"type": "repository(plugin)", "name": APP, "actions": ["*"]})
        assert grants == Grants({}, frozenset({"catalog"}))
        caller = Caller(Principal("token:alice"), Policy.of_tokens(), grants)
        assert self.allowed(caller, None) == {"list"}
        one = self.grants(server, {"type": "registry", "name": "catalog", "actions": ["pull"]})
        assert one == Grants()

    def test_nothing_is_good_for_nothing(self, server: TokenServer) -> None:
        assert server.verify(KEY.signed(claims(access=None)))[1] == Grants()
        assert self.grants(server) == Grants()

    def test_without_rules_nobody_else_may_anything(self) -> None:
        for principal in (ANONYMOUS, Principal("user:alice"), Principal("issuer:ci:job")):
            assert self.allowed(Caller(principal, Policy.of_tokens())) == set()
        nobody = Caller.anybody(Policy.of_tokens())
        assert nobody.must_log_in
        assert isinstance(nobody.refusal("pull", APP), Unauthorized)

    def test_with_rules_both_have_to_allow_it(self, server: TokenServer, tmp_path: Path) -> None:
        path = tmp_path / "access.yaml"
        path.write_text(
            "- {who: token, repositories: ['team/**'], may: [pull, push]}\n"
            "- {who: 'token:bob', repositories: ['team/**'], may: [delete]}\n"
            "- {who: anonymous, repositories: ['**'], tags: ['v*'], deny: [overwrite]}\n"
        )
        policy = Policy(read_rules(path))
        everything = self.grants(server, {"type": "repository", "name": APP, "actions": ["*"]})
        alice = Caller(Principal("token:alice"), policy, everything)
        assert self.allowed(alice) == {"pull", "create", "overwrite"}
        assert isinstance(alice.refusal("delete", APP), Denied)
        assert self.allowed(Caller(Principal("token:bob"), policy, everything)) == {
            *("pull", "create", "overwrite", "delete")
        }
        little = self.grants(server, {"type": "repository", "name": APP, "actions": ["pull"]})
        small = Caller(Principal("token:alice"), policy, little)
        assert self.allowed(small) == {"pull"}
        refusal = small.refusal("create", APP)
        assert isinstance(refusal, Unauthorized) and refusal.problem == "insufficient_scope"
        assert self.allowed(Caller(Principal("user:alice"), policy)) == set()

    def test_who_has_no_name_is_still_somebody_with_a_token(self, server: TokenServer) -> None:
        for subject in ("", None):
            principal, _ = server.verify(KEY.signed(claims(sub=subject)))
            assert principal.text == "token:" and not principal.is_anonymous


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ENTRIES = st.lists(
    st.fixed_dictionaries(
        {},
        optional={"type": st.sampled_from(["repository", "registry"]) | JSON, "name": JSON, "actions": JSON},
    )
    | JSON,
    max_size=3,
)


@given(
    ENTRIES | JSON, st.dictionaries(st.sampled_from(["x5c", "jwk", "kid", "alg", "typ"]), JSON, max_size=3)
)
def test_whatever_a_signed_token_says_it_is_believed_or_refused(
    server: TokenServer, access: object, header: dict[str, Any]
) -> None:
    try:
        principal, grants = server.verify(KEY.signed(claims(access=access), **header))
    except TokenInvalid:
        return
    assert principal.text == "token:alice"
    assert grants.registry <= {"catalog"}
