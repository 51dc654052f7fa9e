"""Manifests that no tag leads to, the tags that belong to them, and repositories with nothing in them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from registry.model.digests import Digest
from registry.model.names import Tag
from registry.store import layout
from tests.inmemory import NAME, TAG, World, image
from tests.upkeep.gathering import push_index
from tests.upkeep.retention.retaining import OTHER, Known, builds, described, process, run, tags


async def test_what_no_tag_leads_to_goes_when_it_has_been_so_for_long_enough(world: World) -> None:
    first = await world.push(image("first"))
    child = await world.push(image("child"), Digest.of(image("child")))
    await push_index(world, [described(image("child"))], Tag("index"))
    signature = await world.push(
        image("signature", subject=child), Digest.of(image("signature", subject=child))
    )
    alone = await world.push(image("alone"), Digest.of(image("alone")))
    world.clock.advance(days=30)
    await world.push(image("second"))
    world.clock.advance(days=6)
    rule = {"untagged_for": "7d", "name": "cleaning"}
    report = await run(process(world, rule))
    assert (report.manifests, report.manifests_gone) == (6, 1)
    assert [(one.reference, one.why) for one in report.decisions] == [
        (f"{NAME}@{alone}", "no tag has led to it for 7d (cleaning)")
    ]
    assert await world.holds(first) and not await world.holds(alone)
    world.clock.advance(days=2)
    assert (await run(process(world, rule))).manifests_gone == 1
    assert not await world.holds(first)
    assert await world.holds(child) and await world.holds(signature)
    # What a policy took comes back when an index needs it.
    await push_index(world, [described(image("alone"))], Tag("other"))
    assert await world.holds(alone)


async def test_what_is_pulled_by_its_digest_needs_no_tag(world: World) -> None:
    alone = await world.push(image("alone"), Digest.of(image("alone")))
    world.clock.advance(days=30)
    pulls = Known(days={(None, alone): world.clock.now.date()})
    assert (await run(process(world, {"untagged_for": "7d"}, pulls=pulls))).manifests_gone == 0
    assert (await run(process(world, {"untagged_for": "7d"}))).manifests_gone == 1


async def test_a_signature_s_tag_goes_with_its_image(world: World) -> None:
    (digest, *_) = await builds(world, 3)
    attached = Tag(f"sha256-{digest.encoded}.sig")
    await world.push(image("signature"), attached)
    world.clock.advance(days=2)
    rules = {"newest_pushed": 1, "untagged_for": "7d"}
    await run(process(world, rules))
    assert await tags(world) == ["b2", attached]
    world.clock.advance(days=8)
    report = await run(process(world, rules))
    assert await tags(world) == ["b2"] and not await world.holds(digest)
    assert f"belongs to {digest}, which goes" in {one.reason for one in report.decisions}
    world.clock.advance(days=8)
    assert (await run(process(world, rules))).manifests_gone == 1


async def test_where_a_manifest_cannot_be_read_no_manifest_goes(world: World) -> None:
    await builds(world, 2)
    alone = await world.push(image("alone"), Digest.of(image("alone")))
    broken = await world.push(image("broken"), Tag("broken"))
    await world.driver.put(layout.blob_data(broken), b"nonsense")
    world.clock.advance(days=30)
    report = await run(process(world, {"untagged_for": "7d"}))
    assert await world.holds(alone) and report.manifests_gone == 0
    assert [one.repository for one in report.troubles] == [NAME]
    assert str(broken) in report.troubles[0].problem


async def test_an_empty_repository_goes_off_the_lists(world: World) -> None:
    await world.store.catalog.set_complete()
    digest = await world.push(image("one"), name=OTHER)
    await builds(world, 1)
    await world.repository(OTHER).delete_manifest(digest)
    report = await run(process(world, {"empty": True, "name": "tidy"}))
    assert report.repositories_gone == 1
    assert [(one.reference, one.why) for one in report.decisions] == [
        (OTHER, "there is nothing in it (tidy)")
    ]
    assert [name async for name in world.store.catalog.names()] == [NAME]


async def test_while_pulls_are_not_known_nothing_goes_that_has_no_tag(world: World) -> None:
    alone = await world.push(image("alone"), Digest.of(image("alone")))
    world.clock.advance(days=30)
    rule = {"untagged_for": "7d"}
    report = await run(process(world, rule, pulls=Known(world.clock.now.date())))
    assert await world.holds(alone) and report.waits.startswith(f"until {world.clock.now.date()} not every")
    assert f"not removed: {report.waits}" in report.told()
    world.clock.advance(days=10)
    assert (await run(process(world, rule, pulls=Known(date(2026, 1, 31))))).manifests_gone == 1


@pytest.mark.parametrize("why", ["young", "in use", "always"])
async def test_a_signature_s_tag_that_stays_keeps_its_image(world: World, tmp_path: Path, why: str) -> None:
    (digest, *_) = await builds(world, 3)
    signature = image("signature")
    attached = Tag(f"sha256-{digest.encoded}.sig")
    await world.push(signature, attached)
    rules = {"newest_pushed": 1, "untagged_for": "7d"}
    more = {"always": ["sha256-*"]} if why == "always" else {}
    (file := tmp_path / "in-use").write_text(str(Digest.of(signature)) if why == "in use" else "nginx")
    retaining = process(world, {**rules, **more}, in_use=[{"file": str(file)}])
    await run(retaining)
    world.clock.advance(days=10)
    if why == "young":
        await world.push(signature, attached)
    await run(retaining)
    assert attached in await tags(world) and await world.holds(digest)


async def test_who_moved_a_tag_may_have_been_behind_its_time(world: World) -> None:
    first = await world.push(image("first"))
    world.clock.advance(days=60)
    effects, behind = world.store.effects, world.clock.now - timedelta(days=30)
    world.store.effects = world.store.history._effects = replace(effects, now=lambda: behind)
    await world.push(image("second"))
    world.store.effects = world.store.history._effects = effects
    world.clock.advance(hours=1)
    rule = {"untagged_for": "14d"}
    # By the store's clock a tag has named it an hour ago.
    assert (await run(process(world, rule))).manifests_gone == 0
    world.clock.advance(days=14)
    assert (await run(process(world, rule))).manifests_gone == 1
    assert not await world.holds(first)


@pytest.mark.parametrize("known_by", ["manifest", "config", "index"])
async def test_what_runs_stays_without_a_tag_however_it_is_told(
    world: World, tmp_path: Path, known_by: str
) -> None:
    child = image("child", layers=[b"a layer"])
    await world.push(child, Digest.of(child))
    index = await push_index(world, [described(child)], TAG)
    alone = await world.push(image("alone"), Digest.of(image("alone")))
    await world.push(image("next"), TAG)
    world.clock.advance(days=30)
    # All images of these tests have the same config.
    told = {"manifest": Digest.of(child), "config": Digest.of(b"{}"), "index": Digest.of(index)}[known_by]
    (file := tmp_path / "in-use").write_text(f"nginx\nregistry.example/{NAME}@{told}\n")
    await run(process(world, {"untagged_for": "7d"}, in_use=[{"file": str(file)}]))
    assert await world.holds(Digest.of(child)) and await world.holds(Digest.of(index))
    assert await world.holds(alone) == (known_by == "config")


async def test_a_tag_that_cannot_be_read_keeps_what_has_no_tag(world: World) -> None:
    alone = await world.push(image("alone"), Digest.of(image("alone")))
    await world.push(image("tagged"))
    await world.driver.put(layout.tag_link(NAME, TAG), b"")
    world.clock.advance(days=30)
    report = await run(process(world, {"untagged_for": "7d"}))
    assert await world.holds(alone) and f"the tag {TAG} names cannot be read" in report.troubles[0].problem


async def test_an_index_goes_with_what_it_lists_and_what_refers_to_it(world: World) -> None:
    child, signature = image("child"), image("signature", subject=Digest.of(image("child")))
    for content in (child, signature):
        await world.push(content, Digest.of(content))
    await push_index(world, [described(child)])
    world.clock.advance(days=30)
    assert (await run(process(world, {"untagged_for": "7d"}))).manifests_gone == 3
