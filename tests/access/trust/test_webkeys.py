"""Sets of keys: what is taken of them, and what is left out."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from hypothesis import given
from hypothesis import strategies as st

from registry.access.trust.webkeys import KeyUnfit, read_key, read_set, web_key
from tests.access.trust.tokens import Signer, base64url, jwk_of

GOOD = Signer.new("good")
RSA = Signer.new("rsa", "RS256")


@pytest.mark.parametrize(
    "algorithm", ["EdDSA", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
)
def test_keys_of_every_kind_verify_their_own_algorithm_only(algorithm: str) -> None:
    signer = Signer.new("key", algorithm, RSA.key if algorithm[:2] in ("RS", "PS") else None)
    keys = read_set({"keys": [signer.jwk]})
    assert keys.find("key", algorithm) is not None
    other = "ES256" if algorithm != "ES256" else "RS256"
    assert keys.find("key", other) is None


def test_without_an_algorithm_of_its_own_a_key_has_those_of_its_kind() -> None:
    assert read_key(jwk_of(RSA.key.public_key())).algorithms == {
        *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
    }
    assert read_key(jwk_of(GOOD.key.public_key())).algorithms == {"ES256"}


def test_a_thumbprint_is_that_of_the_specification() -> None:
    """The example of RFC 7638, section 3.1."""
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCi"
        "FV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnY"
        "b9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0"
        "Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    key = read_key({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"})
    assert key.thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert key.names == {"2011-04-29", key.thumbprint}


def small() -> dict[str, Any]:
    # No library makes so small a key any more.
    return {"kty": "RSA", "kid": "small", "n": base64url(b"\xc1" + b"\x01" * 63), "e": "AQAB"}


def of_curve(curve: ec.EllipticCurve) -> dict[str, Any]:
    return jwk_of(ec.generate_private_key(curve).public_key())


UNFIT: dict[str, Any] = {
    "RSA of 512 bits": small(),
    "RSA of 1024 bits": jwk_of(rsa.generate_private_key(65537, 1024).public_key()),
    "RSA of 16384 bits": {"kty": "RSA", "n": base64url(b"\xff" * 2048), "e": "AQAB"},
    "RSA, large exponent": {**RSA.jwk, "e": base64url(b"\x01" * 9)},
    "RSA, exponent 1": {**RSA.jwk, "e": "AQ"},
    "RSA, even": {**RSA.jwk, "n": base64url(b"\xff" * 255 + b"\xfe"), "e": "Ag"},
    "symmetric": {"kty": "oct", "k": base64url(b"x" * 32), "kid": "x", "alg": "HS256"},
    "for encryption": {**GOOD.jwk, "use": "enc"},
    "for wrapping": {**GOOD.jwk, "key_ops": ["wrapKey"]},
    "secp256k1": of_curve(ec.SECP256K1()),
    "not on its curve": {**GOOD.jwk, "x": GOOD.jwk["y"], "y": GOOD.jwk["x"]},
    "another curve": {**GOOD.jwk, "crv": "P-384"},
    "Ed448": {
        "kty": "OKP",
        "crv": "Ed448",
        "x": base64url(ed448.Ed448PrivateKey.generate().public_key().public_bytes_raw()),
    },
    "X25519": {"kty": "OKP", "crv": "X25519", "x": base64url(b"x" * 32)},
    "private": {**GOOD.jwk, "d": base64url(b"x" * 32)},
    "an algorithm of another kind": {**GOOD.jwk, "alg": "RS256"},
    "an algorithm with a secret": {**RSA.jwk, "alg": "HS256"},
    "none": {**RSA.jwk, "alg": "none"},
    "no kind": {key: value for key, value in GOOD.jwk.items() if key != "kty"},
    "a list as kind": {**GOOD.jwk, "kty": ["EC"]},
    "numbers": {**RSA.jwk, "n": 3, "e": 3},
    "a list as algorithm": {**GOOD.jwk, "alg": []},
    "no coordinates": {"kty": "EC", "crv": "P-256"},
    "no base64": {**GOOD.jwk, "x": "ä" * 43},
    "null": None,
    "text": "key",
    "list": [],
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_key_that_verifies_nothing_is_left_out(name: str) -> None:
    assert read_set({"keys": [GOOD.jwk, UNFIT[name]]}) == read_set({"keys": [GOOD.jwk]})
    with pytest.raises(KeyUnfit, match="none of its keys can verify"):
        read_set({"keys": [UNFIT[name]]})


def test_a_name_of_two_keys_names_none_of_them() -> None:
    first, second, third = Signer.new("a"), Signer.new("b"), Signer.new("c", "RS256", RSA.key)
    twice = [{**signer.jwk, "kid": "same"} for signer in (first, second, third)]
    keys = read_set({"keys": twice})
    assert keys.find("same", "ES256") is None
    # That of another kind cannot be meant.
    assert keys.find("same", "RS256") is not None
    assert keys.find(read_key(first.jwk).thumbprint, "ES256") is not None


def test_a_key_that_is_there_twice_is_there() -> None:
    assert read_set({"keys": [GOOD.jwk, GOOD.jwk]}).find("good", "ES256") is not None


def test_a_token_that_names_no_key_means_the_only_one_that_fits() -> None:
    assert read_set({"keys": [GOOD.jwk, RSA.jwk]}).find(None, "ES256") is not None
    assert read_set({"keys": [GOOD.jwk, Signer.new("other").jwk]}).find(None, "ES256") is None


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (None, "no set of keys"),
        ([], "no set of keys"),
        ({}, "no set of keys"),
        ({"keys": {}}, "no set of keys"),
        ({"keys": []}, "none of its keys"),
        ({"keys": [GOOD.jwk] * 101}, "101 keys"),
    ],
    ids=["null", "list", "nothing", "no list", "empty", "many"],
)
def test_what_is_no_set_is_refused(document: object, reason: str) -> None:
    with pytest.raises(KeyUnfit, match=reason):
        read_set(document)


def test_keys_of_certificates_are_of_the_same_kinds() -> None:
    assert web_key(GOOD.key.public_key()).thumbprint == read_key(GOOD.jwk).thumbprint
    with pytest.raises(KeyUnfit, match="neither RSA"):
        web_key(ed448.Ed448PrivateKey.generate().public_key())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
MEMBERS = st.fixed_dictionaries(
    {"kty": st.sampled_from(["RSA", "EC", "OKP", "oct", ""])},
    optional={
        name: JSON | st.sampled_from(["P-256", "Ed25519", "AQAB", GOOD.jwk["x"], RSA.jwk["n"], "ES256"])
        for name in ("crv", "x", "y", "n", "e", "alg", "use", "key_ops", "kid", "d")
    },
)


@given(st.lists(MEMBERS | JSON, max_size=4))
def test_whatever_a_set_holds_it_is_keys_or_refused(documents: list[object]) -> None:
    try:
        keys = read_set({"keys": documents}).keys
    except KeyUnfit:
        return
    assert all(key.algorithms and "none" not in key.algorithms for key in keys)
