"""Many manifests and tags of one repository at a time: as if each was pushed, for fewer calls."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from registry.core.batches import Given
from registry.errors import Denied, ManifestBlobUnknown, QuotaExceeded
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE
from registry.model.names import RepositoryName, Tag
from registry.removal.intents import Intents
from registry.store import layout
from registry.store.manifests import StoredManifest
from registry.work.effects import in_turn
from tests.inmemory import NAME, World, image

LAYERS = [b"one", b"two", b"three"]


def given(content: bytes, *, sparse: bool = False) -> Given:
    return Given(StoredManifest(Digest.of(content), OCI_IMAGE, content), sparse)


async def filled(world: World, number: int) -> list[bytes]:
    """So many images, of which all blobs are there."""
    for blob in (b"{}", *LAYERS):
        await world.blob(blob)
    return [image(str(one), layers=LAYERS) for one in range(number)]


async def cost(number: int) -> int:
    """The calls of the store that it takes to push and tag so many images."""
    world = World()
    images = await filled(world, number)
    before = world.counted.calls.total()
    await world.repository().push_manifests([given(one) for one in images], in_turn)
    tags = {Tag(f"t{place}"): Digest.of(one) for place, one in enumerate(images)}
    await world.repository().tag_manifests(tags, in_turn)
    return world.counted.calls.total() - before


async def test_each_can_be_pulled_by_its_tag() -> None:
    world = World()
    images = await filled(world, 3)
    await world.repository().push_manifests([given(one) for one in images], in_turn)
    tags = {Tag(f"t{place}"): Digest.of(one) for place, one in enumerate(images)}
    done = await world.repository().tag_manifests(tags, in_turn)
    assert all(one.stands and one.replaced is None for one in done.values())
    for place, content in enumerate(images):
        assert (await world.repository().manifest(Tag(f"t{place}"))).content == content
    assert await world.store.catalog.is_listed(NAME)
    assert await world.keys(layout.INTENTS) == []
    assert await world.store.history.who(NAME, Tag("t0"), Digest.of(images[0])) == "tester"


async def test_a_manifest_more_costs_twelve_calls() -> None:
    assert (await cost(40) - await cost(20)) / 20 <= 12


async def test_one_whose_blobs_are_missing_is_refused_unless_it_is_sparse() -> None:
    world = World()
    [whole] = await filled(world, 1)
    lacking = image("lacking", layers=[b"nowhere"])
    with pytest.raises(ManifestBlobUnknown):
        await world.repository().push_manifests([given(whole), given(lacking)], in_turn)
    assert not await world.holds(Digest.of(lacking))
    await world.repository().push_manifests([given(whole), given(lacking, sparse=True)], in_turn)
    assert await world.holds(Digest.of(lacking)) and await world.holds(Digest.of(whole))


async def test_a_tag_of_what_is_not_there_is_left_alone() -> None:
    world = World()
    [one, other] = await filled(world, 2)
    await world.repository().push_manifests([given(one)], in_turn)
    tags = {Tag("one"): Digest.of(one), Tag("other"): Digest.of(other)}
    assert set(await world.repository().tag_manifests(tags, in_turn)) == {"one"}
    assert await world.store.links.tags(NAME) == ["one"]


async def test_what_refers_to_another_is_listed() -> None:
    world = World()
    [subject] = await filled(world, 1)
    signature = image("signature", layers=LAYERS, subject=Digest.of(subject))
    await world.repository().push_manifests([given(subject), given(signature)], in_turn)
    page = await world.repository().referrers(Digest.of(subject), artifact_types=[], after="")
    assert [json.loads(one)["digest"] for one in page.entries] == [str(Digest.of(signature))]


async def test_what_is_blocked_is_refused() -> None:
    world = World()
    [one] = await filled(world, 1)
    await world.repository().push_manifests([given(one)], in_turn)
    world.store.blocked.digests = frozenset({Digest.of(one)})
    with pytest.raises(Denied):
        await world.repository().push_manifests([given(one)], in_turn)
    with pytest.raises(Denied):
        await world.repository().tag_manifests({Tag("t"): Digest.of(one)}, in_turn)


async def test_a_quota_holds() -> None:
    world = World(quotas={RepositoryName("team"): 10})
    images = [image(str(one), layers=LAYERS) for one in range(2)]
    world.registry.quotas.limits = {}
    for blob in (b"{}", *LAYERS):
        await world.blob(blob)
    world.registry.quotas.limits = {RepositoryName("team"): 10}
    with pytest.raises(QuotaExceeded):
        await world.repository().push_manifests([given(one) for one in images], in_turn)
    assert not await world.holds(Digest.of(images[0]))


async def test_an_intent_names_all_of_them_with_their_tags() -> None:
    world = World()
    [one, other] = (Digest.of(image(note)) for note in ("one", "other"))
    needed = Digest.of(b"needed")
    intents = Intents(world.driver, world.store.effects)
    uuid = await intents.open_all(NAME, {one: [Tag("a")], other: [Tag("b"), Tag("c")]}, [needed])
    assert await intents.needed(NAME) == await intents.needed_anywhere() == {one, other, needed}
    assert await intents.referred_to(NAME) == {needed}
    assert [await intents.moving(NAME, Tag(tag)) for tag in "abc"] == [{one}, {other}, {other}]
    await intents.close(uuid)
    assert await intents.needed(NAME) == set()


@pytest.mark.parametrize("step", ["push_manifests", "tag_manifests"])
async def test_who_took_too_long_begins_again(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    [one] = await filled(world, 1)
    if step == "tag_manifests":
        await world.repository().push_manifests([given(one)], in_turn)
    opened: list[dict[str, Any]] = []
    open_all = Intents.open_all

    async def slow(self: Intents, *what: Any) -> str:
        uuid = await open_all(self, *what)
        opened.append(json.loads(await world.driver.get(layout.intent(uuid), limit=10_000)))
        if len(opened) == 1:
            world.clock.advance(seconds=timedelta(hours=2).total_seconds())
        return uuid

    monkeypatch.setattr(Intents, "open_all", slow)
    what: Any = [given(one)] if step == "push_manifests" else {Tag("t"): Digest.of(one)}
    await getattr(world.repository(), step)(what, in_turn)
    assert len(opened) == 2 and opened[0] == opened[1]
    assert await world.keys(layout.INTENTS) == []


async def test_what_a_remover_takes_that_did_not_see_it_is_written_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    [one] = await filled(world, 1)
    digest, taken = Digest.of(one), list[str]()
    put_link = world.store.manifests.put_link

    async def raced(name: RepositoryName, *what: Any) -> None:
        await put_link(name, *what)
        if not taken:
            taken.extend((layout.revision_link(name, digest), layout.blob_data(digest)))
            await world.remove_all(taken)

    monkeypatch.setattr(world.store.manifests, "put_link", raced)
    await world.repository().push_manifests([given(one)], in_turn)
    assert taken and (await world.repository().manifest(digest)).content == one
