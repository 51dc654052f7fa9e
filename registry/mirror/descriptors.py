"""Descriptors that another registry lists, of which only those are passed on that clients can use."""

from __future__ import annotations

import json
from collections.abc import Iterable

from registry.errors import DigestInvalid
from registry.model.digests import Digest

Descriptor = dict[str, object]
"""A descriptor as JSON has it (image-spec: Content Descriptors)."""


def listed(index: bytes) -> list[object]:
    """What an index lists; nothing if it is none."""
    try:
        manifests = json.loads(index)["manifests"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    return list(manifests) if isinstance(manifests, list) else []


def sound(found: Iterable[object]) -> list[Descriptor]:
    """Those that have a type, a size and a digest that we know, and can be written down as JSON."""
    return [one for one in found if isinstance(one, dict) and _is_sound(one)]


def _is_sound(descriptor: Descriptor) -> bool:
    size = descriptor.get("size")
    try:
        known = Digest.parse(str(descriptor.get("digest"))).supported
        json.dumps(descriptor, allow_nan=False)
    except (DigestInvalid, ValueError, RecursionError):
        return False
    return known and isinstance(descriptor.get("mediaType"), str) and isinstance(size, int) and size >= 0
