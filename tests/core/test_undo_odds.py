"""Restores and copies of what is odd: torn, spoilt, huge, or in the way of a busy storage."""

from __future__ import annotations

import json
from typing import Any

import pytest

from registry.core import trees
from registry.core.pushes import Pushed
from registry.core.restoring import Wanted
from registry.errors import ManifestUnknown, ReadOnly, TooManyRequests, Unavailable, Unsupported
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from registry.store.manifests import StoredManifest
from tests.core.test_promotion import PROD, copy
from tests.core.test_restoring import LAYER, collect, push_index, restore, whole
from tests.inmemory import NAME, TAG, World, image


@pytest.fixture
def world() -> World:
    return World()


async def deleted(world: World, *images: bytes) -> Wanted:
    """The repository with these images, deleted: what it takes to have it back."""
    for number, content in enumerate(images):
        await world.push(content, Tag(f"v{number}"))
    await world.registry.door.remove_repository(NAME, "somebody")
    run = await world.registry.restoring.newest_deletion(NAME)
    assert run is not None
    return await world.registry.restoring.wanted(run)


async def test_no_tag_is_restored_to_a_blob(world: World) -> None:
    await world.push(image("one"))
    with pytest.raises(ManifestUnknown, match=rf"{LAYER} \(a blob\)$"):
        await restore(world, Wanted({Tag("x"): LAYER}), some=True)
    assert (await world.repository().tags(n=None, last="")).entries == ["latest"]


async def test_a_manifest_that_is_gone_is_not_made_up_for_by_a_blob_of_its_digest(world: World) -> None:
    gone = image("gone")
    wanted = await deleted(world, image("one"), gone)
    # Its bytes lie there by the blob of that digest alone.
    await world.remove_all(await world.keys(layout.trash_revision(NAME, Digest.of(gone))))
    await world.blob(gone)
    with pytest.raises(ManifestUnknown, match=rf"{Digest.of(gone)} \(a blob\); --partial"):
        await restore(world, wanted)
    restored = await restore(world, wanted, some=True)
    assert (list(restored.tags), restored.missing) == (["v0"], [f"{Digest.of(gone)} (a blob)"])


async def test_a_busy_storage_is_not_told_as_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    two = image("two", layers=[b"2"])
    wanted = await deleted(world, image("one"), two)
    trashed = world.registry.restoring.trashed
    read = trashed.manifest

    async def busy(name: RepositoryName, digest: Digest) -> StoredManifest | None:
        if digest == Digest.of(two):
            raise Unavailable("too much at once", headers={"Retry-After": "5"})
        return await read(name, digest)

    monkeypatch.setattr(trashed, "manifest", busy)
    with pytest.raises(Unavailable) as raised:
        await restore(world, wanted, some=True)
    assert raised.value.headers == {"Retry-After": "5"}
    assert not await world.keys(layout.repository(NAME))


async def test_a_torn_copy_of_a_link_hides_no_other(world: World) -> None:
    digest = await world.push(image("one"))
    await collect(world, [digest], [LAYER], "c-2")
    for prefix in (layout.trash_layer(NAME, LAYER), layout.trash_revision(NAME, digest)):
        await world.driver.put(f"{prefix}/c-1", b"")
    await world.driver.put(f"{layout.trash_data(digest)}/c-1", b"torn")
    await restore(world, Wanted({TAG: digest}))
    assert await whole(world) == digest


async def test_what_only_a_torn_copy_is_left_of_is_left_out_if_that_is_said(world: World) -> None:
    wanted = await deleted(world, image("one"), image("two", layers=[b"2"]))
    (copy,) = await world.keys(layout.trash_layer(NAME, Digest.of(b"2")))
    await world.driver.put(copy, b"")
    with pytest.raises(ManifestUnknown, match=f"{Digest.of(b'2')}; --partial"):
        await restore(world, wanted)
    assert list((await restore(world, wanted, some=True)).tags) == ["v0"]


async def test_an_intact_copy_is_found_behind_damaged_bytes(world: World) -> None:
    digest = await world.push(image("one"))
    await world.driver.copy(f"{layout.trash_data(digest)}/c-1", layout.blob_data(digest))
    await world.driver.put(layout.blob_data(digest), b"damaged")
    await restore(world, Wanted({Tag("again"): digest}))
    assert await whole(world, Tag("again")) == digest


async def test_a_restore_of_much_goes_on_where_it_was_when_its_hour_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = await deleted(world, *(image(str(number)) for number in range(6)))
    push, pushed = world.registry.pushes.push, 0
    needed = set(wanted.manifests)

    async def slow(*arguments: Any) -> Pushed:
        nonlocal pushed
        pushed += 1
        assert pushed <= 6
        world.clock.advance(minutes=50)
        assert needed <= await world.registry.intents.needed(NAME)
        return await push(*arguments)

    monkeypatch.setattr(world.registry.pushes, "push", slow)
    restored = await restore(world, wanted)
    assert len(restored.tags) == 6
    assert not await world.keys(layout.INTENTS)


async def test_a_writer_that_slept_for_half_a_day_looks_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = await deleted(world, image("one"), image("two"))
    push, slept = world.registry.pushes.push, False
    looked: list[Wanted] = []
    find = world.registry.restoring._find

    async def sleepy(*arguments: Any) -> Pushed:
        nonlocal slept
        if not slept:
            slept = True
            world.clock.advance(hours=13)
        return await push(*arguments)

    async def looking(name: RepositoryName, wanted: Wanted) -> Any:
        looked.append(wanted)
        return await find(name, wanted)

    monkeypatch.setattr(world.registry.pushes, "push", sleepy)
    monkeypatch.setattr(world.registry.restoring, "_find", looking)
    await restore(world, wanted)
    # The announcement that it went by could have been dead for all that it knew.
    assert len(looked) == 2
    assert not await world.keys(layout.INTENTS)


async def test_what_hangs_together_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = await world.push(image("one", layers=[bytes([number]) for number in range(9)]))
    await world.push(image("sbom", subject=digest), Tag("sbom"))
    before = await world.keys()
    monkeypatch.setattr(trees, "MOST", 10)
    with pytest.raises(Unsupported, match="more than 10 manifests and blobs"):
        await restore(world, Wanted({Tag("x"): digest}))
    with pytest.raises(Unsupported, match="more than 10 manifests and blobs"):
        await copy(world)
    assert await world.keys() == before
    monkeypatch.setattr(trees, "MOST", 11)
    await restore(world, Wanted({Tag("x"): digest}))
    with pytest.raises(Unsupported):
        await copy(world)
    await copy(world, referrers=False)


async def test_of_much_that_is_gone_a_part_is_told_and_how_much_it_is(world: World) -> None:
    contents = [image(str(number)) for number in range(150)]
    index = Digest.of(await push_index(world, "sparse", "sparse", contents))
    with pytest.raises(ManifestUnknown) as raised:
        await restore(world, Wanted({TAG: index}))
    detail = raised.value.detail
    assert isinstance(detail, dict)
    assert (len(detail["missing"]), detail["count"]) == (100, 150)


async def test_what_a_push_would_refuse_is_told_before_anything_is_done(world: World) -> None:
    wanted = await deleted(
        world, image("one"), image("two", layers=[b"2", b"3", b"4"]), image("3", layers=[b"5"])
    )
    await world.driver.put(layout.blob_data(Digest.of(b"5")), b"longer")
    world.registry.pushes.max_references = 2
    before = await world.keys()
    with pytest.raises(ManifestUnknown) as raised:
        await restore(world, wanted)
    assert "1 bytes by its manifest, and 6 are there" in raised.value.message
    assert "refers to 3 others; this registry takes at most 2" in raised.value.message
    assert (await world.keys(), raised.value.in_part) == (before, False)
    assert list((await restore(world, wanted, some=True)).tags) == ["v0"]


async def test_an_error_half_way_says_that_something_was_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = await deleted(world, image("one"), image("two"))
    push = world.registry.pushes.push

    async def then_read_only(*arguments: Any) -> Pushed:
        pushed = await push(*arguments)
        world.registry.read_only = True
        return pushed

    monkeypatch.setattr(world.registry.pushes, "push", then_read_only)
    with pytest.raises(
        ReadOnly, match=r"; what was done before that stays.* \(set: team/app:v[01]\)$"
    ) as raised:
        await restore(world, wanted)
    assert raised.value.in_part
    assert not await world.keys(layout.INTENTS)
    assert len((await world.repository().tags(n=None, last="")).entries) == 1


async def test_a_copy_ends_while_ever_more_is_attached(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = await world.push(image("one"))
    find, rounds = world.registry.promotion._find, 0

    async def attaching(source: Any) -> Any:
        nonlocal rounds
        rounds += 1
        assert rounds < 50
        found = await find(source)
        more = image(f"r{rounds}", subject=digest)
        await world.push(more, Digest.of(more))
        return found

    monkeypatch.setattr(world.registry.promotion, "_find", attaching)
    with pytest.raises(TooManyRequests, match="--no-referrers"):
        await copy(world)
    assert not await world.keys(layout.repository(PROD))
    assert not await world.keys(layout.INTENTS)


async def test_tags_of_cosign_that_are_odd_stop_no_copy_and_are_told(world: World) -> None:
    digest = await world.push(image("one"))
    sig, att, sbom = (Tag(f"sha256-{digest.encoded}.{suffix}") for suffix in ("sig", "att", "sbom"))
    ghost = Digest.of(b"ghost")
    await world.store.links.put_tag(NAME, sig, ghost)
    await world.driver.put(layout.tag_link(NAME, att), b"rubbish")
    await world.push(image("sbom"), sbom)
    await world.push(image("theirs"), sbom, PROD)
    copied = await copy(world)
    assert (copied.referrers, list(copied.tags)) == (0, [TAG])
    assert copied.left == [
        f"team/app:{att} is damaged",
        f"team/app:{sig} names {ghost}, which is gone",
        f"team/prod:{sbom} was there, names something else, and stays so",
    ]


async def test_an_entry_of_a_referrer_that_is_spoilt_stops_no_copy(world: World) -> None:
    digest = await world.push(image("one"))
    content = image("sbom", subject=digest)
    sbom = await world.push(content, Digest.of(content))
    await world.driver.put(layout.referrer(NAME, digest, sbom), b"")
    copied = await copy(world)
    assert copied.left == [f"an entry of what refers to {digest} in team/app is damaged"]


async def test_a_tag_that_was_set_tells_what_it_named(world: World) -> None:
    old = await world.push(image("old"))
    new = await world.push(image("new"))
    assert (await restore(world, Wanted({TAG: old}))).replaced == {TAG: new}
    assert (await copy(world)).replaced == {TAG: None}
    assert (await copy(world, new)).replaced == {TAG: old}


async def test_a_repository_of_one_blob_comes_back(
    world: World,
) -> None:
    blob = await world.blob(b"alone")
    await world.registry.door.remove_repository(NAME, "somebody")
    run = await world.registry.restoring.newest_deletion(NAME)
    assert run is not None
    await restore(world, await world.registry.restoring.wanted(run))
    assert (await world.repository().blob(blob, may_push=False)).size_bytes == 5


async def test_a_record_that_is_odd_hides_no_deletion(world: World) -> None:
    await deleted(world, image("one"))
    (record,) = await world.keys(layout.TRASH_RUNS)
    (copy,) = await world.keys(layout.trash_layer(NAME, LAYER))
    run = copy.rpartition("/")[2]
    document = json.loads(await world.driver.get(record, limit=1 << 20))
    await world.driver.copy(copy.replace(run, "u-odd"), copy)
    odd = json.dumps({**document, "repository": "No Repository", "at": "9"}).encode()
    await world.driver.put(layout.trash_run("u-odd"), odd)
    found = await world.registry.restoring.newest_deletion(NAME)
    assert found is not None and found.name == run


async def test_a_deletion_beside_which_something_was_collected_is_found(world: World) -> None:
    digest = await world.push(image("one", layers=[b"1", b"2"]))
    for content in (b"1", b"2", b"{}"):
        await collect(world, [], [Digest.of(content)])
    await world.registry.door.remove_repository(NAME, "somebody")
    run = await world.registry.restoring.newest_deletion(NAME)
    assert run is not None
    assert list((await restore(world, await world.registry.restoring.wanted(run))).tags) == [TAG]
    assert await whole(world) == digest


async def test_a_copy_that_is_done_again_tells_what_it_told(world: World) -> None:
    digest = await world.push(image("one"))
    signature = Tag(f"sha256-{digest.encoded}.sig")
    await world.push(image("signature"), signature)
    first, again = await copy(world), await copy(world)
    assert (first.referrers, again.referrers) == (1, 1)
    assert first.replaced == {signature: None, TAG: None}
    assert (again.replaced, again.left) == ({TAG: digest}, [])
