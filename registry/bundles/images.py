"""Signatures of images, as cosign makes them with a key: looked for among what a bundle brings.

Both ways that cosign has are read: a tag `sha256-<hex>.sig` whose layers are payloads with a signature beside
them, and a referrer that is a Sigstore bundle. Only keys count here: transparency logs and certificates are
for those who are online.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from registry.bundles.contents import Key
from registry.bundles.errors import BundleRefused
from registry.bundles.references import Read
from registry.bundles.statement import Statement, digest_of, key_of
from registry.errors import ManifestInvalid
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.store.store import Store
from storage.errors import NotFound, TooLarge

if TYPE_CHECKING:
    from registry.bundles.keys import PublicKey

_SIGNATURE = "dev.cosignproject.cosign/signature"
_SIGSTORE = "application/vnd.dev.sigstore.bundle"
_SIGNED = "https://sigstore.dev/cosign/sign/v1"
"""What `cosign sign` says in a Sigstore bundle; `cosign attest` says other things."""
_BESIDE = re.compile(r"sha256-([0-9a-f]{64})(?:\.(?:sig|att|sbom))?")
_LIMIT = 1 << 20  # bytes of a payload or a Sigstore bundle
_MOST = 1000  # signatures of one image that are looked at
_TOLD = 10


class ImageSignatures:
    """The signatures in one statement, judged by keys."""

    def __init__(self, store: Store, statement: Statement, read: Read, keys: Sequence[PublicKey]) -> None:
        self._store = store
        self._statement = statement
        self._read = read
        self._keys = keys

    async def require(self) -> None:
        """Raises BundleRefused where the image of a tag is not signed by one of the keys."""
        if not self._keys:
            return
        referrers = await self._referrers()
        unsigned = []
        for (name, tag), key in self._statement.tags.items():
            if self._is_beside(name, tag):
                continue
            if not await self._is_signed(name, digest_of(key), referrers.get((name, key), ())):
                unsigned.append(f"{name}:{tag}")
        if unsigned:
            more = f" and {len(unsigned) - _TOLD} more" if len(unsigned) > _TOLD else ""
            raise BundleRefused(
                f"{', '.join(unsigned[:_TOLD])}{more}: no signature by a key in bundles.import.image_keys"
                " came with it; sign it where it comes from (cosign sign --key), and write the bundle again",
                detail={"unsigned": unsigned[:_TOLD]},
            )

    async def _referrers(self) -> Mapping[tuple[str, Key], list[Digest]]:
        """What refers to each manifest."""
        found: dict[tuple[str, Key], list[Digest]] = {}
        for key, content in self._statement.manifests.items():
            for name in content.repositories:
                manifest = await self._manifest(name, digest_of(key))
                if (
                    manifest is not None
                    and manifest.subject is not None
                    and manifest.subject.digest.supported
                ):
                    subject = bytes.fromhex(manifest.subject.digest.encoded)
                    found.setdefault((name, subject), []).append(digest_of(key))
        return found

    async def _is_signed(self, name: str, digest: Digest, referrers: Sequence[Digest]) -> bool:
        tagged = self._statement.tags.get((name, f"sha256-{digest.encoded}.sig"))
        for signature in [*([digest_of(tagged)] if tagged is not None else []), *referrers][:_MOST]:
            manifest = await self._manifest(name, signature)
            if manifest is None:
                continue
            async for payload, raw, signed in self._signatures(manifest):
                if _says(payload, digest) and any(key.verifies(raw, signed) for key in self._keys):
                    return True
        return False

    async def _signatures(self, manifest: Manifest) -> AsyncIterator[tuple[Any, bytes, bytes]]:
        """What a manifest of signatures holds: what is signed, the signature, and the bytes signed."""
        for layer in manifest.layers[:_MOST]:
            told = (layer.annotations or {}).get(_SIGNATURE)
            content = await self._blob(layer.digest)
            if content is None:
                continue
            try:
                if told is not None:
                    yield json.loads(content), base64.b64decode(told, validate=True), content
                elif layer.media_type.startswith(_SIGSTORE):
                    envelope = json.loads(content)["dsseEnvelope"]
                    payload = base64.b64decode(envelope["payload"], validate=True)
                    kind = str(envelope["payloadType"])
                    signed = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
                    for one in envelope["signatures"]:
                        yield json.loads(payload), base64.b64decode(one["sig"], validate=True), signed
            except (ValueError, KeyError, TypeError, RecursionError):
                continue

    def _is_beside(self, name: str, tag: str) -> bool:
        """Whether a tag stands for what is attached to an image that is stated itself."""
        found = _BESIDE.fullmatch(tag)
        image = self._statement.manifests.get(bytes.fromhex(found[1])) if found is not None else None
        return image is not None and name in image.repositories

    async def _manifest(self, name: str, digest: Digest) -> Manifest | None:
        key = key_of(digest)
        stored = await self._read(name, key, self._statement.manifests[key])
        if stored is None:
            return None
        try:
            return await self._store.effects.aside(stored.parse)
        except ManifestInvalid:
            return None

    async def _blob(self, digest: Digest) -> bytes | None:
        if not digest.supported:
            return None
        try:
            async with self._store.content.open(digest) as opened:
                if opened.info.size_bytes > _LIMIT:
                    return None
                content = b"".join([piece async for piece in opened.chunks()])
        except (NotFound, TooLarge):
            return None
        return content if Digest.of(content, digest.algorithm) == digest else None


def _says(payload: Any, digest: Digest) -> bool:
    """Whether what was signed is about the image: cosign's own form, or an in-toto statement."""
    try:
        if "critical" in payload:
            return bool(payload["critical"]["image"]["docker-manifest-digest"] == str(digest))
        is_about = any(one["digest"].get(digest.algorithm) == digest.encoded for one in payload["subject"])
        # The same key may have said of it that it is bad: an attestation says anything.
        return is_about and payload["predicateType"] == _SIGNED
    except (KeyError, TypeError, AttributeError):
        return False
