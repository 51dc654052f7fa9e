from __future__ import annotations

import pytest
from pydantic import ValidationError

from registry.core.settings import ManifestSettings
from registry.model.digests import Digest
from registry.store.manifests import READ_LIMIT
from tests.inmemory import NAME, World


def test_the_store_reads_every_manifest_that_may_be_pushed_with_what_is_derived_from_it() -> None:
    largest = READ_LIMIT // 2
    assert ManifestSettings.model_validate({"max_size": f"{largest}B"}).max_size == largest
    with pytest.raises(ValidationError):
        ManifestSettings.model_validate({"max_size": f"{largest + 1}B"})


async def test_an_entry_as_large_as_the_largest_manifest_is_listed() -> None:
    world = World()
    subject, digest = Digest.of(b"subject"), Digest.of(b"referrer")
    descriptor: dict[str, object] = {"annotations": {"note": "x" * (READ_LIMIT // 2)}}
    await world.store.referrers.put(NAME, subject, digest, descriptor)
    assert await world.store.referrers.descriptor(NAME, subject, digest) is not None
