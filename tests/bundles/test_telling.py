"""What the operations on bundles tell: what is held until when, what stands where, and what to do next."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from registry.bundles.decision_operations import Decide
from registry.bundles.decision_operations import operations as decision_operations
from registry.bundles.errors import BundleRefused, BundleUnknown
from registry.bundles.import_operations import Import
from registry.bundles.import_operations import operations as import_operations
from registry.bundles.key_operations import Signed
from registry.bundles.list_operations import ListBundles, OneBundle
from registry.bundles.list_operations import operations as list_operations
from registry.bundles.plan_operations import Plan
from registry.bundles.plan_operations import operations as plan_operations
from registry.bundles.telling_operations import Acknowledge, Ask, Forget, Inventoried
from registry.bundles.telling_operations import operations as telling_operations
from registry.bundles.verify_operations import Verified, Verify
from registry.bundles.verify_operations import operations as verify_operations
from registry.errors import InputInvalid, RequestInvalid
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from registry.work.operations import Context, Result, Status
from tests.bundles.handmade import files_of, images, write_folder
from tests.bundles.sides import Gap, Side, outcome
from tests.inmemory import image
from tests.upkeep.gathering import collected

APP, OTHER, V1, V2 = RepositoryName("team/app"), RepositoryName("team/other"), Tag("v1"), Tag("v2")


@pytest.fixture
def gap(tmp_path: Path) -> Gap:
    """Two sides with nothing in them."""
    return Gap(tmp_path)


async def test_media_that_were_not_given_are_told(tmp_path: Path) -> None:
    media = sorted(write_folder(files_of(images(), piece_bytes=30_000), tmp_path / "media").iterdir())
    offered = verify_operations(Side().bundles.settings)

    async def verified(*paths: Path) -> Result:
        return await outcome(offered, "bundle.verify", Verify(tuple(map(str, paths))))

    one = await verified(media[1])
    assert one.status is Status.FAILED
    assert isinstance(one.value, Verified)
    told = one.value.told()
    assert "NOT given" in told and media[0].name in told and media[1].name not in told
    assert "what was given is sound, and not all was given" in told
    assert (await verified(*media)).status is Status.DONE


async def result(side: Side, name: str, asked: Any, *, dry_run: bool = False) -> Result:
    """What came of an operation."""
    rooms = (list_operations, telling_operations, plan_operations, decision_operations, import_operations)
    offered = [one for room in rooms for one in room(lambda: side.bundles)]
    return await outcome(offered, name, asked, Context("operator", dry_run=dry_run))


async def value(side: Side, name: str, asked: Any, *, dry_run: bool = False) -> Any:
    """The value of that."""
    return (await result(side, name, asked, dry_run=dry_run)).value


async def test_an_inventory_is_listed_until_it_is_forgotten_by_its_short_id(gap: Gap) -> None:
    await gap.far.world.push(image("one"), V1, APP)
    given = await result(gap.far, "bundle.inventory", Ask())
    [shown] = (await value(gap.far, "bundle.list", ListBundles())).inventories
    assert isinstance(given.value, Inventoried)
    assert given.value.sha256.startswith(shown.id) and f"forget {shown.id}`" in given.text
    days = (shown.held_until - gap.far.world.clock.now).days
    assert days in (89, 90)
    held = await gap.far.bundles.holds.held()
    assert set(held.values()) == {f"inventory {shown.id}"}
    forgotten = await value(gap.far, "bundle.forget", Forget(shown.id))
    assert forgotten.kind == "inventory" and shown.id in forgotten.told()
    assert (await value(gap.far, "bundle.list", ListBundles())).inventories == []
    assert not await gap.far.bundles.holds.held()


async def test_what_several_inventories_begin_with_is_none_of_them(gap: Gap) -> None:
    holds, driver = gap.far.bundles.holds, gap.far.world.store.driver
    for end in "ab":
        await driver.put(layout.bundle_given(f"{'0' * 63}{end}", "contents"), b"moorage inventory 1\nend 1\n")
    with pytest.raises(RequestInvalid, match="2 inventories begin with 000000"):
        await holds.forget("0" * 12)
    assert await holds.forget("00") is None
    assert await holds.forget(f"{'0' * 63}a") == f"{'0' * 63}a"


async def test_what_is_written_is_listed_with_what_it_carries_and_until_when_it_is_held(gap: Gap) -> None:
    await gap.near.world.push(image("one"), V1, APP)
    first = await gap.carry()
    [shown] = (await value(gap.near, "bundle.list", ListBundles())).bundles
    assert shown.held_until is not None and shown.carried_bytes == shown.stated_bytes
    told = (await value(gap.near, "bundle.show", OneBundle(first.head.id))).told()
    assert "held until:" in told and "decided by:" not in told and "builds on:      nothing" in told

    code = (await value(gap.far, "bundle.show", OneBundle(first.head.id))).code
    acknowledged = await value(gap.near, "bundle.acknowledge", Acknowledge(code))
    assert "weekly builds on number 1" in acknowledged.told()
    await gap.near.world.push(image("two"), V2, APP)
    second = await gap.carry()
    last, before = (await value(gap.near, "bundle.list", ListBundles())).bundles
    assert before.held_until is None and 0 < last.carried_bytes < last.stated_bytes
    told = (await value(gap.far, "bundle.show", OneBundle(second.head.id))).told()
    assert f"builds on:      {first.head.id}" in told and "moves:\n  team/app:v2" in told


async def test_what_is_not_known_may_be_a_supplement(gap: Gap) -> None:
    with pytest.raises(BundleUnknown, match="export STREAM --missing FILE"):
        await gap.near.bundles.exporting.sent.find("b-00000000000000000000")
    with pytest.raises(BundleUnknown, match="supplements aside"):
        await value(gap.near, "bundle.show", OneBundle("b-00000000000000000000"))


async def test_a_plan_has_what_goes_along_without_a_tag(gap: Gap) -> None:
    named = await gap.near.world.push(image("one"), V1, APP)
    content = image("about it", subject=named)
    about = await gap.near.world.push(content, Digest.of(content), APP)
    planned = await value(gap.near, "bundle.plan", Plan("pick", image=(f"{APP}:{V1}",)))
    assert [one.digest for one in planned.images] == [str(named)]
    assert [one.image for one in planned.untagged] == [f"{APP}@{about}"]
    assert f"+ {APP}@{about}" in planned.told() and "1 images, 1 without a tag" in planned.told()
    alone = Plan("pick", image=(f"{APP}:{V1}",), without_referrers=True)
    assert (await value(gap.near, "bundle.plan", alone)).untagged == []


async def test_an_empty_list_of_images_is_told(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("# none yet\n")
    with pytest.raises(RequestInvalid, match="images names no image"):
        await value(Side(), "bundle.plan", Plan("pick", images_from=tmp_path / "images"))


async def test_what_is_missing_and_is_not_listed_says_how(gap: Gap, tmp_path: Path) -> None:
    await gap.near.world.push(image("one"), V1, APP)
    await gap.near.bundles.exporting.sent.note((await gap.near.export(tmp_path / "lost")), "acknowledged")
    await gap.near.world.push(image("two"), V2, APP)
    await gap.near.export(tmp_path / "next", gap.key)
    words = (str(tmp_path / "next"),)
    told = (await value(gap.far, "bundle.import", Import(words))).told()
    assert "(--missing-to FILE)" in told and "--missing FILE" in told
    listed = tmp_path / "missing.txt"
    told = (await value(gap.far, "bundle.import", Import(words, missing_to=listed))).told()
    assert "--missing-to" not in told and f"--missing {listed}" in told and listed.is_file()


async def test_who_must_approve_is_told_and_what_a_rehearsal_would_move(tmp_path: Path) -> None:
    gap = Gap(tmp_path, {"approvals": 2})
    await gap.near.world.push(image("one"), V1, APP)
    await gap.near.export(tmp_path / "first", gap.key)
    asked = Import((str(tmp_path / "first"),))
    assert "would move:\n  team/app:v1" in (await value(gap.far, "bundle.import", asked, dry_run=True)).told()
    told = (await value(gap.far, "bundle.import", asked)).told()
    assert "for 2 people other than who imported it to approve it" in told
    await gap.far.world.push(image("one"), V1, APP)
    assert "would move no tag" in (await value(gap.far, "bundle.import", asked, dry_run=True)).told()


@pytest.mark.parametrize("is_tar", [False, True])
async def test_files_that_are_not_read_since_they_are_here_are_counted(gap: Gap, *, is_tar: bool) -> None:
    await gap.near.world.push(image("one"), V1, APP)
    assert (await gap.carry(is_tar=is_tar)).unread == 0
    await gap.near.world.push(image("two", layers=[b"more"]), V2, APP)
    # All of it once more: the manifest, the config that both have, and the layer.
    again = await gap.carry(is_tar=is_tar)
    assert again.is_staged and again.unread == 3
    await gap.near.export(gap.folder / "last", gap.key)
    told = await value(gap.far, "bundle.import", Import((str(gap.folder / "last"),)))
    assert f"{told.unread_files} of its files were not read" in told.told() and told.unread_files == 5


async def test_what_stays_of_a_bundle_that_never_was_whole(gap: Gap, tmp_path: Path) -> None:
    layers = [os.urandom(1 << 20), os.urandom(20 << 20)]
    document = json.loads(image("one", layers=layers))
    del document["annotations"]
    for blob in (b"{}", *layers):
        await gap.near.world.blob(blob, APP)
    await gap.near.world.push_alone(json.dumps(document).encode(), V1, APP)
    await gap.near.export(tmp_path / "media", gap.key, medium_bytes=16 << 20)
    judged = await gap.far.take_in(tmp_path / "media/medium-001")
    assert judged.media == [2]
    pieces = layout.bundle_received(judged.head.id, "pieces")
    blobs = "docker/registry/v2/blobs"
    assert await gap.far.world.keys(blobs) and await gap.far.world.keys(pieces)
    gap.far.world.clock.advance(days=3)
    await collected(gap.far.world)
    assert not await gap.far.world.keys(blobs) and await gap.far.world.keys(pieces)
    await value(gap.far, "bundle.reject", Decide(judged.head.id))
    assert not await gap.far.world.keys(pieces)


async def test_a_mapping_that_is_none_is_wrong_usage(gap: Gap, tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="--map"):
        await value(gap.far, "bundle.import", Import((str(tmp_path),), map=("hub",)))


async def test_undoing_says_which_later_bundle_may_state_the_same(gap: Gap) -> None:
    await gap.near.world.push(image("one"), V1, APP)
    first = await gap.carry()
    await gap.acknowledge(first)
    await gap.near.world.push(image("two"), V2, APP)
    second = await gap.carry()
    undone = await value(gap.far, "bundle.undo", Decide(first.head.id))
    assert undone.later == [str(second.head)] and f"{second.head.id} (weekly number 2)" in undone.told()
    assert (await value(gap.far, "bundle.undo", Decide(second.head.id))).later == []
    with pytest.raises(BundleRefused, match=f"{second.head.id} was undone by operator already"):
        await value(gap.far, "bundle.reject", Decide(second.head.id))


def test_signing_says_what_lies_there_now() -> None:
    assert "b-1 is signed by 0123" in Signed("b-1", "0123", ["bundle.json.0123.sig"]).told()
