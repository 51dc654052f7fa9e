"""What is taken away while others push: it stays, or comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from registry.errors import ManifestUnknown
from registry.model.digests import Digest
from registry.model.names import Tag
from registry.removal.claims import state_of
from registry.removal.intents import Intents
from registry.removal.releasing import Releasing
from tests.inmemory import NAME, TAG, World, image
from tests.upkeep.gathering import another, push_index
from tests.upkeep.retention.retaining import Meanwhile, Watched, builds, described, written


@pytest.mark.parametrize("same", [True, False])
async def test_what_is_pushed_after_the_look_stays(world: World, *, same: bool) -> None:
    """The very same image, pushed once more, too: its push was told that the tag stands."""
    digests = await builds(world)
    history = state_of(await world.store.history.keys(NAME, Tag("b0")))
    await world.push(image(f"{NAME} {0 if same else 1}"), Tag("b0"))
    releasing = Releasing(world.store, world.registry.intents, "retention")
    assert not await releasing.release_tag(NAME, Tag("b0"), digests[0], history)
    assert await world.store.links.tag(NAME, Tag("b0")) == digests[0 if same else 1]


async def test_an_acknowledged_image_can_be_pulled_while_a_policy_looks_at_it_again(world: World) -> None:
    """In the moment in which the link is away a pull finds the manifest in the trash."""
    child = image("child")
    digest = await world.push(child, Digest.of(child))
    seen: list[str] = []

    async def look() -> None:
        standing = await world.holds(digest)
        try:
            stored = await world.repository().manifest(digest)
            assert stored.content == child
            seen.append("standing" if standing else "away")
        except ManifestUnknown:
            seen.append("gone")

    releasing = Releasing(another(world, Watched(world, look)), world.registry.intents, "retention")
    assert await releasing.release_manifests(NAME, await written(world, digest)) == {digest}
    assert {"standing", "away"} <= set(seen) and "gone" not in seen
    with pytest.raises(ManifestUnknown):
        await world.repository().manifest(digest)


@pytest.mark.parametrize("by", ["tag", "index", "intent"])
async def test_what_comes_to_be_needed_meanwhile_comes_back(world: World, by: str) -> None:
    child = image("child")
    digest = await world.push(child, Digest.of(child))
    acts: dict[str, Callable[[], Awaitable[object]]] = {
        "tag": lambda: world.push(child, TAG),
        "index": lambda: push_index(world, [described(child)], TAG),
        "intent": lambda: world.registry.intents.open(NAME, digest, [], []),
    }
    for number in range(1, 60):
        done: list[object] = []
        store = another(world, Watched(world, Meanwhile(number, acts[by], done).look))
        await Releasing(store, Intents(store.driver, store.effects), "retention").release_manifests(
            NAME, await written(world, digest)
        )
        if not done:
            assert number > 10
            break
        if by != "intent":
            assert (await world.repository().manifest(digest)).content == child
            named = await world.store.links.tag(NAME, TAG)
            await world.repository().delete_tag(TAG)
            if by == "index":
                await world.repository().delete_manifest(named)
        else:
            await world.registry.intents.close(str(done[0]))
        await world.push(child, Digest.of(child))


async def test_a_manifest_that_was_given_to_it_once_more_stays(world: World) -> None:
    alone = image("alone")
    digest = await world.push(alone, Digest.of(alone))
    before = await written(world, digest)
    world.clock.advance(days=1)
    await world.push(alone, Digest.of(alone))
    releasing = Releasing(world.store, world.registry.intents, "retention")
    assert await releasing.release_manifests(NAME, before) == set()
    assert await world.holds(digest)
