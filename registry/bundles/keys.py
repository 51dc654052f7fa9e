"""Signatures of bundles: by key files, over the bytes of `bundle.json`.

Each signature lies there twice: raw, as openssl reads it, and as a Sigstore bundle, as cosign does; the
second is made of the first and the key, and of nothing else. A key is known by the first 16 hexadecimal
digits of the SHA-256 of its public half (DER, SubjectPublicKeyInfo).
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from registry.bundles.errors import BundleRefused
from registry.bundles.format import HEAD, canonical
from registry.errors import RequestInvalid

Algorithm = Literal["ecdsa-p256", "ed25519"]

SIGNATURE_BYTES = 64 << 10
_SIGNATURE = re.compile(rf"{re.escape(HEAD)}\.([0-9a-f]{{16}})\.(sig|sigstore\.json)")
_SIGSTORE = "application/vnd.dev.sigstore.bundle.v0.3+json"
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


def is_signature(name: str) -> bool:
    """Whether a file of a bundle is called like a signature."""
    return _SIGNATURE.fullmatch(name) is not None


def raw_signature(name: str) -> str | None:
    """The id of the key whose raw signature a file of that name is; None for other files."""
    found = _SIGNATURE.fullmatch(name)
    return found[1] if found is not None and found[2] == "sig" else None


def signature_files(key: PublicKey, signature: bytes, content: bytes) -> dict[str, bytes]:
    """The two files of one signature of the content of `bundle.json`."""
    encoded = base64.b64encode(signature).decode()
    sigstore = {
        "mediaType": _SIGSTORE,
        "verificationMaterial": {
            "publicKey": {"hint": base64.b64encode(hashlib.sha256(key.der).digest()).decode()},
        },
        "messageSignature": {
            "messageDigest": {
                "algorithm": "SHA2_256",
                "digest": base64.b64encode(hashlib.sha256(content).digest()).decode(),
            },
            "signature": encoded,
        },
    }
    return {f"{HEAD}.{key.id}.sig": signature, f"{HEAD}.{key.id}.sigstore.json": canonical(sigstore)}


def require_signatures(
    content: bytes, signatures: Mapping[str, bytes], trusted: Iterable[PublicKey], required: int
) -> list[PublicKey]:
    """The trusted keys that have signed the content of `bundle.json`, by the files of its signatures.

    Raises BundleRefused for less than `required` of them; one key counts once, however often it has signed.
    """
    keys = {one.id: one for one in trusted}
    good: dict[str, PublicKey] = {}
    wrong, strange = [], []
    for name, signature in sorted(signatures.items()):
        key_id = raw_signature(name)
        if key_id is None:
            if not _is_second(name, signature, signatures, keys, content):
                wrong.append(name)
        elif key_id not in keys:
            strange.append(name)
        elif keys[key_id].verifies(signature, content):
            good[key_id] = keys[key_id]
        else:
            wrong.append(name)
    if wrong:
        raise BundleRefused(
            f"{', '.join(wrong)}: this is not the signature of this {HEAD}; one of the two was altered:"
            " copy both once more from where they were made",
            detail={"files": wrong},
        )
    if len(good) >= required:
        return list(good.values())
    if not any(raw_signature(name) for name in signatures):
        found = "it is not signed"
    elif not good and strange:
        found = f"it is signed by keys that are not trusted here ({', '.join(strange)})"
    else:
        found = f"{len(good)} of the trusted keys signed it ({', '.join(good)})"
    raise BundleRefused(
        f"{HEAD}: {found}, and {required} of those in bundles.trusted_keys must; have it signed"
        " (`moorage bundle sign`), or have an operator trust the key",
        detail={"required": required, "found": sorted(good)},
    )


def _is_second(
    name: str,
    sigstore: bytes,
    signatures: Mapping[str, bytes],
    keys: Mapping[str, PublicKey],
    content: bytes,
) -> bool:
    """Whether a file is what belongs beside a raw signature; of a key that is not trusted, any will do."""
    found = _SIGNATURE.fullmatch(name)
    key = keys.get(found[1]) if found is not None else None
    raw = signatures.get(f"{HEAD}.{key.id}.sig") if key is not None else None
    return key is None or (raw is not None and signature_files(key, raw, content)[name] == sigstore)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as opened:
            content = opened.read(_KEY_BYTES + 1)
    except OSError as error:
        raise RequestInvalid(f"the key {path} cannot be read: {error.strerror}") from None
    if len(content) > _KEY_BYTES:
        raise RequestInvalid(f"{path} is too large to be a key")
    return content
