"""Platforms: which images of an index are meant."""

from __future__ import annotations

from typing import Any

import pytest

from registry.model.descriptors import Descriptor
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE
from registry.model.platforms import Platform, chosen


def listed(note: str, platform: dict[str, Any] | None, **annotations: str) -> Descriptor:
    return Descriptor(OCI_IMAGE, Digest.of(note.encode()), 1, platform=platform, annotations=annotations)


AMD64 = listed("amd64", {"os": "linux", "architecture": "amd64"})
ARMV6 = listed("v6", {"os": "linux", "architecture": "arm", "variant": "v6"})
ARMV7 = listed("v7", {"os": "linux", "architecture": "arm", "variant": "v7"})
ANY = listed("any", None)
ATTESTATION = listed(
    "attestation",
    {"os": "unknown", "architecture": "unknown"},
    **{"vnd.docker.reference.digest": str(AMD64.digest)},
)
INDEX = [AMD64, ARMV6, ARMV7, ANY, ATTESTATION]


@pytest.mark.parametrize(
    ("platforms", "expected"),
    [
        ([], INDEX),
        (["linux/amd64"], [AMD64, ANY, ATTESTATION]),
        (["linux/arm"], [ARMV6, ARMV7, ANY]),
        (["linux/arm/v7"], [ARMV7, ANY]),
        (["linux/arm/v7", "linux/amd64"], [AMD64, ARMV7, ANY, ATTESTATION]),
        (["windows/amd64"], [ANY]),
    ],
)
def test_what_is_for_a_platform_or_for_none_is_chosen(
    platforms: list[str], expected: list[Descriptor]
) -> None:
    assert chosen(INDEX, [Platform(one) for one in platforms]) == [one.digest for one in expected]


@pytest.mark.parametrize("text", ["", "linux", "linux/", "linux/arm/v7/x", "linux/a b", "/amd64"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a platform"):
        Platform(text)
