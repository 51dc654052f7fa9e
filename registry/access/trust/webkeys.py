"""Public keys of others, as JSON Web Keys or in certificates, and the algorithms that they are good for."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

MOST_KEYS = 100
_RSA_BITS = range(2048, 8193)
# Larger exponents are nobody's, and make a signature cost what its sender likes.
_MOST_EXPONENT = 1 << 32
# As many characters has RSA of 8192 bits, and some to spare.
_LONGEST_MEMBER = 1400
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_MEMBERS = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y"), "OKP": ("kty", "crv", "x")}


class KeyUnfit(Exception):
    """A key that verifies nothing here; the text says why."""


@dataclass(frozen=True, slots=True)
class WebKey:
    """A public key, the names that tokens may call it by, and its thumbprint (RFC 7638)."""

    thumbprint: str
    names: frozenset[str]
    algorithms: frozenset[str]
    key: PublicKey = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class WebKeys:
    """The keys that are believed."""

    keys: tuple[WebKey, ...]

    def find(self, name: str | None, algorithm: str) -> WebKey | None:
        """The one key that a token means by a name (its `kid`), or without one; None if not just one fits."""
        fitting = [
            key for key in self.keys if algorithm in key.algorithms and (name is None or name in key.names)
        ]
        return fitting[0] if len(fitting) == 1 else None


def read_set(document: object) -> WebKeys:
    """The keys of a set (RFC 7517) that can verify a signature; the others are left out.

    Raises KeyUnfit where the document is no set, or holds no such key.
    """
    found = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(found, list):
        raise KeyUnfit("it is no set of keys: a JSON object with a list `keys`")
    if len(found) > MOST_KEYS:
        raise KeyUnfit(f"it has {len(found)} keys, and at most {MOST_KEYS} are taken")
    keys = WebKeys(tuple(_once(_fitting(found))))
    if not keys.keys:
        raise KeyUnfit(
            "none of its keys can verify a signature: public RSA of 2048 bits or more, EC or Ed25519"
        )
    return keys


def read_key(document: object) -> WebKey:
    """A public key (RFC 7517). Raises KeyUnfit."""
    try:
        return _read_key(document)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise KeyUnfit("it is no public key in the form of RFC 7517") from error


def web_key(public: object, names: Iterable[str] = ()) -> WebKey:
    """A public key, as that of a certificate, under names; its thumbprint is one. Raises KeyUnfit."""
    algorithms = frozenset(_algorithms(public))
    assert isinstance(public, PublicKey)
    thumbprint = _thumbprint(public)
    return WebKey(thumbprint, frozenset({*names, thumbprint}), algorithms, public)


def libtrust_name(public: PublicKey) -> str:
    """What token servers of Distribution's first years call a key: `ABCD:EFGH:…`, of its SHA-256."""
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
    return ":".join(text[start : start + 4] for start in range(0, len(text), 4))


def _read_key(document: Any) -> WebKey:
    if document.get("use", "sig") != "sig" or "verify" not in document.get("key_ops", ("verify",)):
        raise KeyUnfit("it is not for signatures")
    if "d" in document:
        raise KeyUnfit("its private half is there for everybody to read")
    members = {name: document[name] for name in _MEMBERS[document["kty"]]}
    if any(len(text) > _LONGEST_MEMBER for text in members.values()):
        raise KeyUnfit("it is larger than any that is used")
    kid, algorithm = document.get("kid"), document.get("alg")
    key = web_key(_public(members), [kid] if isinstance(kid, str) else [])
    return key if algorithm is None else replace(key, algorithms=key.algorithms & {algorithm})


def _fitting(documents: Iterable[object]) -> Iterator[WebKey]:
    for document in documents:
        try:
            key = read_key(document)
        except KeyUnfit:
            continue
        if key.algorithms:
            yield key


def _once(keys: Iterable[WebKey]) -> Iterator[WebKey]:
    """Each but once: the same key twice is no doubt about which is meant."""
    seen = set()
    for key in keys:
        if key not in seen:
            seen.add(key)
            yield key


def _public(members: dict[str, Any]) -> object:
    match members["kty"]:
        case "RSA":
            return RSAAlgorithm.from_jwk(members)
        case "EC":
            return ECAlgorithm.from_jwk(members)
        case _:
            return OKPAlgorithm.from_jwk(members)


def _algorithms(public: object) -> Iterable[str]:
    match public:
        case rsa.RSAPublicKey():
            if public.key_size not in _RSA_BITS:
                raise KeyUnfit(f"it is RSA of {public.key_size} bits, and must have 2048 to 8192")
            if public.public_numbers().e >= _MOST_EXPONENT:
                raise KeyUnfit("its exponent is larger than any that is used")
            return _RSA
        case ec.EllipticCurvePublicKey() if public.curve.name in _CURVES:
            return {_CURVES[public.curve.name]}
        case ed25519.Ed25519PublicKey():
            return {"EdDSA"}
    raise KeyUnfit("it is neither RSA, nor of P-256, P-384, P-521 or Ed25519")


def _thumbprint(public: PublicKey) -> str:
    match public:
        case rsa.RSAPublicKey():
            jwk = RSAAlgorithm.to_jwk(public, as_dict=True)
        case ec.EllipticCurvePublicKey():
            jwk = ECAlgorithm.to_jwk(public, as_dict=True)
        case _:
            jwk = OKPAlgorithm.to_jwk(public, as_dict=True)
    members = {name: jwk[name] for name in sorted(_MEMBERS[jwk["kty"]])}
    digest = hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
