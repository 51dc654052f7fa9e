from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import pytest

from registry.core.registry import Repository
from registry.errors import (
    BlobUnknown,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    ReadOnly,
    StorageDamaged,
    Unsupported,
)
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE, OCI_INDEX
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from tests.inmemory import NAME, TAG, Bytes, World, descriptor, image

OTHER = RepositoryName("team/other")
DIGEST = Digest.of(b"x")
WRITES: dict[str, Callable[[Repository], Awaitable[object]]] = {
    "begin_upload": lambda repository: repository.begin_upload("sha256"),
    "append": lambda repository: repository.append("u", Bytes(b"x"), None),
    "finish_upload": lambda repository: repository.finish_upload("u", DIGEST, Bytes(), None),
    "cancel_upload": lambda repository: repository.cancel_upload("u"),
    "push_blob": lambda repository: repository.push_blob(DIGEST, Bytes(b"x")),
    "mount": lambda repository: repository.mount(DIGEST, OTHER, lambda _: True),
    "push_manifest": lambda repository: repository.push_manifest(TAG, image("x"), OCI_IMAGE, []),
    "delete_tag": lambda repository: repository.delete_tag(TAG),
    "delete_manifest": lambda repository: repository.delete_manifest(DIGEST),
    "delete_blob": lambda repository: repository.delete_blob(DIGEST),
}


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("write", WRITES)
async def test_nothing_is_written_while_read_only(world: World, write: str) -> None:
    await world.push(image("one"))
    before = await world.keys()
    world.registry.read_only = True
    with pytest.raises(ReadOnly) as caught:
        await WRITES[write](world.repository())
    assert caught.value.headers["Retry-After"]
    assert await world.keys() == before
    assert (await world.repository().manifest(TAG)).content == image("one")


@pytest.mark.parametrize("delete", ["delete_tag", "delete_manifest", "delete_blob"])
async def test_deletes_can_be_switched_off(delete: str) -> None:
    world = World(deletes=False)
    with pytest.raises(Unsupported, match=r"delete\.enabled"):
        await WRITES[delete](world.repository())


async def test_a_blob_push_makes_two_durable_writes_and_a_manifest_push_four() -> None:
    world = World()
    await world.push(image("first"))
    world.counted.calls.clear()
    await world.blob(b"new blob")
    assert (world.counted.calls["write"], world.counted.calls["put"]) == (1, 1)
    content = image("second", layers=[b"new blob"])
    world.counted.calls.clear()
    await world.repository().push_manifest(Tag("two"), content, OCI_IMAGE, [])
    # The fifth is the intent, which a power cut may take.
    assert world.counted.calls["put"] == 5


async def test_all_that_is_missing_is_named_together(world: World) -> None:
    await world.blob(b"{}")
    content = image("one", layers=[b"first", b"second"])
    with pytest.raises(ManifestBlobUnknown) as caught:
        await world.repository().push_manifest(TAG, content, OCI_IMAGE, [])
    told = [caught.value.detail, *(error.detail for error in caught.value.also)]
    assert told == [{"digest": str(Digest.of(blob))} for blob in (b"first", b"second")]
    assert not await world.keys(layout.manifests(NAME))
    assert not await world.keys(layout.INTENTS)


async def test_a_size_that_is_not_the_blobs_refuses_the_manifest_and_harms_nothing(world: World) -> None:
    digest = await world.blob(b"layer")
    await world.blob(b"{}")
    content = image("one").replace(b'"size": 5', b'"size": 6')
    with pytest.raises(ManifestInvalid, match=r"says that .* has 6 bytes; it has 5"):
        await world.repository().push_manifest(TAG, content, OCI_IMAGE, [])
    assert (await world.repository().blob(digest, may_push=True)).size_bytes == 5


async def test_damaged_data_is_set_aside_and_the_same_push_heals_it(world: World) -> None:
    await world.push(image("one"))
    digest = Digest.of(b"layer")
    await world.driver.put(layout.blob_data(digest), b"lay")
    with pytest.raises(ManifestBlobUnknown, match="damaged") as caught:
        await world.repository().push_manifest(TAG, image("one"), OCI_IMAGE, [])
    assert caught.value.detail == {"digest": str(digest)}
    with pytest.raises(BlobUnknown):
        await world.repository().blob(digest, may_push=True)
    (kept,) = await world.keys("_moorage/v1/quarantine")
    assert await world.driver.get(kept, limit=10) == b"lay"
    assert await world.push(image("one")) == Digest.of(image("one"))


async def test_a_children_less_index_is_taken_and_so_is_one_of_blobs(world: World) -> None:
    blob = await world.blob(b"cache")
    content = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [descriptor(b"cache"), descriptor(b"never pushed")],
        }
    ).encode()
    await world.repository().push_manifest(TAG, content, OCI_INDEX, [])
    assert (await world.repository().manifest(TAG)).content == content
    with pytest.raises(Unsupported, match="refers to the blob"):
        await world.repository().delete_blob(blob)


async def test_bytes_that_do_not_say_their_type_keep_the_one_they_came_with(world: World) -> None:
    await world.blob(b"{}")
    content = json.dumps({"schemaVersion": 2, "config": descriptor(b"{}"), "layers": []}).encode()
    docker = "application/vnd.docker.distribution.manifest.v2+json"
    await world.repository().push_manifest(TAG, content, docker, [])
    await world.repository().push_manifest(Tag("again"), content, OCI_IMAGE, [])
    assert (await world.repository().manifest(Tag("again"))).media_type == docker


async def test_several_tags_in_one_push(world: World) -> None:
    digest = Digest.of(image("one"))
    await world.push(image("one"), digest)
    pushed = await world.repository().push_manifest(digest, image("one"), OCI_IMAGE, [Tag("a"), Tag("b")])
    assert pushed.tags == ("a", "b")
    assert (await world.repository().tags(n=None, last="")).entries == ["a", "b"]


async def test_a_mount_takes_only_what_the_source_has_and_the_caller_may_pull(world: World) -> None:
    digest = await world.blob(b"layer", OTHER)
    repository = world.repository()
    assert not await repository.mount(digest, OTHER, lambda _: False)
    assert not await repository.mount(Digest.of(b"none"), OTHER, lambda _: True)
    assert not await repository.mount(digest, RepositoryName("third"), lambda _: True)
    with pytest.raises(BlobUnknown):
        await repository.blob(digest, may_push=True)
    assert await repository.mount(digest, OTHER, lambda name: name == OTHER)
    assert (await repository.blob(digest, may_push=True)).size_bytes == 5


async def test_an_anonymous_mount_follows_only_what_this_process_has_linked(world: World) -> None:
    digest = await world.blob(b"layer", OTHER)
    assert await world.repository().mount(digest, None, lambda _: True)
    elsewhere = world.process().repository(RepositoryName("third"), "tester")
    assert not await elsewhere.mount(digest, None, lambda _: True)
    assert not await world.repository().mount(digest, None, lambda name: name not in (NAME, OTHER))


async def test_a_mount_of_an_alias_links_the_same_bytes(world: World) -> None:
    digest = await world.blob(b"layer", OTHER)
    alias = Digest.of(b"layer", "sha512")
    await world.store.links.put_alias(OTHER, alias, digest)
    assert await world.repository().mount(alias, OTHER, lambda _: True)
    assert (await world.repository().blob(alias, may_push=False)).size_bytes == 5
    assert await world.store.links.layer(NAME, alias) == digest


async def test_a_manifest_without_bytes_is_damage_and_its_push_heals_it(world: World) -> None:
    digest = await world.push(image("one"))
    await world.driver.delete([layout.blob_data(digest)])
    with pytest.raises(StorageDamaged, match="push it again"):
        await world.repository().manifest(TAG)
    await world.push(image("one"))
    assert (await world.repository().manifest(TAG)).digest == digest


async def test_a_digest_of_an_algorithm_that_nobody_has_is_unknown(world: World) -> None:
    with pytest.raises(ManifestUnknown):
        await world.repository().manifest(Digest.parse("blake3:" + "0" * 64))
