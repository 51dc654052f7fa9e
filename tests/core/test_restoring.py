from __future__ import annotations

import json

import pytest

from registry.core.restoring import Restored, Wanted
from registry.errors import (
    BlobUnknown,
    Denied,
    ManifestUnknown,
    RegistryError,
    Unsupported,
)
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE, OCI_INDEX
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from tests.core.explored import May
from tests.inmemory import NAME, TAG, World, descriptor, image

LAYER = Digest.of(b"layer")
OTHER = RepositoryName("team/other")


@pytest.fixture
def world() -> World:
    return World()


async def take(world: World, key: str, trash: str, run: str = "c-1") -> None:
    """What a collector does to one object."""
    await world.driver.copy(f"{trash}/{run}", key)
    await world.driver.delete([key])


async def collect(world: World, manifests: list[Digest], blobs: list[Digest], run: str = "c-1") -> None:
    """What a collector does to manifests and blobs of a repository, links and data."""
    for digest in manifests:
        await take(world, layout.revision_link(NAME, digest), layout.trash_revision(NAME, digest), run)
    for digest in blobs:
        await take(world, layout.layer_link(NAME, digest), layout.trash_layer(NAME, digest), run)
    for digest in (*manifests, *blobs):
        await take(world, layout.blob_data(digest), layout.trash_data(digest), run)


async def restore(
    world: World, wanted: Wanted, *, overwrite: bool = True, some: bool = False, name: RepositoryName = NAME
) -> Restored:
    return await world.repository(name).restore(wanted, overwrite=overwrite, some=some)


async def visible(world: World) -> list[str]:
    """All that a client could see."""
    return [key for key in await world.keys() if not key.startswith((layout.TRASH, layout.HISTORY))]


async def whole(world: World, reference: Tag | Digest = TAG) -> Digest:
    """Pull a manifest with all that hangs on it."""
    stored = await world.repository().manifest(reference)
    assert Digest.of(stored.content, stored.digest.algorithm) == stored.digest
    document = json.loads(stored.content)
    for child in document.get("manifests", []):
        await whole(world, Digest.parse(child["digest"]))
    for blob in [*filter(None, [document.get("config")]), *document.get("layers", [])]:
        async with world.repository().open_blob(Digest.parse(blob["digest"])) as opened:
            content = b"".join([piece async for piece in opened.chunks()])
        assert Digest.of(content) == Digest.parse(blob["digest"])
    return stored.digest


async def push_index(world: World, note: str, tag: str, children: list[bytes]) -> bytes:
    manifests = [{**descriptor(child), "mediaType": OCI_IMAGE} for child in children]
    content = json.dumps(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests, "annotations": {"note": note}}
    ).encode()
    await world.repository().push_manifest(Tag(tag), content, OCI_INDEX, [])
    return content


async def test_a_deleted_tag_names_what_it_named(world: World) -> None:
    digest = await world.push(image("one"))
    await world.repository().delete_tag(TAG)
    restored = await restore(world, Wanted({TAG: digest}))
    assert await whole(world) == digest
    assert (restored.manifests, restored.blobs, restored.missing) == (1, 2, [])


async def test_a_tag_that_was_pushed_over_names_the_old_one_and_the_history_both_moves(world: World) -> None:
    old = await world.push(image("old"))
    world.clock.advance(seconds=1)
    new = await world.push(image("new"))
    world.clock.advance(seconds=1)
    await restore(world, Wanted({TAG: old}))
    assert await whole(world) == old
    moves = [await world.store.history.read(key) for key in await world.store.history.keys(NAME, TAG)]
    told = [(move.replaced, move.digest) for move in moves if move is not None]
    assert told == [(None, old), (old, new), (new, old)]


async def test_a_deleted_manifest_comes_back_and_then_counts_as_not_deleted(world: World) -> None:
    digest = await world.push(image("one"))
    await world.repository().delete_manifest(digest)
    await restore(world, Wanted({TAG: digest}))
    assert await whole(world) == digest
    assert not await world.keys(layout.trash_revision(NAME, digest))
    assert not await world.keys(layout.INTENTS)


async def test_all_that_a_collector_took_comes_back_at_any_depth(world: World) -> None:
    one, two = image("one", layers=[b"1"]), image("two", layers=[b"2"])
    for child in (one, two):
        await world.push(child, Digest.of(child))
    inner = await push_index(world, "inner", "inner", [one])
    outer = await push_index(world, "outer", "outer", [inner, two])
    for tag in ("inner", "outer"):
        await world.repository().delete_tag(Tag(tag))
    everything = [Digest.of(content) for content in (outer, inner, one, two)]
    blobs = [Digest.of(content) for content in (b"{}", b"1", b"2")]
    await collect(world, everything, blobs)
    assert (await visible(world)) and not await world.holds(everything[0])
    restored = await restore(world, Wanted({Tag("outer"): everything[0]}))
    assert await whole(world, Tag("outer")) == everything[0]
    assert (restored.manifests, restored.blobs) == (4, 3)
    # A copy of a policy's stays, as with all that comes back.
    assert await world.keys(layout.trash_data(blobs[0]))


async def test_an_index_whose_children_are_blobs_comes_back(world: World) -> None:
    cache = await world.blob(b"cache")
    content = await push_index(world, "cache", "cache", [b"cache"])
    digest = Digest.of(content)
    await world.repository().delete_manifest(digest)
    await collect(world, [], [cache])
    restored = await restore(world, Wanted({Tag("cache"): digest}))
    assert restored.blobs == 1
    assert (await world.repository().blob(cache, may_push=False)).size_bytes == 5


async def test_a_manifest_that_distribution_would_refuse_comes_back_under_its_own_type(world: World) -> None:
    media_type = "application/vnd.oci.artifact.manifest.v1+json"
    content = b'{"mediaType":"%s","blobs":[]}' % media_type.encode()
    pushed = await world.repository().push_manifest(TAG, content, media_type, [])
    await world.repository().delete_manifest(pushed.digest)
    await restore(world, Wanted({TAG: pushed.digest}))
    stored = await world.repository().manifest(TAG)
    assert (stored.media_type, stored.content) == (media_type, content)


async def test_a_sha512_manifest_and_its_referrers_entry_come_back(world: World) -> None:
    subject = await world.push(image("subject"))
    content = image("signature", subject=subject)
    digest = Digest.of(content, "sha512")
    await world.push(content, digest)
    await world.repository().delete_manifest(digest)
    await restore(world, Wanted({Tag("signature"): digest}))
    page = await world.repository().referrers(subject, artifact_types=(), after="")
    assert [json.loads(entry)["digest"] for entry in page.entries] == [str(digest)]


async def test_what_is_gone_is_named_all_of_it_and_nothing_has_changed(world: World) -> None:
    one, two = image("one", layers=[b"1"]), image("two", layers=[b"2", b"3"])
    for child in (one, two):
        await world.push(child, Digest.of(child))
    content = await push_index(world, "both", "both", [one, two])
    digest, lost = Digest.of(content), [Digest.of(b"1"), Digest.of(b"3")]
    await world.repository().delete_manifest(digest)
    await collect(world, [Digest.of(one), Digest.of(two)], [Digest.of(b) for b in (b"{}", b"1", b"2", b"3")])
    await world.remove_all([key for one in lost for key in await world.keys(layout.trash_data(one))])
    before = await world.keys()
    with pytest.raises(ManifestUnknown) as raised:
        await restore(world, Wanted({Tag("both"): digest}))
    assert all(str(one) in raised.value.message for one in lost)
    assert raised.value.message.startswith(f"{NAME}:both cannot be restored: ")
    assert sorted(raised.value.detail["missing"]) == sorted(map(str, lost))  # type: ignore[index]
    assert await world.keys() == before


async def test_an_index_that_was_sparse_comes_back_so_if_that_is_said(world: World) -> None:
    one, never = image("one"), image("never pushed")
    await world.push(one, Digest.of(one))
    digest = Digest.of(await push_index(world, "sparse", "sparse", [one, never]))
    await world.repository().delete_tag(Tag("sparse"))
    with pytest.raises(ManifestUnknown, match=f"{Digest.of(never)}; --partial"):
        await restore(world, Wanted({Tag("sparse"): digest}))
    restored = await restore(world, Wanted({Tag("sparse"): digest}), some=True)
    assert restored.missing == [str(Digest.of(never))]
    assert (await world.repository().manifest(Tag("sparse"))).digest == digest


async def test_what_lacks_a_layer_comes_back_by_no_means(world: World) -> None:
    digest = await world.push(image("one"))
    await world.repository().delete_manifest(digest)
    await world.remove_all([layout.blob_data(LAYER)])
    for some in (False, True):
        with pytest.raises(ManifestUnknown, match=f"{LAYER}$"):
            await restore(world, Wanted({TAG: digest}), some=some)
    assert not await world.holds(digest)


async def test_what_cannot_be_restored_as_a_whole_is_told_as_the_repository(world: World) -> None:
    gone = Digest.of(b"gone")
    for wanted in (Wanted({}, [gone]), Wanted({TAG: gone}, [], [gone]), Wanted({TAG: gone, Tag("b"): gone})):
        with pytest.raises(ManifestUnknown, match=f"^{NAME} cannot be restored"):
            await restore(world, wanted)


async def test_damaged_bytes_are_gone(world: World) -> None:
    digest = await world.push(image("one"))
    await world.repository().delete_manifest(digest)
    await world.driver.put(layout.blob_data(digest), b"something else")
    with pytest.raises(ManifestUnknown, match="damaged"):
        await restore(world, Wanted({TAG: digest}))


async def test_a_blob_whose_copy_in_the_trash_is_damaged_is_no_reason_to_try_for_ever(world: World) -> None:
    digest = await world.push(image("one"))
    await world.repository().delete_manifest(digest)
    await collect(world, [], [LAYER])
    (copy,) = await world.keys(layout.trash_data(LAYER))
    await world.driver.put(copy, b"something else")
    with pytest.raises(ManifestUnknown, match=rf"{LAYER} \(5 bytes by its manifest, and 14 are there\)"):
        await restore(world, Wanted({TAG: digest}))
    assert not await world.holds(digest)


async def test_nothing_comes_from_another_repository(world: World) -> None:
    digest = await world.push(image("one"), name=OTHER)
    await world.repository(OTHER).delete_manifest(digest)
    with pytest.raises(ManifestUnknown):
        await restore(world, Wanted({TAG: digest}))
    with pytest.raises(ManifestUnknown):
        await restore(world, Wanted(blobs=[LAYER]))
    assert not await world.keys(layout.repository(NAME))


async def test_a_tag_that_may_not_be_moved_is_not_restored_over(world: World) -> None:
    old = await world.push(image("old"))
    new = await world.push(image("new"))
    await world.repository().delete_manifest(old)
    before = await world.keys()
    mine = world.registry.repository(NAME, "somebody", May({"create"}))
    with pytest.raises(Denied, match="overwrite latest"):
        await mine.restore(Wanted({TAG: old}), overwrite=True, some=False)
    assert await world.keys() == before
    assert await whole(world) == new
    nobody = world.registry.repository(NAME, "nobody", May(set()))
    with pytest.raises(Denied, match="create other"):
        await nobody.restore(Wanted({Tag("other"): old}), overwrite=True, some=False)
    assert await world.keys() == before
    await mine.restore(Wanted({Tag("other"): old}), overwrite=True, some=False)
    assert await whole(world, Tag("other")) == old


async def test_of_several_tags_that_are_refused_all_are_told(world: World) -> None:
    old = await world.push(image("old"))
    tags = [Tag("a"), Tag("b")]
    for tag in tags:
        await world.push(image("new"), tag)
    with pytest.raises(Unsupported, match=r"team/app:a names something else by now.*team/app:b") as raised:
        await restore(world, Wanted(dict.fromkeys(tags, old)), overwrite=False)
    assert len(raised.value.also) == 1


async def test_a_blob_that_was_deleted_comes_back(world: World) -> None:
    await world.blob(b"layer")
    await world.repository().delete_blob(LAYER)
    restored = await restore(world, Wanted(blobs=[LAYER]))
    assert restored.blobs == 1
    assert (await world.repository().blob(LAYER, may_push=False)).size_bytes == 5
    assert not await world.keys(layout.trash_layer(NAME, LAYER))


async def test_copies_of_a_delete_that_is_under_way_stay(world: World) -> None:
    digest = await world.push(image("one"))
    await world.repository().delete_manifest(digest)
    (key,) = await world.keys(layout.TRASH_RUNS)
    record = json.loads(await world.driver.get(key, limit=1 << 20))
    await world.driver.put(key, json.dumps({**record, "done": False}).encode())
    await restore(world, Wanted({TAG: digest}))
    assert await world.keys(layout.trash_revision(NAME, digest))


async def test_a_read_only_registry_restores_nothing(world: World) -> None:
    digest = await world.push(image("one"))
    world.registry.read_only = True
    with pytest.raises(RegistryError, match="read-only"):
        await restore(world, Wanted({TAG: digest}))


async def test_nothing_wanted_is_nothing_done(world: World) -> None:
    before = await world.keys()
    assert await restore(world, Wanted()) == Restored({}, 0, 0, [])
    assert await world.keys() == before


async def test_a_restore_that_takes_long_says_again_what_it_needs(world: World) -> None:
    one, two = image("one"), image("two")
    for child in (one, two):
        await world.push(child, Digest.of(child))
    digest = Digest.of(await push_index(world, "both", "both", [one, two]))
    await world.repository().delete_manifest(digest)
    opened: list[int] = []
    put = world.driver.put

    async def counted(key: str, data: bytes, **options: bool) -> None:
        if key.startswith(layout.INTENTS):
            opened.append(len(json.loads(data)["digests"]))
            if len(opened) == 3:
                world.clock.advance(hours=2)
        await put(key, data, **options)

    world.counted.put = counted  # type: ignore[attr-defined]
    await restore(world, Wanted({Tag("both"): digest}))
    assert await whole(world, Tag("both")) == digest
    assert len([count for count in opened if count == 5]) > 1


class TestARepository:
    """Deleted as a whole and brought back."""

    @pytest.fixture
    async def deleted(self, world: World) -> World:
        for tag in ("v1", "v2"):
            await world.push(image(tag, layers=[tag.encode()]), Tag(tag))
        await world.push(image("v2", layers=[b"v2"]), Tag("also"))
        content = image("signature", subject=Digest.of(image("v1", layers=[b"v1"])))
        await world.push(content, Digest.of(content))
        await world.blob(b"alone")
        await world.registry.door.remove_repository(NAME, "tester")
        return world

    async def wanted(self, world: World) -> Wanted:
        run = await world.registry.restoring.newest_deletion(NAME)
        assert run is not None
        return await world.registry.restoring.wanted(run)

    async def test_comes_back_as_it_was(self, deleted: World) -> None:
        assert not await deleted.keys(layout.repository(NAME))
        restored = await restore(deleted, await self.wanted(deleted), overwrite=False)
        assert sorted(restored.tags) == ["also", "v1", "v2"]
        assert (await deleted.repository().tags(n=None, last="")).entries == ["also", "v1", "v2"]
        for tag in restored.tags:
            await whole(deleted, tag)
        assert (await deleted.repository().blob(Digest.of(b"alone"), may_push=False)).size_bytes == 5
        page = await deleted.repository().referrers(restored.tags[Tag("v1")], artifact_types=(), after="")
        assert len(page.entries) == 1
        assert await deleted.store.catalog.is_listed(NAME)

    async def test_comes_back_again_after_half_of_it_did(self, deleted: World) -> None:
        wanted = await self.wanted(deleted)
        await restore(deleted, Wanted({Tag("v1"): wanted.tags[Tag("v1")]}))
        await restore(deleted, await self.wanted(deleted), overwrite=False)
        assert (await deleted.repository().tags(n=None, last="")).entries == ["also", "v1", "v2"]

    async def test_takes_no_tag_from_what_it_names_now(self, deleted: World) -> None:
        new = await deleted.push(image("new"), Tag("v1"))
        before = await deleted.keys()
        with pytest.raises(Unsupported, match="team/app:v1 names something else by now; --overwrite"):
            await restore(deleted, await self.wanted(deleted), overwrite=False)
        assert await deleted.keys() == before
        await restore(deleted, await self.wanted(deleted), overwrite=True)
        assert await whole(deleted, Tag("v1")) != new

    async def test_comes_back_without_what_is_gone_if_that_is_said(self, deleted: World) -> None:
        gone = Digest.of(b"v2")
        await deleted.remove_all([layout.blob_data(gone)])
        wanted = await self.wanted(deleted)
        with pytest.raises(ManifestUnknown, match=f"{gone}; --partial leaves it out"):
            await restore(deleted, wanted)
        assert not await deleted.keys(layout.repository(NAME))
        restored = await restore(deleted, wanted, some=True)
        assert restored.missing == [str(gone)]
        assert (await deleted.repository().tags(n=None, last="")).entries == ["v1"]
        with pytest.raises(BlobUnknown):
            await deleted.repository().blob(gone, may_push=False)

    async def test_is_told_from_other_removals(self, world: World) -> None:
        digest = await world.push(image("one"))
        await world.push(image("one"), Tag("also"))
        await world.repository().delete_manifest(digest)
        await world.push(image("two"))
        await world.repository().delete_tag(TAG)
        await world.blob(b"alone")
        await world.repository().delete_blob(Digest.of(b"alone"))
        assert await world.registry.restoring.newest_deletion(NAME) is None
        await world.registry.door.remove_repository(NAME, "first")
        world.clock.advance(seconds=1)
        await world.push(image("three"))
        await world.registry.door.remove_repository(NAME, "second")
        run = await world.registry.restoring.newest_deletion(NAME)
        assert run is not None and run.by == "second"
