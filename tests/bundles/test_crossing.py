"""Bundles carried from one side to the other, and what is the same there then."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.bundles.bundles import Place
from registry.bundles.errors import BundleInvalid, BundleRefused
from registry.bundles.exporting import NOTHING, Belief, Order
from registry.bundles.format import Head
from registry.bundles.import_operations import missing_text
from registry.bundles.receipts import code_of
from registry.bundles.records import read_contents
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from tests.bundles.sides import Gap, Side
from tests.inmemory import descriptor, image

APP, BASE = RepositoryName("team/app"), RepositoryName("team/base")


@pytest.fixture
async def gap(tmp_path: Path) -> Gap:
    """A near side with two images that share a layer."""
    gap = Gap(tmp_path)
    await gap.near.world.push(image("one", layers=[b"shared", b"one"]), Tag("v1"), APP)
    await gap.near.world.push(image("base", layers=[b"shared"]), Tag("latest"), BASE)
    return gap


async def test_what_is_selected_is_the_same_on_both_sides(gap: Gap) -> None:
    judged = await gap.carry()
    assert judged.is_staged and not judged.missing
    assert await gap.far.tags() == await gap.near.tags()
    for name in await gap.near.tags():
        repository, tag = name.split(":")
        assert await gap.far.whole(repository, tag) == await gap.near.whole(repository, tag)
    assert not [key for key in await gap.far.world.keys("docker") if "/staged/" in key]


async def test_the_same_state_parent_and_number_are_the_same_bytes(gap: Gap, tmp_path: Path) -> None:
    first, second = Gap(tmp_path / "a"), Gap(tmp_path / "b")
    for one in (first, second):
        await one.near.world.push(image("one", layers=[b"x"]), Tag("v1"), APP)
        await one.near.export(one.folder / "bundle", None)
    names = sorted(path.relative_to(first.folder) for path in first.folder.rglob("*") if path.is_file())
    for name in [name for name in names if name.parts[0] == "bundle"]:
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


async def test_only_what_is_missing_is_carried(gap: Gap) -> None:
    await gap.acknowledge(await gap.carry())
    await gap.near.world.push(image("two", layers=[b"shared", os.urandom(100)]), Tag("v2"), APP)
    judged = await gap.carry()
    carried = judged.head.totals
    # The new layer, its manifest, and the config that goes with that.
    assert carried.carried_files == 3 and carried.carried_bytes < 2000
    assert judged.head.parent is not None
    assert await gap.far.tags() == await gap.near.tags()


async def test_what_is_neither_carried_nor_there_stages_nothing(gap: Gap, tmp_path: Path) -> None:
    await gap.near.export(tmp_path / "lost", gap.key)
    lost = await gap.near.bundles.exporting.sent.get("weekly", 1)
    assert lost is not None
    await gap.near.bundles.exporting.sent.note(lost.head, "acknowledged")
    await gap.near.world.push(image("two", layers=[b"shared", b"two"]), Tag("v2"), APP)
    judged = await gap.carry()
    assert not judged.is_staged
    assert str(Digest.of(b"shared")) in judged.missing
    assert await gap.far.tags() == {}
    assert await gap.far.world.keys("docker/registry/v2/repositories") == []


async def test_what_a_supplement_lacks_is_asked_of_its_bundle(gap: Gap) -> None:
    judged = await gap.carry()
    judged.head = replace(judged.head, supplements="b-00000000000000000000")
    assert "\nbundle b-00000000000000000000\n" in missing_text(judged)


async def test_an_older_bundle_is_refused(gap: Gap) -> None:
    await gap.near.export(gap.folder / "older", gap.key)
    await gap.near.world.push(image("two"), Tag("v2"), APP)
    newer = await gap.carry()
    with pytest.raises(BundleRefused, match="number 1 of weekly, and number 2"):
        await gap.far.take_in(gap.folder / "older")
    judged = await gap.far.take_in(gap.folder / "older", allow_rollback=True)
    assert judged.is_staged
    # Both were approved by now: which was last is known, and the older one is not done once more.
    with pytest.raises(BundleRefused, match=f"undo that .moorage bundle undo {newer.head.id}"):
        await gap.far.take_in(gap.folder / "older", allow_rollback=True)


async def test_what_moved_to_another_repository_is_carried_again(gap: Gap) -> None:
    await gap.acknowledge(await gap.carry())
    await gap.near.world.push(image("one", layers=[b"shared", b"one"]), Tag("v1"), RepositoryName("team/new"))
    for name in (APP, BASE):
        for tag in await gap.near.world.store.links.tags(name):
            await gap.near.world.repository(name).delete_tag(tag)
    judged = await gap.carry()
    assert judged.is_staged and not judged.missing


async def test_an_import_again_is_harmless(gap: Gap) -> None:
    await gap.carry()
    before = await gap.far.world.keys("docker")
    judged = await gap.far.take_in(gap.folder / "bundle-1")
    assert judged.is_staged
    assert await gap.far.world.keys("docker") == before


async def test_media_come_one_after_the_other(gap: Gap, tmp_path: Path) -> None:
    large = os.urandom(40 << 20)
    # Beside the notes of what it is made of, which are for small ones.
    for blob in (b"{}", large):
        await gap.near.world.blob(blob, APP)
    document = {**json.loads(image("large")), "layers": [descriptor(large)], "annotations": {}}
    await gap.near.world.push_alone(json.dumps(document).encode(), Tag("large"), APP)
    head = await gap.near.export(tmp_path / "media", gap.key, medium_bytes=16 << 20)
    assert head.media > 2
    folders = sorted((tmp_path / "media").iterdir())
    for number, folder in enumerate(folders, 1):
        judged = await gap.far.take_in(folder)
        assert judged.is_staged == (number == len(folders))
        if not judged.is_staged:
            assert judged.media == list(range(number + 1, len(folders) + 1))
            assert await gap.far.tags() == {}
    assert await gap.far.tags() == await gap.near.tags()
    assert str(Digest.of(large)) in await gap.far.whole("team/app", "large")


async def test_a_tar_is_the_same(gap: Gap, tmp_path: Path) -> None:
    await gap.near.export(tmp_path / "bundle.tar", gap.key, is_tar=True)
    judged = await gap.far.take_in(tmp_path / "bundle.tar")
    assert judged.is_staged
    assert await gap.far.tags() == await gap.near.tags()


async def test_names_are_mapped(gap: Gap) -> None:
    await gap.near.export(gap.folder / "bundle", gap.key, belief=NOTHING)
    await gap.far.take_in(gap.folder / "bundle", maps=["team/=mirror/near/"])
    assert set(await gap.far.tags()) == {"mirror/near/app:v1", "mirror/near/base:latest"}


async def test_a_flipped_bit_is_seen(gap: Gap) -> None:
    await gap.near.export(gap.folder / "bundle", gap.key)
    blob = gap.folder / f"bundle/blobs/sha256/{Digest.of(b'shared').encoded}"
    blob.write_bytes(b"sharee")
    with pytest.raises(BundleInvalid, match=f"blobs/sha256/{Digest.of(b'shared').encoded}: its bytes"):
        await gap.far.take_in(gap.folder / "bundle")
    assert await gap.far.tags() == {}


async def test_deletions_apply_only_when_asked_and_undo_brings_them_back(gap: Gap) -> None:
    await gap.carry()
    await gap.near.world.repository(APP).delete_tag(Tag("v1"))
    await gap.near.world.push(image("new"), Tag("latest"), BASE)
    before = await gap.far.tags()
    await gap.near.export(gap.folder / "second", gap.key)
    await gap.far.take_in(gap.folder / "second")
    assert "team/app:v1" in await gap.far.tags()
    await gap.near.export(gap.folder / "third", gap.key)
    judged = await gap.far.take_in(gap.folder / "third", delete=True)
    assert await gap.far.tags() == await gap.near.tags()
    await gap.far.bundles.approving.undo(judged.head.id, "somebody", "")
    await gap.far.finish(judged.head.id)
    after = await gap.far.tags()
    assert after["team/app:v1"] == before["team/app:v1"]


async def test_others_must_approve(tmp_path: Path) -> None:
    gap = Gap(tmp_path, {"approvals": 2})
    await gap.near.world.push(image("one"), Tag("v1"), APP)
    judged = await gap.carry()
    assert judged.is_staged and await gap.far.tags() == {}
    waits = RepositoryName(f"staged/{judged.head.id}/team/app")
    assert await gap.far.world.store.links.tags(waits) == ["v1"]
    approving = gap.far.bundles.approving
    with pytest.raises(BundleRefused, match="another one must approve"):
        await approving.approve(judged.head.id, "importer", "", allow_rollback=False)
    assert await approving.approve(judged.head.id, "alice", "", allow_rollback=False) == 1
    assert await approving.approve(judged.head.id, "alice", "", allow_rollback=False) == 1
    assert await approving.approve(judged.head.id, "bob", "", allow_rollback=False) == 0
    await gap.far.finish(judged.head.id)
    assert await gap.far.tags() == await gap.near.tags()
    assert await gap.far.world.store.links.tags(waits) == []


async def test_what_older_bundles_state_is_let_go(gap: Gap) -> None:
    near = gap.near
    heads: list[Head] = []

    async def stated() -> list[int]:
        kept = await near.world.driver.children(f"{layout.BUNDLES}/contents")
        return [head.number for head in heads if head.id in kept]

    for number in range(4):
        await near.world.push(image(f"{number}"), Tag(f"v{number}"), APP)
        heads.append(await near.export(gap.folder / f"{number}", gap.key))
    assert await stated() == [1, 2, 3, 4]
    # Two may still be asked for, the second is what the next builds on.
    await near.bundles.exporting.sent.note(heads[0], "acknowledged")
    await near.bundles.exporting.sent.note(heads[1], "acknowledged")
    await near.bundles.holds.let_go("weekly")
    assert await stated() == [2, 3, 4]
    near.world.clock.advance(days=91)
    await near.bundles.holds.let_go("weekly")
    assert await stated() == [2, 4]
    await near.bundles.exporting.sent.note(heads[1], "forgotten")
    await near.bundles.holds.let_go("weekly")
    heads.append(await near.export(gap.folder / "all", gap.key))
    assert heads[-1].parent is None
    assert await stated() == [5]
    assert [sent.head.number async for sent in near.bundles.exporting.sent.each()] == [5, 4, 3, 2, 1]


async def test_an_export_and_a_receipt_cost_the_same_however_many_came_before(gap: Gap) -> None:
    near, asked = gap.near, []

    async def cross(number: int) -> None:
        await near.world.push(image(f"{number}"), Tag("v1"), APP)
        before = near.world.counted.calls.total()
        head = await near.export(gap.folder / f"{number}", gap.key)
        near.world.clock.advance(days=1)
        sent = near.bundles.exporting.sent
        found = await sent.arrived(code_of(head))
        assert found is not None and found.head == head
        await sent.note(head, "acknowledged")
        await near.bundles.holds.let_go("weekly")
        assert await sent.arrived(code_of(replace(head, number=99))) is None
        await near.bundles.holds.held()
        asked.append(near.world.counted.calls.total() - before)

    for number in range(12):
        await cross(number)
    assert len(set(asked[2:])) == 1, asked


async def test_a_receipt_of_a_supplement_tells_of_the_bundle(gap: Gap) -> None:
    near = gap.near
    head = await near.export(gap.folder / "first", gap.key)
    selected = await near.select()
    again = Order("weekly", "near.example", head.selection, selected, NOTHING, None, (), head)
    steps = near.bundles.write(again, near.source, lambda _: Place(gap.folder / "again"), gap.key)
    [supplement] = [step async for step in steps if isinstance(step, Head)]
    assert supplement.id != head.id
    found = await near.bundles.exporting.sent.arrived(code_of(supplement))
    assert found is not None and found.head == head


async def test_a_push_in_the_instant_of_the_move_stands(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    far = gap.far.world
    await far.push(image("theirs"), Tag("v1"), APP)
    push, tag, theirs = far.registry.pushes.push, far.registry.batches.tag, [image("new"), image("newer")]

    async def theirs_first(name: RepositoryName, tags: Any, by: str) -> None:
        if (name, by) == (APP, "tester") and Tag("v1") in tags and theirs:
            # Twice: also while the first of theirs is put back.
            await far.push(theirs.pop(0), Tag("v1"), APP)

    async def raced(name: RepositoryName, reference: Any, content: bytes, *rest: Any, **more: Any) -> Any:
        _, tags, by, *_ = rest
        await theirs_first(name, tags, by)
        return await push(name, reference, content, *rest, **more)

    async def raced_all(name: RepositoryName, tags: Any, by: str, *rest: Any) -> Any:
        await theirs_first(name, tags, by)
        return await tag(name, tags, by, *rest)

    monkeypatch.setattr(far.registry.pushes, "push", raced)
    monkeypatch.setattr(far.registry.batches, "tag", raced_all)
    judged = await gap.carry()
    assert not theirs
    assert await gap.far.tags() == {
        **await gap.near.tags(),
        "team/app:v1": str(Digest.of(image("newer"))),
    }
    done = await gap.far.bundles.importing.received.done(judged.head.id)
    assert done is not None and done.left == ["team/app:v1"]


async def test_a_delete_in_the_instant_of_the_move_came_before(
    gap: Gap, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = gap.far.world
    moved = await gap.near.world.store.links.tag(APP, Tag("v1"))
    set_tags, deleted = far.registry.batches._tagging.set, list[list[Tag]]()

    async def raced(name: RepositoryName, digest: Digest, tags: Any, by: str) -> Any:
        replaced = await set_tags(name, digest, tags, by)
        if (name, digest, by) == (APP, moved, "tester") and not deleted:
            deleted.append(await far.registry.door.remove_manifest(name, digest, "someone"))
        return replaced

    monkeypatch.setattr(far.registry.batches._tagging, "set", raced)
    judged = await gap.carry()
    assert deleted == [[Tag("v1")]]
    assert await gap.far.tags() == await gap.near.tags()
    assert await gap.far.whole("team/app", "v1")
    done = await gap.far.bundles.importing.received.done(judged.head.id)
    assert done is not None and done.left == []


async def test_what_others_have_is_not_taken(gap: Gap, tmp_path: Path) -> None:
    """A signer names content of somebody else's, and claims that it is believed to be there."""
    other = RepositoryName("secret/app")
    await gap.far.world.push(image("secret", layers=[b"their own"]), Tag("v1"), other)
    await gap.near.world.push(image("secret", layers=[b"their own"]), Tag("v1"), APP)
    held = {key for key, _ in (await gap.near.select()).statement.all}
    await gap.near.export(tmp_path / "bundle", gap.key, belief=Belief(None, held))
    judged = await gap.far.take_in(tmp_path / "bundle")
    assert str(Digest.of(b"their own")) in judged.missing and not judged.is_staged


async def test_a_registry_may_take_in_what_it_has_written_itself(gap: Gap, tmp_path: Path) -> None:
    settings = {"trusted_keys": [str(next(tmp_path.glob("*.pub")))], "map": ["team/=back/"]}
    alone = Side({"import": settings})
    await alone.world.push(image("one"), Tag("v1"), APP)
    head = await alone.export(tmp_path / "own", gap.key)
    await alone.take_in(tmp_path / "own")
    assert set(await alone.tags()) == {"team/app:v1", "back/app:v1"}
    assert (await read_contents(alone.world.store, head)).tags
    assert await alone.bundles.holds.held()
