"""The keys that sign access tokens: made at first start, replaced without logging anybody out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jwt.algorithms
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from registry.access.errors import Unfit
from registry.access.vault import Document, Vault

_KIND, _NAME = "signing", "keys"
_LEAST_RSA_BITS = 2048
# Besides the newest key the one before it is believed, for as long as its last tokens live.
_KEPT = 2

_P256_BYTES = 32

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


class SigningKeyUnusable(Unfit):
    """A key that was given cannot sign; the text says why."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair with its algorithm (`ES256`, `EdDSA` or `RS256`), and its thumbprint (RFC 7638) as `kid`.

    `scheme` is what the public key is told of its algorithm when it verifies.
    """

    kid: str
    algorithm: str
    private: PrivateKey
    public: Any
    scheme: tuple[object, ...]
    jwk: Mapping[str, str]

    def has_signed(self, text: bytes, signature: bytes) -> bool:
        """Whether a signature as tokens have it (RFC 7518 and 8037) is this key's, of this text.

        Without PyJWT, which asks anew of each signature what kind of key it has been given.
        """
        if self.algorithm == "ES256":
            if len(signature) != 2 * _P256_BYTES:
                return False
            r, s = int.from_bytes(signature[:_P256_BYTES]), int.from_bytes(signature[_P256_BYTES:])
            signature, text = encode_dss_signature(r, s), hashlib.sha256(text).digest()
        try:
            self.public.verify(signature, text, *self.scheme)
        except InvalidSignature:
            return False
        return True


class Keys(Protocol):
    """Where signing keys are kept."""

    async def load(self) -> Sequence[SigningKey]:
        """All that are believed, the one that signs first."""


class KeyFiles:
    """Keys that the operator keeps in files."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    async def load(self) -> Sequence[SigningKey]:
        """The keys in the files. Raises SigningKeyUnusable."""
        return [read_key(path) for path in self._paths]


class StoredKeys:
    """Keys in the store, so that all replicas agree on them."""

    def __init__(self, vault: Vault, *, may_write: bool) -> None:
        self._vault = vault
        self._may_write = may_write

    async def load(self) -> Sequence[SigningKey]:
        """The keys; the first are made where there are none. Raises SigningKeyUnusable."""
        keys = await self._read()
        if not keys and self._may_write:
            with suppress(_Made):
                await self._vault.revise(_KIND, _NAME, _first, keep=_KEPT)
            keys = await self._read()
        return keys

    async def rotate(self, *, revoke: bool) -> SigningKey:
        """Sign with a new key from now on; the one before is believed for a while, or (`revoke`) no more."""
        document = await self._vault.revise(_KIND, _NAME, lambda _: _new(), keep=1 if revoke else _KEPT)
        return key_of(document["private"].encode())

    async def retire(self, after_seconds: float, now: float) -> bool:
        """Believe the key before the newest no more once its tokens have died; `now` by the store's clock."""
        numbers = await self._vault.numbers(_KIND, _NAME)
        if len(numbers) < 2 or now - await self._vault.written_at(_KIND, _NAME, numbers[-1]) < after_seconds:
            return False
        for number in numbers[:-1]:
            await self._vault.forget(_KIND, _NAME, number)
        return True

    async def _read(self) -> list[SigningKey]:
        numbers = await self._vault.numbers(_KIND, _NAME)
        entries = [await self._vault.entry(_KIND, _NAME, number) for number in reversed(numbers)]
        return [key_of(entry["private"].encode()) for entry in entries if entry is not None]


class SigningKeys:
    """The keys as one process knows them; `look` reads them again."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._known: dict[str, SigningKey] = {}
        self._newest: SigningKey | None = None

    @property
    def newest(self) -> SigningKey:
        """The key that signs. Raises SigningKeyUnusable when there is none."""
        if self._newest is None:
            raise SigningKeyUnusable("there is no key to sign tokens with, and the store is read-only")
        return self._newest

    def get(self, kid: object) -> SigningKey | None:
        """A key that is believed."""
        return self._known.get(kid) if isinstance(kid, str) else None

    async def look(self) -> None:
        """Read the keys."""
        keys = await self._keys.load()
        self._known = {key.kid: key for key in keys}
        self._newest = keys[0] if keys else None

    def jwks(self) -> dict[str, Any]:
        """The public keys, as others verify our tokens with (RFC 7517)."""
        return {
            "keys": [
                {**key.jwk, "kid": key.kid, "alg": key.algorithm, "use": "sig"}
                for key in self._known.values()
            ]
        }


def read_key(path: Path) -> SigningKey:
    """The key in a PEM file. Raises SigningKeyUnusable."""
    try:
        return key_of(path.read_bytes())
    except OSError as error:
        raise SigningKeyUnusable(f"the signing key {path} cannot be read: {error.strerror}") from error
    except SigningKeyUnusable as error:
        raise SigningKeyUnusable(f"{path}: {error}") from error


def key_of(pem: bytes) -> SigningKey:
    """The key that a PEM text holds. Raises SigningKeyUnusable."""
    try:
        private = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise SigningKeyUnusable("it holds no private key in PEM, without a pass phrase") from error
    scheme: tuple[object, ...]
    if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(private.curve, ec.SECP256R1):
        algorithm, text = "ES256", jwt.algorithms.ECAlgorithm.to_jwk(private.public_key())
        scheme = (ec.ECDSA(Prehashed(hashes.SHA256())),)
    elif isinstance(private, ed25519.Ed25519PrivateKey):
        algorithm, text = "EdDSA", jwt.algorithms.OKPAlgorithm.to_jwk(private.public_key())
        scheme = ()
    elif isinstance(private, rsa.RSAPrivateKey) and private.key_size >= _LEAST_RSA_BITS:
        algorithm, text = "RS256", jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key())
        scheme = (padding.PKCS1v15(), hashes.SHA256())
    else:
        raise SigningKeyUnusable("a key that signs tokens is of P-256, Ed25519, or RSA of 2048 bits or more")
    jwk = {name: value for name, value in json.loads(text).items() if name in _THUMBPRINT}
    return SigningKey(thumbprint(jwk), algorithm, private, private.public_key(), scheme, jwk)


_THUMBPRINT = ("crv", "e", "kty", "n", "x", "y")


def thumbprint(jwk: Mapping[str, str]) -> str:
    """The name of a public key (RFC 7638)."""
    canonical = json.dumps(dict(sorted(jwk.items())), separators=(",", ":"))
    return jwt.utils.base64url_encode(hashlib.sha256(canonical.encode()).digest()).decode()


class _Made(Exception):
    """Another process has made the first key a moment before."""


def _first(before: Document | None) -> Document:
    if before is not None:
        raise _Made
    return _new()


def _new() -> Document:
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {"private": pem.decode()}
