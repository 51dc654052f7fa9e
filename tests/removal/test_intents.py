from __future__ import annotations

from typing import Any

import pytest

from registry.errors import ManifestBlobUnknown
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.removal.intents import LIFE, RENEW
from registry.store import layout
from tests.inmemory import NAME, TAG, World, image

ONE, TWO, MANIFEST = Digest.of(b"one"), Digest.of(b"two"), Digest.of(b"manifest")
OTHER = RepositoryName("team")


@pytest.fixture
def world() -> World:
    return World()


async def test_what_writers_need_is_known_until_they_close(world: World) -> None:
    intents = world.registry.intents
    one = await intents.open(NAME, MANIFEST, [ONE], [TAG])
    two = await intents.open(NAME, MANIFEST, [TWO], [])
    assert await intents.needed(NAME) == {ONE, TWO, MANIFEST}
    assert await intents.needed(OTHER) == set()
    assert await intents.moving(NAME, TAG) == {MANIFEST}
    assert await intents.moving(NAME, Tag("other")) == set()
    await intents.close(one)
    assert await intents.needed(NAME) == {TWO, MANIFEST}
    await intents.close(two)
    await intents.close(two)
    assert await intents.needed(NAME) == set()


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"[]", b"{}", b'{"repository":"team/app","digests":["x"],"manifest":"y"}']
)
async def test_a_torn_intent_hinders_nobody(world: World, content: bytes) -> None:
    intents = world.registry.intents
    await intents.open(NAME, MANIFEST, [ONE], [TAG])
    await world.driver.put(layout.intent("torn"), content)
    assert await intents.needed(NAME) == {ONE, MANIFEST}
    assert await intents.moving(NAME, TAG) == {MANIFEST}


async def test_only_the_dead_are_swept(world: World) -> None:
    intents = world.registry.intents
    await intents.open(NAME, MANIFEST, [ONE], [])
    world.clock.advance(seconds=1)
    await intents.open(NAME, MANIFEST, [TWO], [])
    world.clock.advance(seconds=LIFE.total_seconds())
    assert await intents.sweep(world.clock.now.timestamp()) == 1
    assert await intents.needed(NAME) == {TWO, MANIFEST}
    assert await intents.sweep(world.clock.now.timestamp()) == 0


async def test_a_push_leaves_no_intent_whatever_comes_of_it(world: World) -> None:
    await world.push(image("one"))
    assert await world.keys(layout.INTENTS) == []
    with pytest.raises(ManifestBlobUnknown):
        await world.push_alone(image("two", layers=[b"missing"]))
    assert await world.keys(layout.INTENTS) == []


async def test_a_push_that_took_too_long_looks_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.push(image("one"))
    references = world.registry.pushes._references
    check, looks = references.check, 0

    async def slow(*what: Any, **how: Any) -> None:
        nonlocal looks
        looks += 1
        await check(*what, **how)
        if looks < 3:
            world.clock.advance(seconds=RENEW.total_seconds() + 1)

    monkeypatch.setattr(references, "check", slow)
    await world.push_alone(image("one"))
    assert looks == 3
    assert await world.keys(layout.INTENTS) == []
