from __future__ import annotations

import pytest
from pydantic import ValidationError

from registry.core.settings import CoreSettings, ManifestSettings
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


@pytest.mark.parametrize(
    ("quotas", "told"),
    [
        ([("team-*", "1GiB")], "must be a name such as team-a or team-a/app, without a pattern"),
        ([("team-a/", "1GiB")], "must be a name such as team-a or team-a/app"),
        ([("team-a", "50")], "has no unit"),
        ([("team-a", "1GiB"), ("team-b", "1GiB"), ("team-a", "2GiB")], "team-a has two quotas; give it one"),
    ],
)
def test_a_quota_is_of_a_prefix_and_each_has_one(quotas: list[tuple[str, str]], told: str) -> None:
    sections = [{"prefix": prefix, "limit": limit} for prefix, limit in quotas]
    with pytest.raises(ValidationError, match=told):
        CoreSettings.model_validate({"quotas": sections})


def test_nested_prefixes_have_a_quota_each() -> None:
    sections = [{"prefix": "team-a", "limit": "1GiB"}, {"prefix": "team-a/app", "limit": "0B"}]
    first, second = CoreSettings.model_validate({"quotas": sections}).quotas
    assert (first.prefix, first.limit, second.limit) == ("team-a", 1 << 30, 0)
