"""Tokens of trusted issuers: which are believed, and why the others are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from registry.access.principals import Principal
from registry.access.tokens import TokenInvalid
from registry.access.trust.issuers import Issuers
from registry.access.trust.settings import IssuerSettings
from registry.access.watched import Unusable
from registry.remote.egress import Egress
from tests.access.trust.tokens import AUDIENCE, ISSUER, NOW, Clock, Signer, base64url, compact, part, said

ONE = Signer.new("one")
RSA = Signer.new("rsa", "RS256")
STRANGER = Signer.new("stranger")
AT = int(NOW.timestamp())


def settings(folder: Path, *signers: Signer, **more: Any) -> IssuerSettings:
    """An issuer whose keys are in a file."""
    path = folder / f"{more.get('name', 'ci')}.json"
    path.write_text(json.dumps({"keys": [signer.jwk for signer in signers or (ONE, RSA)]}))
    given = {
        "name": "ci",
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "claims": {"sub": "job-*"},
        "jwks_file": path,
    }
    return IssuerSettings.model_validate(given | more)


def issuers(*all_of_them: IssuerSettings, clock: Clock | None = None) -> Issuers:
    clock = clock or Clock()
    return Issuers.of(all_of_them, Egress(), now=clock.now, clock=clock.seconds)


async def believed(token: str, folder: Path, **more: Any) -> Principal:
    return await issuers(settings(folder, **more)).verify(token)


async def refused(token: str, folder: Path, **more: Any) -> str:
    with pytest.raises(TokenInvalid) as raised:
        await believed(token, folder, **more)
    return str(raised.value)


class TestWhoIsBelieved:
    async def test_a_workload_is_its_issuer_and_its_subject(self, tmp_path: Path) -> None:
        principal = await believed(ONE.token({"namespace": "team-a"}), tmp_path)
        assert str(principal) == "issuer:ci:job-1"
        assert (principal.issuer, principal.name) == ("ci", "job-1")
        assert dict(principal.claims) == {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "job-1",
            "namespace": "team-a",
        }

    @pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
    async def test_every_algorithm_that_is_allowed_will_do(self, tmp_path: Path, algorithm: str) -> None:
        signer = Signer.new("rsa", algorithm, RSA.key)
        (tmp_path / "new").mkdir()
        one = settings(tmp_path / "new", signer, algorithms=[algorithm])
        assert str(await issuers(one).verify(signer.token())) == "issuer:ci:job-1"
        told = await refused(signer.token(), tmp_path, algorithms=["ES256"])
        assert told == "it is not signed by one of ES256"

    @pytest.mark.parametrize(
        ("claims", "header"),
        [
            ({"aud": ["else", AUDIENCE]}, {}),
            ({"exp": AT + 1}, {}),
            ({"exp": AT + 1.5}, {}),
            ({"nbf": AT + 60, "iat": AT + 60}, {}),
            ({"nbf": None, "iat": None}, {}),
            ({}, {"typ": None}),
            ({}, {"typ": "at+jwt"}),
            ({}, {"typ": "jwt"}),
            # Whoever sends it may say where its key is; nobody looks there.
            ({}, {"jku": "https://127.0.0.1/keys", "x5u": "https://127.0.0.1/key"}),
            ({}, {"jwk": STRANGER.jwk, "x5c": ["AA=="], "x5t": "AA"}),
        ],
        ids=[
            "audiences",
            "last second",
            "half seconds",
            "early clock",
            "no begin",
            "no type",
            "access",
            "lower case",
            "addresses",
            "keys",
        ],
    )
    async def test_what_is_good_enough(
        self, tmp_path: Path, claims: dict[str, Any], header: dict[str, Any]
    ) -> None:
        """trap 85, trap 86"""
        assert str(await believed(ONE.token(claims, **header), tmp_path)) == "issuer:ci:job-1"

    async def test_one_key_needs_no_name(self, tmp_path: Path) -> None:
        assert (await believed(ONE.token(kid=None), tmp_path)).source == "issuer"
        both = settings(tmp_path, ONE, STRANGER)
        with pytest.raises(TokenInvalid, match="its key is none of its issuer's"):
            await issuers(both).verify(ONE.token(kid=None))

    async def test_another_claim_may_name_the_workload(self, tmp_path: Path) -> None:
        token = ONE.token({"project_id": 17})
        assert str(await believed(token, tmp_path, subject="project_id")) == "issuer:ci:17"

    async def test_each_issuer_has_keys_and_conditions_of_its_own(self, tmp_path: Path) -> None:
        other = settings(tmp_path, STRANGER, name="other", issuer=f"{ISSUER}/other", claims={"sub": "x"})
        trusted = issuers(settings(tmp_path), other)
        token = STRANGER.token({"iss": f"{ISSUER}/other", "sub": "x"})
        assert str(await trusted.verify(token)) == "issuer:other:x"
        for signer, claims in ((ONE, {"iss": f"{ISSUER}/other", "sub": "x"}), (STRANGER, {"sub": "x"})):
            with pytest.raises(TokenInvalid, match="its key is none of its issuer's"):
                await trusted.verify(signer.token(claims))


def resigned(change: Callable[[str], str]) -> str:
    """A good token, changed after it was signed."""
    return change(ONE.token())


def with_body(token: str, claims: dict[str, Any]) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{part(said(claims))}.{signature}"


def with_secret_of_public_key(kind: str) -> str:
    """A token signed with what everybody knows, as if it were a secret."""
    public = RSA.key.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    secret = pem if kind == "pem" else json.dumps(RSA.jwk).encode()
    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    return compact(
        {"alg": "HS256", "typ": "JWT", "kid": "rsa"}, said({}), lambda data: hmac.sign(data, secret)
    )


NOT_SIGNED_SO = "it is not signed by one of RS256, ES256"
NO_TOKEN = "it is no token: three parts in base64url, joined by dots"
BAD_SIGNATURE = "its signature is not that of its key"
KEY = "its key is none of its issuer's"
TIME = "its exp is no time"

BAD: dict[str, tuple[str, str]] = {
    # Forged.
    "by a stranger": (STRANGER.token(kid="one"), BAD_SIGNATURE),
    "by a stranger under its own name": (STRANGER.token(), KEY),
    "by a stranger who brings the key": (STRANGER.token(jwk=STRANGER.jwk), KEY),
    "by a stranger who says where the key is": (STRANGER.token(jku="http://127.0.0.1/"), KEY),
    "by the right key under a wrong name": (ONE.token(kid="two"), KEY),
    "with another body": (with_body(ONE.token(), {"sub": "job-2"}), BAD_SIGNATURE),
    "with another header": (
        resigned(lambda token: f"{part({'alg': 'ES256', 'kid': 'one'})}.{token.partition('.')[2]}"),
        BAD_SIGNATURE,
    ),
    "with half a signature": (
        compact({"alg": "ES256", "kid": "one"}, said({}), lambda data: ONE.sign(data)[:32]),
        BAD_SIGNATURE,
    ),
    "with a signature of zeros": (
        compact({"alg": "ES256", "kid": "one"}, said({}), lambda _: bytes(64)),
        BAD_SIGNATURE,
    ),
    "with a signature in DER": (
        compact({"alg": "ES256", "kid": "one"}, said({}), lambda _: b"0\x06\x02\x01\x01\x02\x01\x01"),
        BAD_SIGNATURE,
    ),
    "without a signature": (resigned(lambda token: token.rpartition(".")[0] + "."), NO_TOKEN),
    # Algorithms.
    "alg none": (compact({"alg": "none"}, said({}), lambda _: b""), NO_TOKEN),
    "alg none with a signature": (ONE.token(alg="none"), NOT_SIGNED_SO),
    "alg None": (ONE.token(alg="None"), NOT_SIGNED_SO),
    "HS256 with the public key": (with_secret_of_public_key("pem"), NOT_SIGNED_SO),
    "HS256 with the key as JSON": (with_secret_of_public_key("json"), NOT_SIGNED_SO),
    "HS256 with nothing": (
        compact({"alg": "HS256", "kid": "one"}, said({}), lambda _: bytes(32)),
        NOT_SIGNED_SO,
    ),
    "an algorithm that is not listed": (Signer.new("rsa", "PS256", RSA.key).token(), NOT_SIGNED_SO),
    "an algorithm of another kind of key": (ONE.token(alg="RS256"), KEY),
    "an algorithm in lower case": (ONE.token(alg="es256"), NOT_SIGNED_SO),
    "no algorithm": (ONE.token(alg=None), "its header does not say how it is signed, and by which key"),
    "a list of algorithms": (
        ONE.token(alg=["ES256"]),
        "its header does not say how it is signed, and by which key",
    ),
    "a number as the name of a key": (
        ONE.token(kid=1),
        "its header does not say how it is signed, and by which key",
    ),
    # Headers.
    "crit": (ONE.token(crit=["exp"]), "its header asks for something that is not known here"),
    "crit, empty": (ONE.token(crit=[]), "its header asks for something that is not known here"),
    "b64": (ONE.token(b64=False), "its header asks for something that is not known here"),
    "a logout token": (
        ONE.token(typ="logout+jwt"),
        "its header says that it is something else than a token of access or identity",
    ),
    "a type that is none": (
        ONE.token(typ=1),
        "its header says that it is something else than a token of access or identity",
    ),
    # From whom, for whom.
    "of another issuer": (ONE.token({"iss": "https://else.test"}), "its issuer is none of access.issuers"),
    "of almost the same issuer": (ONE.token({"iss": f"{ISSUER}/"}), "its issuer is none of access.issuers"),
    "of nobody": (ONE.token({"iss": None}), "its issuer is none of access.issuers"),
    "of several issuers": (ONE.token({"iss": [ISSUER]}), "its issuer is none of access.issuers"),
    "for another audience": (ONE.token({"aud": "https://else.test"}), "it is for another audience"),
    "for a longer audience": (ONE.token({"aud": f"{AUDIENCE}.evil.test"}), "it is for another audience"),
    "for other audiences": (ONE.token({"aud": ["a", 1, None, [AUDIENCE]]}), "it is for another audience"),
    "for no audience": (ONE.token({"aud": None}), "it is for another audience"),
    "for an empty list": (ONE.token({"aud": []}), "it is for another audience"),
    "for an object": (ONE.token({"aud": {AUDIENCE: 1}}), "it is for another audience"),
    # Times.
    "expired": (ONE.token({"exp": AT - 1}), "it has expired"),
    "expired just now": (ONE.token({"exp": AT}), "it has expired"),
    "without an end": (ONE.token({"exp": None}), "it does not say when it expires"),
    "expiring at a text": (ONE.token({"exp": str(AT + 300)}), TIME),
    "expiring at true": (ONE.token({"exp": True}), TIME),
    "expiring at no number": (ONE.signed(json.dumps(said({"exp": float("nan")})).encode()), TIME),
    "expiring at infinity": (ONE.signed(json.dumps(said({"exp": float("inf")})).encode()), TIME),
    "expiring after the sun": (ONE.token({"exp": 10**400}), TIME),
    "not valid yet": (ONE.token({"nbf": AT + 61}), "it is not valid yet (nbf)"),
    "issued in the future": (ONE.token({"iat": AT + 61}), "it is not valid yet (iat)"),
    "not before a text": (ONE.token({"nbf": "soon"}), "its nbf is no time"),
    # Conditions.
    "of another workload": (ONE.token({"sub": "other"}), "its claim sub is not as access.issuers wants it"),
    "of a workload further down": (
        ONE.token({"sub": "job-1/x"}),
        "its claim sub is not as access.issuers wants it",
    ),
    "of no workload": (ONE.token({"sub": None}), "its claim sub is not as access.issuers wants it"),
    "of a list of workloads": (
        ONE.token({"sub": ["job-1"]}),
        "its claim sub is not as access.issuers wants it",
    ),
    "of a workload with a long name": (
        ONE.token({"sub": "job-" + "x" * 1030}),
        "its claim sub is not as access.issuers wants it",
    ),
    "of a workload with a line break": (ONE.token({"sub": "job-\n"}), "its claim sub names nobody"),
    "of a workload with a NUL": (ONE.token({"sub": "job-\x00"}), "its claim sub names nobody"),
    "of a workload that turns the line": (ONE.token({"sub": "job-\u202e"}), "its claim sub names nobody"),
    # Form.
    "oversized": (ONE.token({"x": "x" * 8192}), "it has more than 8192 bytes"),
    "empty": ("", NO_TOKEN),
    "no token": ("password", NO_TOKEN),
    "two parts": ("e30.e30", NO_TOKEN),
    "four parts": (ONE.token() + ".e30", NO_TOKEN),
    "five parts, encrypted": ("e30.e30.e30.e30.e30", NO_TOKEN),
    "with padding": (resigned(lambda token: token + "=="), NO_TOKEN),
    "with a blank": (resigned(lambda token: token + " "), NO_TOKEN),
    "with a line break": (resigned(lambda token: token + "\n"), NO_TOKEN),
    "with other letters": ("ä.ä.ä", NO_TOKEN),
    "with half a character": ("\ud800.e30.e30", NO_TOKEN),
    "a header that is cut": ("e.e30.e30", "its header is not base64url"),
    "a header that is no JSON": (f"{base64url(b'{')}.e30.e30", "its header is not JSON"),
    "a header of bytes": ("_w.e30.e30", "its header is not JSON"),
    "a header that is a list": (f"{part([])}.e30.e30", "its header is no JSON object"),
    "a header that is deep": (f"{base64url(b'[' * 4000)}.e30.e30", "its header is not JSON"),
    "a header with a key twice": (
        compact(b'{"alg":"none","alg":"ES256","kid":"one"}', said({}), ONE.sign),
        "its header is not JSON",
    ),
    "a body that is no JSON": (ONE.signed(b"hello"), "its body is not JSON"),
    "a body that is a list": (ONE.signed([said({})]), "its body is no JSON object"),
    "a body with a claim twice": (
        ONE.signed(json.dumps(said({}))[:-1].encode() + b',"sub":"job-9"}'),
        "its body is not JSON",
    ),
    "a body with half a character": (ONE.signed(b'{"iss":"\\ud800"}'), "its body is not JSON"),
    "a body with a long number": (ONE.signed(b'{"iss":' + b"1" * 5000 + b"}"), "its body is not JSON"),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_is_not_believed(name: str, tmp_path: Path) -> None:
    token, reason = BAD[name]
    assert await refused(token, tmp_path) == reason


async def test_what_is_refused_says_nothing_of_the_token_in_its_reason(tmp_path: Path) -> None:
    claims = {"sub": "canary-sub", "iss": "canary-iss", "aud": "canary-aud", "exp": "canary-exp"}
    for name in claims:
        token = ONE.token({name: claims[name]}, kid="canary-kid", typ="JWT")
        assert "canary" not in await refused(token, tmp_path)


class TestConditions:
    CLAIMS = {
        "repository": ["acme/web", "acme/api-*"],
        "ref": "refs/heads/*",
        "protected": "true",
        "run": "17",
    }

    @pytest.mark.parametrize(
        ("said", "fits"),
        [
            ({"repository": "acme/web", "ref": "refs/heads/main", "protected": True, "run": 17}, True),
            ({"repository": "acme/api-x", "ref": "refs/heads/main", "protected": "true", "run": "17"}, True),
            ({"repository": "acme/other", "ref": "refs/heads/main", "protected": True, "run": 17}, False),
            ({"repository": "acme/web", "ref": "refs/heads/a/b", "protected": True, "run": 17}, False),
            ({"repository": "acme/web", "ref": "refs/heads/main", "protected": False, "run": 17}, False),
            ({"repository": "acme/web", "ref": "refs/heads/main", "protected": True, "run": 17.5}, False),
            ({"repository": "acme/web", "ref": "refs/heads/main", "protected": True}, False),
            ({"repository": "xacme/web", "ref": "refs/heads/main", "protected": True, "run": 17}, False),
            ({"repository": "acme/web\n", "ref": "refs/heads/main", "protected": True, "run": 17}, False),
            (
                {"repository": {"x": "acme/web"}, "ref": "refs/heads/main", "protected": True, "run": 17},
                False,
            ),
        ],
    )
    async def test_all_have_to_fit(self, tmp_path: Path, said: dict[str, Any], fits: bool) -> None:
        token = ONE.token(said)
        if fits:
            assert (await believed(token, tmp_path, claims=self.CLAIMS)).source == "issuer"
        else:
            assert "is not as access.issuers wants it" in await refused(token, tmp_path, claims=self.CLAIMS)

    async def test_what_is_nested_or_long_is_no_claim_to_go_by(self, tmp_path: Path) -> None:
        more = {
            "list": ["a"],
            "section": {"a": "b"},
            "null": None,
            "long": "x" * 1025,
            "n" * 65: "x",
            "half": 0.5,
        }
        principal = await believed(ONE.signed(said({}) | more), tmp_path)
        assert dict(principal.claims) == {"iss": ISSUER, "aud": AUDIENCE, "sub": "job-1", "half": "0.5"}


class TestMemory:
    async def test_a_token_is_good_until_it_expires(self, tmp_path: Path) -> None:
        clock = Clock()
        trusted = issuers(settings(tmp_path), clock=clock)
        token = ONE.token()
        first = await trusted.verify(token)
        clock.at += timedelta(seconds=299)
        assert await trusted.verify(token) is first
        clock.at += timedelta(seconds=1)
        with pytest.raises(TokenInvalid, match="it has expired"):
            await trusted.verify(token)

    async def test_a_token_ends_with_its_key(self, tmp_path: Path) -> None:
        trusted = issuers(settings(tmp_path))
        token = ONE.token()
        await trusted.verify(token)
        settings(tmp_path, STRANGER, RSA)
        trusted.look()
        with pytest.raises(TokenInvalid, match="its key is none of its issuer's"):
            await trusted.verify(token)
        assert (await trusted.verify(STRANGER.token())).source == "issuer"

    async def test_a_bad_file_of_keys_changes_nothing(self, tmp_path: Path) -> None:
        trusted = issuers(settings(tmp_path))
        (tmp_path / "ci.json").write_text("{")
        trusted.look()
        assert (await trusted.verify(ONE.token())).source == "issuer"

    async def test_what_was_refused_is_looked_at_again(self, tmp_path: Path) -> None:
        trusted = issuers(settings(tmp_path))
        with pytest.raises(TokenInvalid):
            await trusted.verify(STRANGER.token())
        settings(tmp_path, ONE, STRANGER)
        trusted.look()
        assert (await trusted.verify(STRANGER.token())).source == "issuer"


class TestSettings:
    @pytest.mark.parametrize(
        ("more", "reason"),
        [
            ({"audience": None}, "audience"),
            ({"audience": ""}, "must not be empty"),
            ({"audience": []}, "must not be empty"),
            ({"claims": None}, "claims"),
            ({"claims": {}}, "must not be empty"),
            ({"claims": {"sub": []}}, "must not be empty"),
            ({"claims": {"sub": "*"}}, "stars alone is no condition"),
            ({"claims": {"sub": "**"}}, "stars alone is no condition"),
            ({"claims": {"iss": ISSUER}}, "is no condition"),
            ({"claims": {"aud": AUDIENCE}}, "is no condition"),
            ({"algorithms": ["HS256"]}, "algorithms"),
            ({"algorithms": ["none"]}, "algorithms"),
            ({"algorithms": []}, "must not be empty"),
            ({"name": "a:b"}, "lowercase letters"),
            ({"name": ""}, "lowercase letters"),
            ({"issuer": "issuer.test"}, "must be https://"),
            ({"issuer": "https://user:pw@issuer.test"}, "must be https://"),
            ({"issuer": "https://issuer.test?key=1"}, "without a query"),
            ({"jwks_url": "https://issuer.test/keys"}, "nothing is fetched"),
            ({"ca_file": "ca.pem"}, "nothing is fetched"),
            ({"jwks_file": None, "issuer": "http://issuer.test"}, "without TLS"),
            ({"jwks_file": None, "jwks_url": "http://issuer.test/keys"}, "without TLS"),
        ],
    )
    def test_one_that_would_believe_too_much_is_none(
        self, tmp_path: Path, more: dict[str, Any], reason: str
    ) -> None:
        with pytest.raises(ValidationError, match=reason):
            settings(tmp_path, **more)

    @pytest.mark.parametrize(
        "more",
        [
            {"issuer": "http://issuer.test"},
            {"issuer": "http://127.0.0.1:8080", "jwks_file": None},
            {"issuer": "http://localhost:8080", "jwks_file": None},
            {"issuer": "http://issuer.test", "jwks_file": None, "jwks_url": "https://issuer.test/keys"},
        ],
    )
    def test_without_tls_only_where_nobody_is_on_the_way(self, tmp_path: Path, more: dict[str, Any]) -> None:
        assert settings(tmp_path, **more).name == "ci"

    def test_a_file_of_keys_has_to_be_there_at_first(self, tmp_path: Path) -> None:
        one = settings(tmp_path)
        (tmp_path / "ci.json").unlink()
        with pytest.raises(Unusable, match="the file cannot be read: No such file"):
            issuers(one)


PARTS = st.binary(max_size=60).map(base64url) | st.text(max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=5), SCALARS, max_size=3)
HEADERS = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "x5c", "zip"]), VALUES, max_size=4
)
CLAIMS = st.dictionaries(st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "x"]), VALUES, max_size=4)


SIGNED = ONE.token()


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Issuers:
    """An issuer for as many tokens as can be thought of."""
    return issuers(settings(tmp_path_factory.mktemp("issuers")))


class TestWhateverIsSent:
    @given(st.text(max_size=100) | st.lists(PARTS, min_size=2, max_size=4).map(".".join))
    async def test_text_is_refused(self, trusted: Issuers, text: str) -> None:
        with pytest.raises(TokenInvalid):
            await trusted.verify(text)

    @given(HEADERS, CLAIMS)
    async def test_a_signed_token_is_believed_or_refused(
        self, trusted: Issuers, header: dict[str, Any], claims: dict[str, Any]
    ) -> None:
        try:
            principal = await trusted.verify(ONE.token(claims, **header))
        except TokenInvalid:
            return
        assert str(principal).startswith("issuer:ci:job-")
        assert header.get("alg", "ES256") in ("ES256", None) and claims.get("iss") in (ISSUER, None)

    @given(st.data())
    async def test_a_token_with_one_character_changed_is_refused(
        self, trusted: Issuers, data: st.DataObject
    ) -> None:
        token = SIGNED
        at = data.draw(st.integers(0, len(token) - 1))
        other = data.draw(
            st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
        )
        changed = token[:at] + other + token[at + 1 :]
        if changed == token:
            return
        with pytest.raises(TokenInvalid):
            await trusted.verify(changed)
