"""The seal on `_moorage/v1/secret/`: a copy of the store without the key file cannot act as the registry."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from registry.access.errors import Unfit

_KEY_BYTES = 32
_NONCE_BYTES = 12
_MARK = b"sealed:1:"


class SealBroken(Unfit):
    """What is sealed cannot be opened, or is not sealed as it must be; the text says what to do."""


class Seal(Protocol):
    """Seals small objects and opens them; their `key` goes in, so that none passes for another.

    `has_key` says whether it does more than to let them pass.
    """

    has_key: bool

    def close(self, key: str, data: bytes) -> bytes:
        """The bytes to store."""

    def open(self, key: str, stored: bytes) -> bytes:
        """The bytes that were sealed. Raises SealBroken."""


class Unsealed:
    """No seal: on a local disk the files are the server's user's alone."""

    has_key = False

    def close(self, key: str, data: bytes) -> bytes:  # noqa: ARG002 (the contract's)
        """The bytes as they are."""
        return data

    def open(self, key: str, stored: bytes) -> bytes:
        """The bytes as they are, unless they are sealed."""
        if is_sealed(stored):
            raise SealBroken(
                f"{key} in the store is sealed, and no key was given to open it: name the registry's key file"
                " in access.seal_key_file"
            )
        return stored


class KeySeal:
    """AES-256-GCM with the key of a file.

    What is not sealed is not read: whoever can write to the store, and has no key, could have put it there.
    """

    has_key = True

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def close(self, key: str, data: bytes) -> bytes:
        """The bytes, sealed under a fresh nonce."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _MARK + base64.b64encode(nonce + self._cipher.encrypt(nonce, data, key.encode()))

    def open(self, key: str, stored: bytes) -> bytes:
        """The bytes that were sealed."""
        if not is_sealed(stored):
            raise SealBroken(
                f"{key} in the store is not sealed: if the registry had no access.seal_key_file before, seal"
                " what is there with `moorage access seal`; if it had, somebody else has put this there"
            )
        try:
            sealed = base64.b64decode(stored.removeprefix(_MARK), validate=True)
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], key.encode())
        except (InvalidTag, binascii.Error, ValueError):
            raise SealBroken(
                f"{key} in the store was sealed with another key, or was altered: access.seal_key_file must"
                " name the key file that this registry was made with"
            ) from None


def is_sealed(stored: bytes) -> bool:
    """Whether an object is sealed, with whichever key."""
    return stored.startswith(_MARK)


def new_key() -> str:
    """A new key, as its file holds it."""
    return base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode() + "\n"


def read_seal(path: Path | None, *, required: bool = False) -> Seal:
    """The seal with the key of a file, or none unless one is `required`. Raises SealBroken."""
    if path is None:
        if required:
            raise SealBroken(
                "in a bucket accounts and signing keys lie open to everybody who can read it: name a key file"
                " in access.seal_key_file (`moorage init` makes one), or write access.seal: none"
            )
        return Unsealed()
    try:
        text = path.read_bytes()
        mode = os.stat(path).st_mode
    except OSError as error:
        advice = "; copy that of the registry here, or for a new one take what `moorage init` makes"
        raise SealBroken(
            f"the key file {path} cannot be read: {error.strerror}"
            + (advice if isinstance(error, FileNotFoundError) else "")
        ) from error
    if mode & 0o007:
        raise SealBroken(f"the key file {path} may be read by everybody: chmod 600 {path}")
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise SealBroken(
            f"the key file {path} does not hold a key: {_KEY_BYTES} random bytes in base64, as `moorage init`"
            " writes them"
        )
    return KeySeal(key)
