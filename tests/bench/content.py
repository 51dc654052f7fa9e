"""What is pushed: random bytes that no server has seen before."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

LAYERS = 5
SMALL_BYTES = 1024
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest_of(data: bytes | bytearray | memoryview) -> str:
    """The sha256 digest, as the protocol writes it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest and its small blobs, the config first."""

    manifest: bytes
    blobs: tuple[bytes, ...]

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return digest_of(self.manifest)

    @property
    def tag(self) -> str:
        """A tag that no other image has."""
        return self.digest[7:19]


class Content:
    """Makes blobs and images that are new."""

    def __init__(self, size_bytes: int) -> None:
        self._bulk = bytearray(os.urandom(size_bytes))

    def blob(self) -> tuple[memoryview, str]:
        """A large blob and its digest, valid until the next one is asked for: only its beginning is new."""
        self._bulk[:16] = os.urandom(16)
        return memoryview(self._bulk), digest_of(self._bulk)

    def image(self) -> Image:
        """A small image of which nothing exists yet."""
        blobs = (config(), *small_blobs(LAYERS))
        return Image(manifest(blobs), blobs)


def config() -> bytes:
    """An image's config."""
    nonce = os.urandom(8).hex()
    return json.dumps({"architecture": "amd64", "os": "linux", "author": nonce}).encode()


def small_blobs(number: int) -> list[bytes]:
    """Small layers."""
    return [os.urandom(SMALL_BYTES) for _ in range(number)]


def manifest(blobs: tuple[bytes, ...]) -> bytes:
    """A manifest of a config and layers, unlike any other of the same blobs."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, blobs[0]),
            "layers": [descriptor(LAYER, blob) for blob in blobs[1:]],
            "annotations": {"org.example.nonce": os.urandom(8).hex()},
        }
    ).encode()


def descriptor(media_type: str, blob: bytes) -> dict[str, str | int]:
    """What a manifest says of a blob."""
    return {"mediaType": media_type, "digest": digest_of(blob), "size": len(blob)}


def shuffled(blobs: list[bytes], number: int, turns: int) -> Iterator[list[bytes]]:
    """That many of the blobs, others each turn."""
    for turn in range(turns):
        yield [blobs[(turn + step) % len(blobs)] for step in range(number)]
