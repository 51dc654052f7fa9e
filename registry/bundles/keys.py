"""Keys that sign bundles and images: files in PEM.

A key is known by the first 16 hexadecimal digits of the SHA-256 of its public half (DER,
SubjectPublicKeyInfo). Imported where one is used, since it takes cryptography.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from registry.bundles.signatures import Algorithm
from registry.errors import RequestInvalid

_KEY_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The public half of a key, and the file that it comes from."""

    key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
    file: str

    @property
    def der(self) -> bytes:
        """Its SubjectPublicKeyInfo."""
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_bytes(serialization.Encoding.DER, kind)

    @property
    def pem(self) -> bytes:
        """As a file holds it."""
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_bytes(serialization.Encoding.PEM, kind)

    @property
    def id(self) -> str:
        """What it is known by."""
        return hashlib.sha256(self.der).hexdigest()[:16]

    @property
    def algorithm(self) -> Algorithm:
        """What it signs with."""
        return "ed25519" if isinstance(self.key, ed25519.Ed25519PublicKey) else "ecdsa-p256"

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """Whether this key has signed the content so."""
        try:
            if isinstance(self.key, ed25519.Ed25519PublicKey):
                self.key.verify(signature, content)
            else:
                self.key.verify(signature, content, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key."""

    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    file: str

    @property
    def public(self) -> PublicKey:
        """Its public half."""
        return PublicKey(self.key.public_key(), self.file)

    @property
    def pem(self) -> bytes:
        """As a file holds it, without a password."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def sign(self, content: bytes) -> bytes:
        """The raw signature of the content: DER of ECDSA with SHA-256, or 64 bytes of Ed25519."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(content)
        return self.key.sign(content, ec.ECDSA(hashes.SHA256()))


def new_key(algorithm: Algorithm) -> SigningKey:
    """A key that nobody has had before."""
    if algorithm == "ed25519":
        return SigningKey(ed25519.Ed25519PrivateKey.generate(), "")
    return SigningKey(ec.generate_private_key(ec.SECP256R1()), "")


def write_key(key: SigningKey, folder: Path) -> tuple[Path, Path]:
    """Write both halves of a key to new files, the private one for its owner alone. Raises RequestInvalid."""
    private, public = folder / f"{key.public.id}.key", folder / f"{key.public.id}.pub"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content, mode in ((private, key.pem, 0o600), (public, key.public.pem, 0o644)):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
    except OSError as error:
        raise RequestInvalid(f"the key cannot be written to {folder}: {error.strerror}") from None
    return private, public


def read_signing_key(path: Path) -> SigningKey:
    """The private key in a PEM file without a password. Raises RequestInvalid."""
    content = _read(path)
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise RequestInvalid(f"{path} is no private key in PEM without a password") from None
    if isinstance(key, ed25519.Ed25519PrivateKey) or (
        isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
    ):
        return SigningKey(key, str(path))
    raise RequestInvalid(f"the key in {path} is neither ECDSA P-256 nor Ed25519")


def read_public_key(path: Path) -> PublicKey:
    """The public key in a PEM file. Raises RequestInvalid."""
    content = _read(path)
    try:
        key = serialization.load_pem_public_key(content)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise RequestInvalid(f"{path} is no public key in PEM") from None
    if isinstance(key, ed25519.Ed25519PublicKey) or (
        isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    ):
        return PublicKey(key, str(path))
    raise RequestInvalid(f"the key in {path} is neither ECDSA P-256 nor Ed25519")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as opened:
            content = opened.read(_KEY_BYTES + 1)
    except OSError as error:
        raise RequestInvalid(f"the key {path} cannot be read: {error.strerror}") from None
    if len(content) > _KEY_BYTES:
        raise RequestInvalid(f"{path} is too large to be a key")
    return content
