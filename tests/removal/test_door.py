from __future__ import annotations

import json
from typing import Any

import pytest

from registry.errors import BlobUnknown, ManifestUnknown, Unsupported
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from storage.errors import NotFound
from tests.inmemory import NAME, TAG, World, image

LAYER = Digest.of(b"layer")


@pytest.fixture
def world() -> World:
    return World()


async def runs(world: World) -> list[dict[str, Any]]:
    """The records of all removals."""
    return [
        json.loads(await world.driver.get(key, limit=1 << 20)) for key in await world.keys(layout.TRASH_RUNS)
    ]


async def test_a_tag_goes_alone_and_is_recorded(world: World) -> None:
    digest = await world.push(image("one"))
    await world.push(image("one"), Tag("kept"))
    await world.repository().delete_tag(TAG)
    assert (await world.repository().tags(n=None, last="")).entries == ["kept"]
    assert (await world.repository().manifest(digest)).content == image("one")
    (record,) = await runs(world)
    assert (record["repository"], record["by"], record["done"]) == (NAME, "tester", True)
    (move,) = record["moves"]
    assert move["key"] == layout.tag_link(NAME, TAG)
    assert await world.driver.get(move["trash"], limit=100) == str(digest).encode()
    assert move["trash"].rpartition("/")[2].startswith("u-")
    with pytest.raises(ManifestUnknown):
        await world.repository().delete_tag(TAG)
    assert len(await runs(world)) == 1


async def test_the_history_says_that_a_tag_went(world: World) -> None:
    digest = await world.push(image("one"))
    world.clock.advance(seconds=1)
    await world.repository().delete_tag(TAG)
    keys = await world.store.history.keys(NAME, TAG)
    last = await world.store.history.read(keys[-1])
    assert last is not None
    assert (last.digest, last.replaced, last.by) == (None, digest, "tester")


async def test_distributions_index_of_a_tag_goes_with_it(world: World) -> None:
    digest = await world.push(image("one"))
    index = f"{layout.tag_index(NAME, TAG)}/sha256/{digest.encoded}/link"
    await world.driver.put(index, str(digest).encode())
    await world.repository().delete_tag(TAG)
    assert await world.keys(layout.tags(NAME)) == []


async def test_a_manifest_goes_with_every_tag_that_names_it(world: World) -> None:
    digest = await world.push(image("one"))
    await world.push(image("one"), Tag("also"))
    await world.push(image("two"), Tag("kept"))
    assert sorted(await world.repository().delete_manifest(digest)) == ["also", "latest"]
    assert (await world.repository().tags(n=None, last="")).entries == ["kept"]
    with pytest.raises(ManifestUnknown):
        await world.repository().manifest(digest)
    # A user's delete never takes data.
    await world.store.content.stat(digest)
    with pytest.raises(ManifestUnknown):
        await world.repository().delete_manifest(digest)


async def test_a_deleted_manifest_is_no_referrer_any_more(world: World) -> None:
    subject = await world.push(image("subject"))
    content = image("signature", subject=subject)
    digest = await world.push(content, Digest.of(content))
    await world.repository().delete_manifest(digest)
    assert await world.keys(layout.referrers(NAME)) == []


async def test_what_a_refused_push_has_created_is_taken_back_unless_somebody_was_told_of_it(
    world: World,
) -> None:
    digest = await world.push(image("one"), Digest.of(image("one")))
    claims, tags = world.registry.door.claims, (Tag("mine"), Tag("theirs"), Tag("moved"))
    created = {tag: await claims.judge(NAME, tag) for tag in tags}
    for tag in tags:
        await world.store.links.put_tag(NAME, tag, digest, if_absent=True)
    await world.push(image("one"), Tag("theirs"))
    moved = await world.push(image("two"), Tag("moved"))
    await world.registry.door.take_back(NAME, digest, created, "tester")
    named = [await world.store.links.tag(NAME, tag) for tag in tags[1:]]
    assert (await world.repository().tags(n=None, last="")).entries == ["moved", "theirs"]
    assert named == [digest, moved]
    assert await world.keys(layout.trash_tag(NAME, tags[0]))
    assert not await world.keys(layout.trash_tag(NAME, tags[1])), "it was never away"
    (record,) = await runs(world)
    assert record["done"]


async def test_a_manifest_that_distribution_would_refuse_is_deleted_too(world: World) -> None:
    media_type = "application/vnd.oci.artifact.manifest.v1+json"
    content = b'{"mediaType":"%s","blobs":[]}' % media_type.encode()
    pushed = await world.repository().push_manifest(TAG, content, media_type, [])
    await world.repository().delete_manifest(pushed.digest)
    assert await world.keys(layout.WHOLE_MANIFESTS) == []
    assert await world.keys(layout.trash_whole_manifest(NAME, pushed.digest))


async def test_a_blob_that_is_needed_stays(world: World) -> None:
    digest = await world.push(image("one"))
    with pytest.raises(Unsupported, match="refers to the blob"):
        await world.repository().delete_blob(LAYER)
    await world.repository().blob(LAYER, may_push=False)
    await world.repository().delete_manifest(digest)
    await world.repository().delete_blob(LAYER)
    with pytest.raises(BlobUnknown):
        await world.repository().blob(LAYER, may_push=True)
    await world.store.content.stat(LAYER)
    with pytest.raises(BlobUnknown):
        await world.repository().delete_blob(LAYER)


async def test_a_blob_that_a_push_under_way_needs_stays(world: World) -> None:
    await world.blob(b"layer")
    intent = await world.registry.intents.open(NAME, Digest.of(b"m"), [LAYER], [])
    with pytest.raises(Unsupported, match="under way"):
        await world.repository().delete_blob(LAYER)
    await world.repository().blob(LAYER, may_push=False)
    # Put back is not deleted: a collector's later removal must be undone for who needs it.
    assert await world.keys(layout.trash_layer(NAME, LAYER)) == []
    assert all(record["done"] for record in await runs(world))
    await world.registry.intents.close(intent)
    await world.repository().delete_blob(LAYER)


async def test_an_intent_of_another_repository_protects_nothing_here(world: World) -> None:
    await world.blob(b"layer")
    await world.registry.intents.open(RepositoryName("team/other"), Digest.of(b"m"), [LAYER], [])
    await world.repository().delete_blob(LAYER)


@pytest.mark.parametrize("content", [b"{not json", b'{"schemaVersion":2,"schemaVersion":2}'])
async def test_no_blob_goes_while_a_manifest_cannot_be_read(world: World, content: bytes) -> None:
    await world.blob(b"layer")
    odd = Digest.of(content)
    await world.driver.put(layout.blob_data(odd), content)
    await world.driver.put(layout.revision_link(NAME, odd), str(odd).encode())
    with pytest.raises(Unsupported, match="cannot be read"):
        await world.repository().delete_blob(LAYER)
    await world.driver.delete([layout.blob_data(odd)])
    with pytest.raises(Unsupported, match="cannot be read"):
        await world.repository().delete_blob(LAYER)
    await world.repository().blob(LAYER, may_push=False)


async def test_above_2000_manifests_no_blob_goes(world: World) -> None:
    free = await world.blob(b"free")
    for number in range(2000):
        await adopt(world, image(str(number)))
    await world.repository().delete_blob(free)
    await world.blob(b"free")
    await adopt(world, image("one more"))
    world.counted.calls.clear()
    with pytest.raises(Unsupported, match="more than 2000 manifests"):
        await world.repository().delete_blob(free)
    await world.repository().blob(free, may_push=False)
    # They were counted and not read.
    assert sum(world.counted.calls.values()) < 100


async def adopt(world: World, content: bytes) -> None:
    """Put a manifest into the store as another program would."""
    digest = Digest.of(content)
    await world.driver.put(layout.blob_data(digest), content)
    await world.driver.put(layout.revision_link(NAME, digest), str(digest).encode())


async def test_a_repository_goes_whole_and_its_neighbours_stay(world: World) -> None:
    below = RepositoryName(f"{NAME}/below")
    await world.push(image("one"))
    await world.push(image("one"), name=below)
    subject = await world.push(image("subject"), Tag("subject"))
    content = image("signature", subject=subject)
    await world.push(content, Digest.of(content))
    count = await world.registry.door.remove_repository(NAME, "operator")
    # Two tags, three manifests, two blobs.
    assert count == 7
    assert [key for key in await world.keys(layout.repository(NAME)) if "/below/" not in key] == []
    assert not await world.store.catalog.is_listed(NAME)
    assert await world.keys(layout.referrers(NAME)) == []
    assert await world.store.catalog.is_listed(below)
    assert (await world.repository(below).manifest(TAG)).content == image("one")
    (record,) = await runs(world)
    assert len(record["moves"]) == 7
    for move in record["moves"]:
        await world.driver.stat(move["trash"])
        with pytest.raises(NotFound):
            await world.driver.stat(move["key"])


async def test_a_repository_that_was_deleted_can_be_pushed_again(world: World) -> None:
    await world.push(image("one"))
    await world.registry.door.remove_repository(NAME, "operator")
    await world.push(image("one"))
    assert (await world.repository().manifest(TAG)).media_type == OCI_IMAGE
    assert await world.store.catalog.is_indexed(NAME)
    assert layout.layers_placeholder(NAME) in await world.keys(layout.layers(NAME))


async def test_a_run_never_takes_the_name_of_another(world: World) -> None:
    for note in ("one", "two", "three"):
        await world.push(image(note))
        await world.repository().delete_tag(TAG)
    assert len(await world.keys(layout.trash_tag(NAME, TAG))) == 3
    assert len(await world.keys(layout.TRASH_RUNS)) == 3
