"""Signatures of bundles, over the bytes of `bundle.json`.

Each signature lies there twice: raw, as openssl reads it, and as a Sigstore bundle, as cosign does; the
second is made of the first and the key, and of nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

from registry.bundles.errors import BundleRefused
from registry.bundles.format import HEAD, canonical

if TYPE_CHECKING:
    from registry.bundles.keys import PublicKey

Algorithm = Literal["ecdsa-p256", "ed25519"]

SIGNATURE_BYTES = 64 << 10
_SIGNATURE = re.compile(rf"{re.escape(HEAD)}\.([0-9a-f]{{16}})\.(sig|sigstore\.json)")
_SIGSTORE = "application/vnd.dev.sigstore.bundle.v0.3+json"


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
        f"{HEAD}: {found}, and {required} of those in bundles.import.trusted_keys must; have it signed"
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
