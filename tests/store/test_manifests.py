from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from registry.errors import ManifestInvalid, ManifestUnknown, StorageDamaged
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.model.media_types import OCI_IMAGE, OCI_INDEX
from registry.store import layout
from registry.store import manifests as module
from registry.store.manifests import ManifestCache, StoredManifest
from registry.store.store import Store
from storage.errors import NotFound
from tests.inmemory import NAME, World, descriptor, image

CONTENT = image("one")
DIGEST = Digest.of(CONTENT)
ARTIFACT_TYPE = "application/vnd.oci.artifact.manifest.v1+json"
ARTIFACT = b'{"mediaType":"%s","blobs":[]}' % ARTIFACT_TYPE.encode()


@pytest.fixture
def world() -> World:
    return World()


async def put(world: World, content: bytes, media_type: str) -> Digest:
    """Store a manifest as a push does."""
    digest, manifest = Digest.of(content), Manifest.parse(content, media_type)
    await world.store.manifests.put_content(digest, manifest)
    await world.store.manifests.put_link(NAME, digest, manifest)
    return digest


async def test_bytes_and_type_come_back(world: World) -> None:
    digest = await put(world, CONTENT, OCI_IMAGE)
    assert await world.store.manifests.read(NAME, digest) == StoredManifest(DIGEST, OCI_IMAGE, CONTENT)
    assert await world.store.manifests.exists(NAME, digest)


async def test_what_distribution_would_refuse_lies_beside_its_layout(world: World) -> None:
    digest = await put(world, ARTIFACT, ARTIFACT_TYPE)
    assert await world.keys(layout.DISTRIBUTION) == []
    assert await world.store.manifests.read(NAME, digest) == StoredManifest(digest, ARTIFACT_TYPE, ARTIFACT)
    assert await world.store.manifests.exists(NAME, digest)
    assert [found async for found in world.store.links.whole_manifests(NAME)] == [digest]


async def test_altered_bytes_are_never_given(world: World) -> None:
    digest = await put(world, CONTENT, OCI_IMAGE)
    await world.driver.put(layout.blob_data(digest), CONTENT.replace(b"one", b"two"))
    with pytest.raises(StorageDamaged):
        await world.store.manifests.read(NAME, digest)
    whole = await put(world, ARTIFACT, ARTIFACT_TYPE)
    await world.driver.put(layout.whole_manifest(NAME, whole), b"x\n" + ARTIFACT + b" ")
    with pytest.raises(StorageDamaged):
        await world.store.manifests.read(NAME, whole)


async def test_a_manifest_without_its_bytes_is_not_unknown(world: World) -> None:
    digest = await put(world, CONTENT, OCI_IMAGE)
    await world.driver.delete([layout.blob_data(digest)])
    with pytest.raises(NotFound) as caught:
        await world.store.manifests.read(NAME, digest)
    assert caught.value.key == layout.blob_data(digest)
    await world.driver.delete([layout.revision_link(NAME, digest)])
    with pytest.raises(ManifestUnknown):
        await world.store.manifests.read(NAME, digest)


async def test_what_is_here_is_read_however_much_it_refers_to(world: World) -> None:
    child = {**descriptor(CONTENT), "mediaType": OCI_IMAGE}
    content = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child] * 10_001}).encode()
    with pytest.raises(ManifestInvalid, match="10001"):
        Manifest.parse(content, OCI_INDEX)
    assert len(StoredManifest(Digest.of(content), OCI_INDEX, content).parse().children) == 10_001


async def test_an_alias_link_of_another_writer_is_followed(world: World) -> None:
    digest = await put(world, CONTENT, OCI_IMAGE)
    alias = Digest.of(CONTENT, "sha512")
    await world.driver.put(layout.revision_link(NAME, alias), str(digest).encode())
    assert (await world.store.manifests.read(NAME, alias)).content == CONTENT


async def test_a_large_manifest_is_verified_too(world: World) -> None:
    content = image("x" * 100_000)
    digest = await put(world, content, OCI_IMAGE)
    assert (await world.store.manifests.read(NAME, digest)).content == content
    await world.driver.put(layout.blob_data(digest), content + b" ")
    with pytest.raises(StorageDamaged):
        await world.store.manifests.read(NAME, digest)


def test_the_cache_keeps_to_its_budget_and_forgets_the_least_used() -> None:
    def stored(text: str) -> StoredManifest:
        return StoredManifest(Digest.of(text.encode()), OCI_IMAGE, text.encode())

    cache = ManifestCache(10)
    one, two, three = stored("1111"), stored("2222"), stored("3333")
    cache.put(one)
    cache.put(two)
    assert cache.get(one.digest) == one
    cache.put(three)
    assert (cache.get(one.digest), cache.get(two.digest), cache.get(three.digest)) == (one, None, three)
    large = stored("larger than all")
    cache.put(large)
    assert cache.get(large.digest) is None
    assert cache.get(three.digest) == three


async def test_with_a_cache_the_link_still_is_read_each_time(world: World) -> None:
    world.store.manifests._cache = ManifestCache(1 << 20)
    digest = await put(world, CONTENT, OCI_IMAGE)
    await world.store.manifests.read(NAME, digest)
    world.counted.calls.clear()
    await world.store.manifests.read(NAME, digest)
    assert world.counted.calls == {"get": 1}
    await world.driver.delete([layout.revision_link(NAME, digest)])
    with pytest.raises(ManifestUnknown):
        await world.store.manifests.read(NAME, digest)


async def test_a_large_manifest_is_parsed_aside(world: World) -> None:
    aside: list[str] = []
    inner = world.store.effects.aside

    async def noted(function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Any:
        aside.append(function.__name__)
        return await inner(function, *arguments, **options)

    effects = dataclasses.replace(world.store.effects, aside=noted)
    manifests = Store(world.driver, effects, manifest_cache_bytes=0).manifests
    small = await put(world, CONTENT, OCI_IMAGE)
    large = await put(world, image("x" * 100_000), OCI_IMAGE)
    await manifests.read(NAME, small)
    assert aside == []
    await manifests.read(NAME, large)
    assert "sniff_media_type" in aside
    aside.clear()
    await manifests.read_from(layout.blob_data(large), large)
    assert "sniff_media_type" in aside


async def test_what_is_too_large_for_a_manifest_is_damage(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = await put(world, CONTENT, OCI_IMAGE)
    whole = await put(world, ARTIFACT, ARTIFACT_TYPE)
    monkeypatch.setattr(module, "READ_LIMIT", 10)
    for found in (digest, whole):
        with pytest.raises(StorageDamaged):
            await world.store.manifests.read(NAME, found)
    with pytest.raises(StorageDamaged):
        await world.store.manifests.read_from(layout.blob_data(digest), digest)
