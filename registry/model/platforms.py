"""Which images of an index are meant, by their platforms (image-spec: Image Index)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from registry.model.descriptors import Descriptor
from registry.model.digests import Digest

_PART = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
# What buildx says of an attestation: that it is for no platform, and for which image it is.
_ATTESTED = "vnd.docker.reference.digest"


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform such as `linux/amd64` or `linux/arm/v7`; without a variant it is any. Raises ValueError."""

    text: str

    def __post_init__(self) -> None:
        parts = self.text.split("/")
        if len(parts) not in (2, 3) or not all(_PART.fullmatch(part) for part in parts):
            raise ValueError("must be a platform such as linux/amd64 or linux/arm/v7")

    def __str__(self) -> str:
        return self.text

    def matches(self, descriptor: Descriptor) -> bool:
        """Whether an image that an index lists is for the platform."""
        told = descriptor.platform or {}
        names = [told.get("os"), told.get("architecture"), told.get("variant")]
        parts = self.text.split("/")
        return names[: len(parts)] == parts


def chosen(listed: Iterable[Descriptor], platforms: Iterable[Platform]) -> list[Digest]:
    """What an index lists that is for one of the platforms, or for none, with its attestations; all if none
    are given.
    """
    listed, platforms = list(listed), list(platforms)
    if not platforms:
        return [one.digest for one in listed]
    taken = {
        str(one.digest)
        for one in listed
        if not _attests(one)
        and (one.platform is None or any(platform.matches(one) for platform in platforms))
    }
    return [one.digest for one in listed if str(one.digest) in taken or _attests(one) in taken]


def _attests(descriptor: Descriptor) -> str:
    """The digest of the image that a descriptor is an attestation of; empty if it is none."""
    return (descriptor.annotations or {}).get(_ATTESTED, "")
