"""Signers of tokens, honest ones and others, with keys that are made at run time."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.certificates import PrivateKey

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
ISSUER = "https://issuer.test"
AUDIENCE = "https://registry.test"
CURVES: dict[str, ec.EllipticCurve] = {
    "ES256": ec.SECP256R1(),
    "ES384": ec.SECP384R1(),
    "ES512": ec.SECP521R1(),
}


@dataclass
class Clock:
    """A time that goes on when a test says so; as a time of day, and as seconds."""

    at: datetime = NOW

    def now(self) -> datetime:
        """The time of day."""
        return self.at

    def seconds(self) -> float:
        """The seconds since some time."""
        return self.at.timestamp()


@dataclass(frozen=True)
class Signer:
    """Somebody who signs tokens."""

    kid: str
    algorithm: str
    key: PrivateKey

    @classmethod
    def new(cls, kid: str = "one", algorithm: str = "ES256", key: PrivateKey | None = None) -> Signer:
        """Somebody with a key of their own."""
        return cls(kid, algorithm, key or private_key(algorithm, kid))

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key, as a set of keys has it."""
        public = self.key.public_key()
        return {**jwk_of(public), "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def token(self, claims: Mapping[str, Any] | None = None, /, **header: Any) -> str:
        """A token that says what tokens say and the claims besides; a claim or header None is left out."""
        return self.signed(said(claims or {}), **header)

    def signed(self, claims: object, **header: Any) -> str:
        """A token that says just that."""
        head = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid, **header}
        return compact({k: v for k, v in head.items() if v is not None}, claims, self.sign)

    def sign(self, data: bytes) -> bytes:
        """The signature of some bytes."""
        return jwt.get_algorithm_by_name(self.algorithm).sign(data, self.key)


@cache
def private_key(algorithm: str, kid: str) -> PrivateKey:
    """A key for an algorithm; the same for the same name, since RSA keys take their time."""
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm])
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048)


def jwk_of(public: object) -> dict[str, Any]:
    """A public key as a JSON Web Key."""
    match public:
        case rsa.RSAPublicKey():
            return dict(jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True))
        case ec.EllipticCurvePublicKey():
            return dict(jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True))
        case ed25519.Ed25519PublicKey():
            return dict(jwt.algorithms.OKPAlgorithm.to_jwk(public, as_dict=True))
    raise AssertionError(public)


def said(claims: Mapping[str, Any]) -> dict[str, Any]:
    """What a good token says at NOW, and the claims; what is None is left out."""
    at = int(NOW.timestamp())
    usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "job-1", "iat": at, "nbf": at, "exp": at + 300}
    return {name: value for name, value in {**usual, **claims}.items() if value is not None}


def compact(header: object, claims: object, sign: Callable[[bytes], bytes]) -> str:
    """A token of any header and claims; bytes stand for themselves."""
    signed = f"{part(header)}.{part(claims)}"
    return f"{signed}.{base64url(sign(signed.encode()))}"


def part(document: object) -> str:
    """A document as a part of a token."""
    return base64url(document if isinstance(document, bytes) else json.dumps(document).encode())


def base64url(data: bytes) -> str:
    """Base64 of URLs, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def private_jwk(signer: Signer) -> dict[str, Any]:
    """A signer's key with its private half, as those keep it who sign."""
    match signer.key:
        case rsa.RSAPrivateKey():
            private = dict(jwt.algorithms.RSAAlgorithm.to_jwk(signer.key, as_dict=True))
        case ec.EllipticCurvePrivateKey():
            private = dict(jwt.algorithms.ECAlgorithm.to_jwk(signer.key, as_dict=True))
        case _:
            private = dict(jwt.algorithms.OKPAlgorithm.to_jwk(signer.key, as_dict=True))
    private.pop("key_ops", None)
    return {**private, "kid": signer.kid, "alg": signer.algorithm, "use": "sig"}
