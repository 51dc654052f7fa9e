"""What collection takes, and what stays: by the shapes that images have."""

from __future__ import annotations

import json

import pytest

from registry.errors import BlobUnknown, ManifestBlobUnknown
from registry.model.digests import Digest
from registry.model.media_types import OCI_ARTIFACT, OCI_IMAGE, OCI_INDEX
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from tests.durability.reader import unneeded
from tests.inmemory import NAME, TAG, World, descriptor, image
from tests.upkeep.gathering import (
    OTHER,
    aged,
    collected,
    lies,
    places,
    push_index,
    tree,
)

LAYER = Digest.of(b"layer")
CONFIG = Digest.of(b"{}")


@pytest.fixture
def world() -> World:
    return World()


def child(content: bytes, media_type: str = OCI_IMAGE) -> dict[str, object]:
    """How an index lists a manifest."""
    return {**descriptor(content), "mediaType": media_type}


async def test_what_no_manifest_needs_goes_to_the_trash_and_the_rest_stays(world: World) -> None:
    kept = image("kept")
    await world.push(kept)
    gone = await world.push(image("gone", layers=[b"layer", b"its own"]), Tag("gone"))
    await world.repository().delete_manifest(gone)
    before = await tree(world)
    report = await aged(world)
    assert unneeded(before) == [
        layout.blob_data(Digest.of(b"its own")),
        layout.blob_data(gone),
        layout.layer_link(NAME, Digest.of(b"its own")),
    ]
    assert (report.links_taken, report.blobs_taken) == (1, 2)
    assert report.bytes_taken == len(b"its own") + len(image("gone", layers=[b"layer", b"its own"]))
    assert (report.repositories, report.manifests, report.links) == (1, 1, 3)
    assert report.ended == world.clock.now
    assert unneeded(await tree(world)) == []
    assert await lies(world, kept)
    for trash in (layout.trash_data(Digest.of(b"its own")), layout.trash_data(gone)):
        (copy,) = await world.keys(trash)
        assert copy.rpartition("/")[2].startswith("c-")
    (link,) = await world.keys(layout.trash_layer(NAME, Digest.of(b"its own")))
    assert await world.driver.get(link, limit=100) == str(Digest.of(b"its own")).encode()
    # Nothing is left to do.
    again = await aged(world)
    assert (again.links_taken, again.blobs_taken, again.links_put_back, again.blobs_put_back) == (0, 0, 0, 0)


async def test_an_untagged_child_of_a_tagged_index_stays(world: World) -> None:
    content = image("child")
    await world.push(content, Digest.of(content))
    await push_index(world, [child(content)], TAG)
    await aged(world)
    assert await lies(world, content)
    await world.repository().delete_tag(TAG)
    await aged(world)
    # A manifest goes only when somebody deletes it.
    assert await lies(world, content)


async def test_nested_indexes_stay_to_the_last_child(world: World) -> None:
    content = image("child")
    await world.push(content, Digest.of(content))
    inner = await push_index(world, [child(content)])
    outer = await push_index(world, [child(inner, OCI_INDEX)], TAG)
    before = await tree(world)
    assert unneeded(before) == []
    await aged(world)
    assert (await tree(world)).items() >= before.items()
    for one in (inner, outer):
        assert (await world.repository().manifest(Digest.of(one))).content == one
    assert await lies(world, content)


async def test_one_manifest_under_two_tags_stays_until_it_is_deleted(world: World) -> None:
    digest = await world.push(image("one"))
    await world.push(image("one"), Tag("also"))
    await world.repository().delete_tag(TAG)
    await aged(world)
    assert (await world.repository().manifest(Tag("also"))).digest == digest
    assert await lies(world, image("one"))
    await world.repository().delete_manifest(digest)
    report = await aged(world)
    assert (report.links_taken, report.blobs_taken) == (2, 3)


async def test_an_index_whose_child_is_missing_stays_and_hinders_nothing(world: World) -> None:
    there = image("there")
    await world.push(there, Digest.of(there))
    content = await push_index(world, [child(there), child(image("elsewhere", layers=[b"not here"]))], TAG)
    await world.blob(b"unneeded")
    report = await aged(world)
    assert (report.links_taken, report.troubles) == (1, [])
    assert (await world.repository().manifest(TAG)).content == content
    assert await lies(world, there)


async def test_a_child_that_is_a_blob_stays_as_long_as_its_index(world: World) -> None:
    """As buildkit's caches have it."""
    await world.blob(b"cached layer")
    content = await push_index(world, [descriptor(b"cached layer")], Tag("cache"))
    await aged(world)
    assert (await world.repository().blob(Digest.of(b"cached layer"), may_push=False)).size_bytes == 12
    assert layout.layer_link(NAME, Digest.of(b"cached layer")) in await world.keys()
    await world.repository().delete_manifest(Digest.of(content))
    report = await aged(world)
    assert (report.links_taken, report.blobs_taken) == (1, 2)


async def test_a_referrer_of_a_referrer_stays(world: World) -> None:
    signed = await world.push(image("signed"))
    signature = image("signature", layers=[b"signature"], subject=signed)
    await world.push(signature, Digest.of(signature))
    witness = image("witness", layers=[b"witness"], subject=Digest.of(signature))
    await world.push(witness, Digest.of(witness))
    await aged(world)
    for content in (signature, witness):
        assert await lies(world, content)
    listed = await world.repository().referrers(Digest.of(signature), artifact_types=[], after="")
    assert [entry["digest"] for entry in map(json.loads, listed.entries)] == [str(Digest.of(witness))]


async def test_a_signature_that_was_pushed_before_its_image_waits_for_it(world: World) -> None:
    content = image("signed", layers=[b"signed"])
    signature = image("signature", layers=[b"signature"], subject=Digest.of(content))
    await world.push(signature, Digest.of(signature))
    await aged(world)
    assert await lies(world, signature)
    await world.push(content)
    await aged(world)
    listed = await world.repository().referrers(Digest.of(content), artifact_types=[], after="")
    assert [entry["digest"] for entry in map(json.loads, listed.entries)] == [str(Digest.of(signature))]
    assert await lies(world, content) and await lies(world, signature)


async def test_a_blob_that_ten_repositories_share_stays_until_the_last_lets_go(world: World) -> None:
    names = [RepositoryName(f"team/{number}") for number in range(10)]
    for name in names:
        await world.push(image("one"), name=name)
    for name in names[:-1]:
        await world.repository(name).delete_manifest(Digest.of(image("one")))
    report = await aged(world)
    assert (report.repositories, report.links_taken, report.blobs_taken) == (10, 18, 0)
    assert await lies(world, image("one"), names[-1])
    await world.repository(names[-1]).delete_manifest(Digest.of(image("one")))
    report = await aged(world)
    assert (report.links_taken, report.blobs_taken) == (2, 3)


async def test_layers_that_are_not_yet_referred_to_have_the_grace_period(world: World) -> None:
    await world.blob(b"{}")
    await world.blob(b"layer")
    world.clock.advance(hours=24)
    report = await collected(world)
    assert (report.links_taken, report.blobs_taken, report.kept_young) == (0, 0, 2)
    await world.push_alone(image("one"))
    await aged(world)
    assert await lies(world, image("one"))


async def test_a_link_written_again_is_young_again(world: World) -> None:
    await world.blob(b"layer")
    world.clock.advance(days=300)
    assert await world.repository(OTHER).mount(LAYER, NAME, lambda _: True, lambda _: True)
    report = await collected(world)
    # Only where nobody has asked for it; the data stays for who has.
    assert (report.links_taken, report.blobs_taken, report.kept_young) == (1, 0, 1)
    assert (await world.repository(OTHER).blob(LAYER, may_push=False)).size_bytes == 5


@pytest.mark.parametrize("both", [True, False])
async def test_a_sha512_image_as_distribution_writes_it_stays_and_goes_whole(
    world: World, both: bool
) -> None:
    """The bytes lie under their sha256; links are called after the sha512, and contain the other."""
    content = image("by sha512").replace(b"sha256:", b"sha512:")
    for blob in (b"{}", b"layer"):
        alias, target = Digest.of(blob, "sha512"), Digest.of(blob)
        content = content.replace(f"sha512:{target.encoded}".encode(), str(alias).encode())
        await world.driver.put(layout.blob_data(target), blob)
        await world.driver.put(layout.layer_link(NAME, alias), str(target).encode())
        if both:
            await world.driver.put(layout.layer_link(NAME, target), str(target).encode())
    alias, target = Digest.of(content, "sha512"), Digest.of(content)
    await world.driver.put(layout.blob_data(target), content)
    await world.driver.put(layout.revision_link(NAME, alias), str(target).encode())
    await world.driver.put(layout.tag_link(NAME, TAG), str(alias).encode())
    before = await tree(world)
    assert unneeded(before) == []
    for _ in range(3):
        report = await aged(world)
        assert (report.links_taken, report.blobs_taken, report.troubles) == (0, 0, [])
        assert (await world.repository().manifest(TAG)).content == content
        found = await world.repository().blob(Digest.of(b"layer", "sha512"), may_push=False)
        assert found.size_bytes == 5
    assert {key: data for key, data in (await tree(world)).items() if key in before} == before
    await world.repository().delete_manifest(alias)
    report = await aged(world)
    assert (report.links_taken, report.blobs_taken) == (4 if both else 2, 3)
    assert await world.keys(layout.BLOBS) == []


async def test_manifests_that_distribution_would_refuse_keep_their_blobs(world: World) -> None:
    document = {"mediaType": OCI_ARTIFACT, "blobs": [descriptor(b"layer")]}
    content = json.dumps(document).encode()
    await world.blob(b"layer")
    await world.blob(b"unneeded")
    pushed = await world.repository().push_manifest(TAG, content, OCI_ARTIFACT, [])
    assert await world.keys(layout.WHOLE_MANIFESTS) and not await world.keys(layout.revisions(NAME))
    report = await aged(world)
    assert (report.links_taken, report.blobs_taken, report.links_put_back) == (1, 1, 0)
    assert places(LAYER) <= set(await world.keys())
    await world.repository().delete_manifest(pushed.digest)
    report = await aged(world)
    assert (report.links_taken, report.blobs_taken) == (1, 1)


async def test_what_was_collected_comes_back_for_who_may_push_and_serves_nobody_else(world: World) -> None:
    await world.blob(b"layer")
    await world.blob(b"other's", OTHER)
    await aged(world)
    assert not places(LAYER) & set(await world.keys())
    for may_push in (False, True):
        with pytest.raises(BlobUnknown):
            await world.repository(OTHER).blob(LAYER, may_push=may_push)
    assert not await world.repository(RepositoryName("third")).mount(
        LAYER, OTHER, lambda _: True, lambda _: True
    )
    with pytest.raises(ManifestBlobUnknown):
        await world.push_alone(image("one", layers=[b"other's"]), name=NAME)
    assert (await world.repository().blob(LAYER, may_push=True)).size_bytes == 5
    assert places(LAYER) <= set(await world.keys())


async def test_what_was_collected_comes_back_for_a_push_and_a_mount(world: World) -> None:
    for content in (b"{}", b"layer"):
        await world.blob(content)
    await aged(world)
    await world.push_alone(image("one"))
    assert await lies(world, image("one"))
    await aged(world)
    assert await lies(world, image("one"))
    await world.repository().delete_manifest(Digest.of(image("one")))
    await aged(world)
    assert await world.repository(OTHER).mount(LAYER, NAME, lambda _: True, lambda _: True)
    assert layout.layer_link(OTHER, LAYER) in await world.keys()
    async with world.repository(OTHER).open_blob(LAYER) as opened:
        assert [piece async for piece in opened.chunks()] == [b"layer"]


async def test_what_a_user_deleted_stays_deleted_though_a_collector_took_its_data(world: World) -> None:
    await world.blob(b"{}")
    await world.blob(b"layer")
    await world.repository().delete_blob(LAYER)
    report = await aged(world)
    assert await world.keys(layout.trash_data(LAYER))
    assert report.blobs_taken == 2
    with pytest.raises(BlobUnknown):
        await world.repository().blob(LAYER, may_push=True)
    assert not await world.repository(OTHER).mount(LAYER, NAME, lambda _: True, lambda _: True)
    with pytest.raises(ManifestBlobUnknown):
        await world.push_alone(image("one"))
    await world.blob(b"layer")
    await world.push_alone(image("one"))
    assert await lies(world, image("one"))


async def test_data_that_is_needed_and_lies_in_the_trash_comes_back(world: World) -> None:
    await world.push(image("one"))
    key = layout.blob_data(LAYER)
    await world.driver.copy(f"{layout.trash_data(LAYER)}/c-dead", key)
    await world.driver.delete([key])
    report = await aged(world)
    assert report.blobs_put_back == 1
    assert await lies(world, image("one"))


async def test_a_manifest_whose_data_lies_in_the_trash_says_all_the_same_what_it_needs(world: World) -> None:
    digest = await world.push(image("one"))
    await world.blob(b"unneeded")
    await world.driver.copy(f"{layout.trash_data(digest)}/c-dead", layout.blob_data(digest))
    await world.driver.delete([layout.blob_data(digest)])
    report = await aged(world)
    assert (report.troubles, report.links_taken, report.blobs_put_back) == ([], 1, 1)
    assert await lies(world, image("one"))


async def test_two_digests_that_look_alike_to_the_mark_both_stay(world: World) -> None:
    """Only 64 bits of each are kept in memory: of two that share them neither is taken."""
    alike = Digest("sha256", LAYER.encoded[:16] + "0" * 48)
    await world.push(image("one"))
    await world.driver.put(layout.blob_data(alike), b"made up")
    await world.driver.put(layout.layer_link(NAME, alike), str(alike).encode())
    report = await aged(world)
    assert (report.links_taken, report.blobs_taken) == (0, 0)
