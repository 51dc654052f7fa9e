"""The media types that the registry itself must know; all others it stores without looking."""

from __future__ import annotations

import re

OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
# Withdrawn before they were released, but pushed by ORAS 0.15 and the notation of that time.
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
ORAS_ARTIFACT = "application/vnd.cncf.oras.artifact.manifest.v1+json"

DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"

EMPTY = "application/vnd.oci.empty.v1+json"
JSON = "application/json"
OCTETS = "application/octet-stream"

IMAGES = frozenset({OCI_IMAGE, DOCKER_IMAGE})
INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
ARTIFACTS = frozenset({OCI_ARTIFACT, ORAS_ARTIFACT})
MANIFESTS = IMAGES | INDEXES | ARTIFACTS
SCHEMA1 = frozenset({DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED})

_NONDISTRIBUTABLE = frozenset(
    {
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    }
)
_RESTRICTED_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_WELL_FORMED = re.compile(rf"{_RESTRICTED_NAME}/{_RESTRICTED_NAME}")


def is_media_type(text: str) -> bool:
    """Whether `text` is a media type without parameters (RFC 6838: Naming Requirements)."""
    return _WELL_FORMED.fullmatch(text) is not None


def is_nondistributable(media_type: str) -> bool:
    """Whether a layer of that type may lie elsewhere, so that its manifest is complete without it."""
    return media_type in _NONDISTRIBUTABLE


def strip_parameters(content_type: str) -> str:
    """The media type in a Content-Type, in lower case, without parameters such as `charset`."""
    return content_type.partition(";")[0].strip().lower()
