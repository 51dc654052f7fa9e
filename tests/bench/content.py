"""What is pushed: random bytes that no server has seen before."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

SMALL_BYTES = 1024
END_BYTES = 16
# No multiple of what anybody cuts blobs into, so that a piece in another's place is seen.
TURN_BYTES = (1 << 20) + 7
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

Body = tuple[bytes | memoryview, ...]
"""The bytes of a request, in pieces that are sent one after the other."""


def digest_of(data: bytes) -> str:
    """The sha256 digest, as the protocol writes it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob, hashed before anything is measured; large ones share all their bytes but the last."""

    body: Body
    digest: str
    size_bytes: int

    @classmethod
    def of(cls, data: bytes) -> Blob:
        """A small one."""
        return cls((data,), digest_of(data), len(data))


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest and its small blobs, the config first."""

    manifest: bytes
    digest: str
    blobs: tuple[Blob, ...]

    @property
    def tag(self) -> str:
        """A tag that no other image has."""
        return self.digest[7:19]

    @classmethod
    def new(cls, layers: int) -> Image:
        """One of which nothing exists yet."""
        blobs = (config(), *small_blobs(layers))
        content = manifest(blobs)
        return cls(content, digest_of(content), blobs)


class Bulk:
    """Makes large blobs that are new, as many as are wanted at once."""

    def __init__(self, size_bytes: int) -> None:
        self._shared = os.urandom(max(0, size_bytes - END_BYTES))
        self._hash = hashlib.sha256(self._shared)
        self._size_bytes = len(self._shared) + END_BYTES

    def blob(self) -> Blob:
        """Only its end is new, so that it costs neither memory nor time."""
        end = os.urandom(END_BYTES)
        hashed = self._hash.copy()
        hashed.update(end)
        return Blob((memoryview(self._shared), end), f"sha256:{hashed.hexdigest()}", self._size_bytes)


class Recurring:
    """A large blob that takes no memory: random bytes again and again, so that every piece can be checked."""

    def __init__(self, size_bytes: int) -> None:
        turn = os.urandom(TURN_BYTES)
        self._twice = turn * 2
        turns, rest = divmod(size_bytes, TURN_BYTES)
        body = (turn,) * turns + ((turn[:rest],) if rest else ())
        hashed = hashlib.sha256()
        for piece in body:
            hashed.update(piece)
        self.blob = Blob(body, f"sha256:{hashed.hexdigest()}", size_bytes)

    def has(self, piece: memoryview, place: int) -> bool:
        """Whether a piece, of at most a turn, is what lies at that place of the blob."""
        return place + len(piece) <= self.blob.size_bytes and self._twice.startswith(
            piece, place % TURN_BYTES
        )


def config() -> Blob:
    """An image's config."""
    nonce = os.urandom(8).hex()
    return Blob.of(json.dumps({"architecture": "amd64", "os": "linux", "author": nonce}).encode())


def small_blobs(number: int) -> list[Blob]:
    """Small layers."""
    return [Blob.of(os.urandom(SMALL_BYTES)) for _ in range(number)]


def manifest(blobs: tuple[Blob, ...]) -> bytes:
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


def descriptor(media_type: str, blob: Blob) -> dict[str, str | int]:
    """What a manifest says of a blob."""
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size_bytes}


def shuffled(blobs: list[Blob], number: int, turns: int) -> Iterator[list[Blob]]:
    """That many of the blobs, others each turn."""
    for turn in range(turns):
        yield [blobs[(turn + step) % len(blobs)] for step in range(number)]
