"""`gc explain` says of everything what collection then does with it."""

from __future__ import annotations

import json

import pytest

from registry.errors import ManifestBlobUnknown
from registry.model.digests import Digest
from registry.model.media_types import OCI_ARTIFACT
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from registry.store.blocked import Block
from tests.inmemory import NAME, TAG, World, descriptor, image
from tests.upkeep.gathering import LATER, OTHER, aged, collected, explained
from tests.upkeep.retention.retaining import process, run

LAYER = Digest.of(b"layer")
GOES = "the next collection takes it"


@pytest.fixture
def world() -> World:
    return World()


async def test_content_that_was_never_here(world: World) -> None:
    told = await explained(world, LAYER)
    assert (told.size_bytes, told.holders, told.trash, told.verdict) == (None, [], [], "not here")
    assert told.told() == f"{LAYER} (no data here): not here"


async def test_what_was_purged_is_told_to_be_blocked(world: World) -> None:
    block = Block((LAYER, Digest.of(b"layer", "sha512")), "somebody", world.store.effects.now(), "a key")
    await world.store.blocked.put(block)
    for digest in block.digests:
        assert (await explained(world, digest)).verdict.startswith("purged, and blocked"), digest
    assert "moorage trash purged" in (await explained(world, LAYER)).told()


async def test_a_layer_that_manifests_need(world: World) -> None:
    one = await world.push(image("one"))
    two = await world.push(image("two"), Tag("two"))
    await world.blob(b"layer", OTHER)
    world.clock.advance(days=2)
    told = await explained(world, LAYER)
    assert (told.size_bytes, told.verdict) == (5, "stays while a repository links to it")
    needed, unneeded = told.holders
    assert (needed.repository, needed.kind, sorted(needed.needed_by), needed.verdict) == (
        *(NAME, "blob"),
        *(sorted([str(one), str(two)]), "stays: needed"),
    )
    assert (unneeded.repository, unneeded.needed_by, unneeded.verdict) == (
        *(OTHER, []),
        f"needed by no manifest: {GOES}",
    )
    assert told.told().splitlines()[1:] == [
        f"  blob of {NAME}: stays: needed",
        *(f"    needed by {digest}" for digest in needed.needed_by),
        f"  blob of {OTHER}: needed by no manifest: {GOES}",
    ]
    assert (await collected(world)).links_taken == 1


async def test_a_layer_that_a_manifest_of_very_many_needs(world: World) -> None:
    world.registry.pushes.max_references = 20_000
    await world.push(image("one"))
    many = await world.push_alone(image("many", layers=[b"layer"] * 10_001), Tag("many"))
    (holder,) = (await explained(world, LAYER)).holders
    assert str(many) in holder.needed_by


async def test_a_manifest_with_its_tags(world: World) -> None:
    digest = await world.push(image("one"))
    await world.push(image("one"), Tag("also"))
    told = await explained(world, digest)
    (holder,) = told.holders
    assert (holder.kind, holder.tags) == ("manifest", ["also", "latest"])
    assert holder.verdict.startswith("stays: a manifest goes only when")
    assert "tags also, latest: stays" in told.told()


async def test_a_manifest_that_distribution_would_refuse_and_its_blob(world: World) -> None:
    await world.blob(b"layer")
    content = json.dumps({"mediaType": OCI_ARTIFACT, "blobs": [descriptor(b"layer")]}).encode()
    pushed = await world.repository().push_manifest(TAG, content, OCI_ARTIFACT, [])
    (holder,) = (await explained(world, pushed.digest)).holders
    assert (holder.kind, holder.tags) == ("manifest", ["latest"])
    (holder,) = (await explained(world, LAYER)).holders
    assert (holder.needed_by, holder.verdict) == ([str(pushed.digest)], "stays: needed")


async def test_a_blob_in_its_grace_period(world: World) -> None:
    await world.blob(b"layer")
    world.clock.advance(hours=23)
    (holder,) = (await explained(world, LAYER)).holders
    assert holder.verdict.startswith(
        "needed by no manifest: it goes when it is older than the grace period, in "
    )
    assert (await collected(world)).links_taken == 0
    world.clock.advance(hours=1, seconds=1)
    (holder,) = (await explained(world, LAYER)).holders
    assert holder.verdict == f"needed by no manifest: {GOES}"
    assert (await collected(world)).links_taken == 1


async def test_data_that_nobody_links_to(world: World) -> None:
    await world.blob(b"layer")
    await world.repository().delete_blob(LAYER)
    told = await explained(world, LAYER)
    assert told.verdict.startswith("no repository links to it: it goes when")
    world.clock.advance(seconds=LATER.total_seconds())
    told = await explained(world, LAYER)
    assert told.holders == []
    assert told.verdict.startswith(f"no repository links to it: {GOES}; deleted by tester at ")
    assert (await collected(world)).blobs_taken == 1


async def test_what_a_push_under_way_needs(world: World) -> None:
    await world.blob(b"layer")
    world.clock.advance(days=2)
    intent = await world.registry.intents.open(NAME, Digest.of(b"m"), [LAYER], [])
    told = await explained(world, LAYER)
    assert told.pushes_under_way
    assert told.verdict == "stays: a push that is under way needs it"
    assert [holder.verdict for holder in told.holders] == ["stays: a push that is under way needs it"]
    assert (await collected(world)).links_taken == 0
    # That of another repository keeps the data, and no link here.
    await world.registry.intents.close(intent)
    await world.registry.intents.open(OTHER, Digest.of(b"m"), [LAYER], [])
    told = await explained(world, LAYER)
    assert [holder.verdict for holder in told.holders] == [f"needed by no manifest: {GOES}"]
    report = await collected(world)
    assert (report.links_taken, report.blobs_taken) == (1, 0)


async def test_what_was_collected(world: World) -> None:
    await world.blob(b"layer")
    world.clock.advance(days=2)
    report = await collected(world)
    told = await explained(world, LAYER)
    assert (told.size_bytes, told.holders) == (None, [])
    link, copy = told.trash
    assert (link.kind, link.repository, copy.kind, copy.repository) == ("blob", NAME, "data", None)
    assert told.verdict == (
        f"taken by collection, needed by no manifest, at {link.at} from {NAME} (run {link.run}); it comes"
        " back from the trash when something there needs it"
    )
    assert copy.run.startswith("c-") and copy.by == "collection"
    assert copy.at == report.began.isoformat()
    assert f"in the trash since {copy.at}, by collection" in told.told()


async def test_what_is_linked_and_missing(world: World) -> None:
    await world.push(image("one"))
    await world.remove_all([layout.blob_data(LAYER)])
    assert (await explained(world, LAYER)).verdict == "missing, though it is linked; push it again"


async def test_what_a_user_deleted_stays_deleted_also_when_its_data_is_collected(world: World) -> None:
    await world.blob(b"layer")
    await world.repository().delete_blob(LAYER)
    at = world.clock.now.isoformat()
    assert (await aged(world)).blobs_taken == 1
    told = await explained(world, LAYER)
    link, data = told.trash
    assert link.run.startswith("u-") and data.run.startswith("c-")
    assert (link.repository, link.kind, link.at, link.by) == (NAME, "blob", at, "tester")
    assert told.verdict == (
        f"deleted by tester at {at} from {NAME} (run {link.run}); stays deleted until uploaded or restored"
        f" (`moorage trash restore {link.run}`)"
    )
    assert f"blob of {NAME} in the trash since {at}, by tester: {link.run}" in told.told()
    # As it says: what needs it is refused, until it is uploaded.
    with pytest.raises(ManifestBlobUnknown):
        await world.push_alone(image("one"))
    await world.blob(b"layer")
    told = await explained(world, LAYER)
    assert told.verdict == "stays while a repository links to it"


@pytest.mark.parametrize("how", ["manifest", "repository"])
async def test_a_manifest_that_a_user_deleted(world: World, how: str) -> None:
    digest = await world.push(image("one"))
    await world.push(image("one"), name=OTHER)
    for name in (NAME, OTHER):
        world.clock.advance(seconds=1)
        if how == "manifest":
            await world.repository(name).delete_manifest(digest)
        else:
            await world.registry.door.remove_repository(name, "tester")
    at = world.clock.now.isoformat()
    verdict = (await explained(world, digest)).verdict
    assert verdict.startswith("no repository links to it: it goes when it is older")
    await aged(world)
    told = await explained(world, digest)
    assert [(one.repository, one.kind) for one in told.trash if one.kind != "data"] == [
        *((NAME, "manifest"), (OTHER, "manifest"))
    ]
    run = told.trash[1].run
    assert told.verdict == (
        f"deleted by tester at {at} from {OTHER} (run {run}); stays deleted until pushed or restored"
        f" (`moorage trash restore {run}`); gone from other repositories, too: 1"
    )
    await world.push(image("one"))
    assert (await explained(world, digest)).verdict == "stays while a repository links to it"


async def test_a_manifest_that_distribution_would_refuse_stays_and_goes_like_any(world: World) -> None:
    content = json.dumps({"mediaType": OCI_ARTIFACT, "blobs": []}).encode()
    digest = (await world.repository().push_manifest(TAG, content, OCI_ARTIFACT, [])).digest
    told = await explained(world, digest)
    # With the type that it has in front.
    lies = await world.driver.get(layout.whole_manifest(NAME, digest), limit=1000)
    assert (told.size_bytes, told.verdict) == (len(lies), "stays while a repository links to it")
    await world.repository().delete_manifest(digest)
    assert (await explained(world, digest)).verdict.startswith("deleted by tester at ")


async def test_what_retention_took_is_told_with_the_rule(world: World) -> None:
    digest = await world.push(image("alone"), Digest.of(image("alone")))
    world.clock.advance(days=30)
    await run(process(world, {"untagged_for": "7d", "name": "cleaning"}))
    world.clock.advance(days=2)
    await collected(world)
    told = await explained(world, digest)
    (link, _) = told.trash
    assert link.why == "rule cleaning (no tag has led to it for 7d)"
    assert told.verdict.startswith(
        f"taken by retention, {link.why}, at {link.at} from {NAME} (run {link.run}); it comes back"
    )


async def test_what_a_repository_has_lost_is_no_verdict_on_what_another_has(world: World) -> None:
    await world.blob(b"layer")
    await world.blob(b"layer", OTHER)
    await world.repository().delete_blob(LAYER)
    told = await explained(world, LAYER)
    assert told.verdict == "stays while a repository links to it"
    assert [one.repository for one in told.trash] == [NAME]


@pytest.mark.parametrize("what", ["layer", "manifest"])
async def test_what_was_damaged_and_set_aside(world: World, what: str) -> None:
    manifest = await world.push(image("one"))
    digest = LAYER if what == "layer" else manifest
    await world.driver.put(layout.blob_data(digest), b"other")
    assert await world.store.content.quarantine(digest)
    told = await explained(world, digest)
    assert told.verdict == (
        "missing, though it is linked: it was damaged, and set aside (quarantine); push it again"
    )
    (key,) = told.quarantined
    assert f"in quarantine, for you to look at: {key}" in told.told()
    assert await world.driver.get(key, limit=100) == b"other"
    await world.push(image("one"))
    assert (await explained(world, digest)).verdict == "stays while a repository links to it"


async def test_a_trash_of_many_links_is_listed_and_not_read(world: World) -> None:
    for number in range(50):
        digest = await world.blob(str(number).encode())
        await world.repository().delete_blob(digest)
    world.counted.calls.clear()
    await explained(world, digest)
    assert world.counted.calls["get"] <= 5


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_sha512_blob_as_distribution_writes_it(world: World, algorithm: str) -> None:
    """By either of its digests."""
    asked = Digest.of(b"layer", algorithm)
    await world.driver.put(layout.blob_data(LAYER), b"layer")
    await world.store.links.put_alias(NAME, Digest.of(b"layer", "sha512"), LAYER)
    world.clock.advance(days=2)
    told = await explained(world, asked)
    assert (told.size_bytes, told.verdict) == (5, "stays while a repository links to it")
    assert [holder.verdict for holder in told.holders] == [f"needed by no manifest: {GOES}"]
    content = image("by sha512").replace(str(LAYER).encode(), str(Digest.of(b"layer", "sha512")).encode())
    await world.blob(b"{}")
    await world.push_alone(content)
    told = await explained(world, asked)
    assert [(holder.needed_by, holder.verdict) for holder in told.holders] == [
        ([str(Digest.of(content))], "stays: needed")
    ]
    await collected(world)
    assert layout.blob_data(LAYER) in await world.keys()


async def test_many_manifests_are_told_in_a_number(world: World) -> None:
    await world.blob(b"{}")
    await world.blob(b"layer")
    for number in range(25):
        await world.push_alone(image(str(number)), Tag(f"t{number}"))
    told = await explained(world, LAYER)
    assert len(told.holders[0].needed_by) == 25
    assert told.told().splitlines()[-1] == "    and by 5 more"


async def test_nothing_is_written(world: World) -> None:
    await world.push(image("one"), name=RepositoryName("a"))
    world.counted.calls.clear()
    await explained(world, LAYER)
    assert not {"put", "write", "copy", "compose", "delete"} & set(world.counted.calls)
