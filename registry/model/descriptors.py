"""Descriptors: what a manifest says about content elsewhere (image-spec: Content Descriptors)."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry.errors import DigestInvalid, ManifestInvalid
from registry.model.digests import Digest
from registry.model.documents import Fields
from registry.model.media_types import is_media_type
from registry.model.quoting import quoted

_LARGEST_SIZE = 2**63 - 1  # image-spec: int64
_FIELDS = Fields("mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType")
_PLATFORM_TEXTS = ("architecture", "os", "os.version", "variant")
_PLATFORM_LISTS = ("os.features", "features")
_PLATFORM_FIELDS = Fields(*_PLATFORM_TEXTS, *_PLATFORM_LISTS)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Type, digest and size of content, and what else the manifest says about it.

    The digest may be of an algorithm that this registry does not support; `platform` and `data` are as given.
    """

    media_type: str
    digest: Digest
    size_bytes: int
    artifact_type: str | None = None
    annotations: Mapping[str, str] | None = None
    urls: tuple[str, ...] = ()
    data: str | None = None
    platform: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, value: object, path: str) -> Descriptor:
        """The descriptor in `value`, found at `path` of a document. Raises ManifestInvalid.

        Optional fields may be null, as Go programs write what they do not have; unknown ones are ignored.
        """
        if not isinstance(value, dict):
            raise ManifestInvalid(f"{path} must be a descriptor, an object")
        _FIELDS.check(value, path)
        size = value.get("size")
        if type(size) is not int or not 0 <= size <= _LARGEST_SIZE:
            raise ManifestInvalid(f"{path}.size must be a whole number of bytes from 0 to 2^63 - 1")
        media_type = read_media_type(value, "mediaType", path)
        if media_type is None:
            raise ManifestInvalid(f"{path}.mediaType is required")
        digest = _read_digest(value, path)
        if len(value) == 3:
            return cls(media_type, digest, size)
        return cls(
            media_type,
            digest,
            size,
            read_media_type(value, "artifactType", path) if value.get("artifactType") != "" else None,
            read_annotations(value, path),
            _read_texts(value, "urls", path),
            _read_data(value, size, path),
            _read_platform(value, path),
        )


def read_media_type(value: Mapping[str, Any], name: str, path: str) -> str | None:
    """The media type in a field, None when it is absent. Raises ManifestInvalid."""
    text = value.get(name)
    if text is None:
        return None
    if not isinstance(text, str):
        raise ManifestInvalid(f"{path}.{name} must be a string")
    if not is_media_type(text):
        raise ManifestInvalid(
            f"{path}.{name} must be a media type like 'application/json' (RFC 6838), not {quoted(text)}"
        )
    return text


def read_annotations(value: Mapping[str, Any], path: str) -> Mapping[str, str] | None:
    """The annotations of a descriptor or manifest, None when there are none. Raises ManifestInvalid."""
    annotations = value.get("annotations")
    if annotations is None:
        return None
    if not isinstance(annotations, dict):
        raise ManifestInvalid(f"{path}.annotations must be an object of strings")
    for key, text in annotations.items():
        if not isinstance(text, str):
            raise ManifestInvalid(f"{path}.annotations[{quoted(key)}] must be a string")
    return annotations


def _read_digest(value: Mapping[str, Any], path: str) -> Digest:
    text = value.get("digest")
    if not isinstance(text, str):
        raise ManifestInvalid(f"{path}.digest must be a string")
    try:
        return Digest.parse(text)
    except DigestInvalid as error:
        raise ManifestInvalid(f"{path}.digest: {error.message}") from None


def _read_texts(value: Mapping[str, Any], name: str, path: str) -> tuple[str, ...]:
    texts = value.get(name)
    if texts is None:
        return ()
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ManifestInvalid(f"{path}.{name} must be a list of strings")
    return tuple(texts)


def _read_data(value: Mapping[str, Any], size: int, path: str) -> str | None:
    data = value.get("data")
    if data is None:
        return None
    if not isinstance(data, str):
        raise ManifestInvalid(f"{path}.data must be a string")
    try:
        decoded = binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        raise ManifestInvalid(f"{path}.data must be base64 (RFC 4648, section 4)") from None
    if len(decoded) != size:
        raise ManifestInvalid(f"{path}.data holds {len(decoded)} bytes, and {path}.size says {size}")
    return data


def _read_platform(value: Mapping[str, Any], path: str) -> Mapping[str, Any] | None:
    platform = value.get("platform")
    if platform is None:
        return None
    path = f"{path}.platform"
    if not isinstance(platform, dict):
        raise ManifestInvalid(f"{path} must be an object")
    _PLATFORM_FIELDS.check(platform, path)
    for name in _PLATFORM_TEXTS:
        if not isinstance(platform.get(name, ""), str | None):
            raise ManifestInvalid(f"{path}.{name} must be a string")
    for name in _PLATFORM_LISTS:
        _read_texts(platform, name, path)
    return platform
