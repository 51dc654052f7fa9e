"""Blobs, images, indexes and artifacts made for a test; fresh bytes each time unless told otherwise."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
ORAS_ARTIFACT = "application/vnd.cncf.oras.artifact.manifest.v1+json"
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
EMPTY = "application/vnd.oci.empty.v1+json"
OCTETS = "application/octet-stream"


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    """The digest of some bytes."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def random_digest(algorithm: str = "sha256") -> str:
    """A digest that no content here has."""
    return digest_of(os.urandom(32), algorithm)


def descriptor(data: bytes, media_type: str, algorithm: str = "sha256", **more: Any) -> dict[str, Any]:
    """The descriptor of some bytes."""
    return {"mediaType": media_type, "digest": digest_of(data, algorithm), "size": len(data), **more}


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest's bytes and type, and the blobs that it needs."""

    data: bytes
    media_type: str
    blobs: tuple[bytes, ...] = ()

    @property
    def digest(self) -> str:
        """Its sha256 digest."""
        return digest_of(self.data)

    def descriptor(self, algorithm: str = "sha256", **more: Any) -> dict[str, Any]:
        """How an index lists it, and how a referrer names it."""
        return descriptor(self.data, self.media_type, algorithm, **more)


def image(
    content: Sequence[bytes] | None = None,
    *,
    config: bytes | None = None,
    config_type: str = OCI_CONFIG,
    media_type: str = OCI_IMAGE,
    algorithm: str = "sha256",
    **fields: Any,
) -> Manifest:
    """An image of these layers; `fields` are put into the manifest, None taking one out."""
    content = [os.urandom(40)] if content is None else content
    config = json.dumps({"made": os.urandom(8).hex()}).encode() if config is None else config
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor(config, config_type, algorithm),
        "layers": [descriptor(layer, OCI_LAYER, algorithm) for layer in content],
    }
    return Manifest(encode({**document, **fields}), media_type, (config, *content))


def index(children: Sequence[dict[str, Any]] = (), *, media_type: str = OCI_INDEX, **fields: Any) -> Manifest:
    """An index of the given descriptors."""
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": list(children),
        "annotations": {"made": os.urandom(8).hex()},
    }
    return Manifest(encode({**document, **fields}), media_type)


def artifact(artifact_type: str | None, subject: dict[str, Any] | None = None, **fields: Any) -> Manifest:
    """An artifact in an image manifest with the empty config, as oras and cosign make them."""
    annotations = {"made": os.urandom(8).hex()}
    return image(
        [os.urandom(20)],
        config=b"{}",
        config_type=EMPTY,
        artifactType=artifact_type,
        subject=subject,
        **{"annotations": annotations, **fields},
    )


def encode(document: dict[str, Any]) -> bytes:
    """A manifest's JSON; fields that are None are left out."""
    kept = {name: value for name, value in document.items() if value is not None}
    return json.dumps(kept, separators=(",", ":")).encode()
