from __future__ import annotations

import pytest

from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from registry.store.store import Store
from registry.upkeep.check import Looked, Problem, check_repository
from tests.inmemory import NAME, TAG, World, image

LAYER = Digest.of(b"layer")
HERE = RepositoryName("hub/app")
IMAGE = Digest.of(image("one"))


@pytest.fixture
async def world() -> World:
    made = World()
    await made.push(image("one"))
    return made


async def problems(world: World, *, hash_blobs: bool = False) -> list[Problem]:
    return [
        one async for one in check_repository(world.registry, NAME, hash_blobs=hash_blobs, looked=Looked())
    ]


def named(found: list[Problem], content: object) -> Problem:
    """The only problem with some content."""
    (problem,) = [one for one in found if one.content == str(content)]
    return problem


async def test_a_sound_repository_has_none_and_nothing_is_changed(world: World) -> None:
    before = await world.keys()
    assert await problems(world, hash_blobs=True) == []
    assert await world.keys() == before


async def test_a_tag_that_names_nothing(world: World) -> None:
    await world.store.links.put_tag(NAME, Tag("dangling"), Digest.of(b"nothing"))
    await world.driver.put(layout.tag_link(NAME, Tag("broken")), b"nonsense")
    found = await problems(world)
    assert named(found, "tag dangling").damaged
    assert named(found, "tag broken").damaged
    assert len(found) == 2


async def test_what_a_server_remembers_does_not_answer_for_what_lies_there(world: World) -> None:
    remembering = Store(world.driver, world.store.effects, manifest_cache_bytes=1 << 20)
    world.store = remembering
    registry = world.process()
    await world.push(image("two"))
    await remembering.manifests.read(NAME, Digest.of(image("two")))
    await world.driver.put(layout.blob_data(Digest.of(image("two"))), image("one"))
    assert (await remembering.manifests.read(NAME, Digest.of(image("two")))).content == image("two")
    found = [one async for one in check_repository(registry, NAME, hash_blobs=True, looked=Looked())]
    assert str(Digest.of(image("two"))) in {one.content for one in found if one.damaged}


@pytest.mark.parametrize("content", [None, b"", image("two")])
async def test_a_manifest_without_its_bytes(world: World, content: bytes | None) -> None:
    if content is None:
        await world.driver.delete([layout.blob_data(IMAGE)])
    else:
        await world.driver.put(layout.blob_data(IMAGE), content)
    assert named(await problems(world), IMAGE).damaged


async def test_a_manifest_that_is_read_differently_is_reported_and_served(world: World) -> None:
    content = b'{"schemaVersion":2,"config":{},"config":{}}'
    odd = Digest.of(content)
    await world.driver.put(layout.blob_data(odd), content)
    await world.driver.put(layout.revision_link(NAME, odd), str(odd).encode())
    (problem,) = await problems(world)
    assert (problem.repository, problem.content, problem.damaged) == (NAME, str(odd), False)
    assert "nothing here is ever collected" in problem.problem
    assert (await world.repository().manifest(odd)).content == content


async def test_a_manifest_of_more_references_than_pushes_may_have_by_default(world: World) -> None:
    world.registry.pushes.max_references = 20_000
    await world.push_alone(image("many", layers=[b"layer"] * 10_001), Tag("many"))
    assert await problems(world) == []


async def test_a_blob_that_a_manifest_needs(world: World) -> None:
    await world.driver.delete([layout.layer_link(NAME, LAYER)])
    problem = named(await problems(world), LAYER)
    assert problem.damaged
    assert str(IMAGE) in problem.problem


@pytest.mark.parametrize("content", [b"", b"laye", b"layer "])
async def test_a_blob_of_another_size_than_its_manifest_says(world: World, content: bytes) -> None:
    await world.driver.put(layout.blob_data(LAYER), content)
    problem = named(await problems(world), LAYER)
    assert problem.damaged
    assert f"has {len(content)} bytes and not 5" in problem.problem
    assert str(IMAGE) in problem.problem


async def test_without_hashing_nothing_of_a_blob_is_read(world: World) -> None:
    world.counted.calls.clear()
    assert await problems(world) == []
    assert not world.counted.calls["open"]
    assert world.counted.calls["stat"] <= 2 * 2 + 1  # of each blob for its manifest and its link; of the tag


async def test_a_link_without_bytes(world: World) -> None:
    extra = await world.blob(b"extra")
    await world.driver.delete([layout.blob_data(extra)])
    assert named(await problems(world), extra).damaged


async def test_a_broken_link(world: World) -> None:
    extra = await world.blob(b"extra")
    await world.driver.put(layout.layer_link(NAME, extra), str(extra).encode() + b"\n")
    assert named(await problems(world), extra).damaged


async def test_wrong_bytes_of_a_blob_are_found_by_hashing_each_once(world: World) -> None:
    await world.driver.put(layout.blob_data(LAYER), b"LAYER")
    assert await problems(world) == []
    looked = Looked()
    other = RepositoryName("team/other")
    await world.registry.repository(other, "tester").mount(LAYER, NAME, lambda _: True)
    found = [
        one
        for name in (NAME, other)
        async for one in check_repository(world.registry, name, hash_blobs=True, looked=looked)
    ]
    assert [(one.repository, one.content, one.damaged) for one in found] == [(NAME, str(LAYER), True)]
    assert looked.hashed[LAYER] == 5
    assert (looked.tags, looked.manifests, looked.blobs) == (1, 1, 3)


async def test_what_lies_in_the_trash_is_looked_for_and_nothing_is_changed(world: World) -> None:
    await world.driver.copy(f"{layout.trash_data(LAYER)}/c-1", layout.blob_data(LAYER))
    await world.driver.delete([layout.blob_data(LAYER)])
    before = await world.keys()
    world.registry.read_only = True
    await problems(world)
    assert await world.keys() == before


async def test_an_alias_is_sound(world: World) -> None:
    alias = Digest.of(b"layer", "sha512")
    await world.store.links.put_alias(NAME, alias, LAYER)
    assert await problems(world, hash_blobs=True) == []
    assert (await world.repository().manifest(TAG)).digest == IMAGE


class TestWhatComesFromElsewhere:
    """A manifest of which blobs come when they are asked for."""

    async def kept(self, world: World, *, blobs: int) -> Digest:
        content = image("elsewhere", layers=[b"one", b"two"])
        for blob in (b"{}", b"one", b"two")[:blobs]:
            await world.blob(blob, HERE)
        await world.store.origins.note_elsewhere(HERE, Digest.of(content))
        pushed = await world.repository(HERE).keep_manifest(TAG, content, OCI_IMAGE)
        return pushed.digest

    async def looked(self, world: World) -> tuple[list[Problem], int]:
        looked = Looked()
        checking = check_repository(world.registry, HERE, hash_blobs=True, looked=looked)
        return [one async for one in checking], looked.not_fetched

    async def test_what_was_not_fetched_yet_is_no_damage(self, world: World) -> None:
        await self.kept(world, blobs=1)
        assert await self.looked(world) == ([], 2)

    async def test_what_was_lost_is(self, world: World) -> None:
        await self.kept(world, blobs=3)
        assert await self.looked(world) == ([], 0)
        await world.driver.delete([layout.blob_data(Digest.of(b"one"))])
        problems, not_fetched = await self.looked(world)
        assert not_fetched == 0
        assert {one.content for one in problems if one.damaged} == {str(Digest.of(b"one"))}

    async def test_what_somebody_has_pushed_too_has_to_be_whole(self, world: World) -> None:
        digest = await self.kept(world, blobs=3)
        await world.store.origins.note_here(HERE, digest)
        await world.driver.delete([layout.layer_link(HERE, Digest.of(b"one"))])
        problems, not_fetched = await self.looked(world)
        assert (named(problems, Digest.of(b"one")).damaged, not_fetched) == (True, 0)
