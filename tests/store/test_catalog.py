from __future__ import annotations

import pytest

from registry.model.names import RepositoryName
from registry.store import layout
from tests.inmemory import NAME, World, image

NAMES = [
    RepositoryName(text) for text in ("0", "a", "a-b", "a.b", "a/b", "a/b/c", "a0", "a1/z", "a_b", "ab", "b")
]


@pytest.fixture
def world() -> World:
    return World()


async def test_names_come_in_byte_order_behind_the_last(world: World) -> None:
    for name in reversed(NAMES):
        await world.store.catalog.add(name, indexed=True)
    await world.driver.put(f"{layout.CATALOG}/KLM", b"")
    assert [name async for name in world.store.catalog.names()] == NAMES == sorted(NAMES)
    for last in (*NAMES, "", "a/", "a/b/", "zz", "A", "0", "a0\n", "/"):
        found = [name async for name in world.store.catalog.names(after=last)]
        assert found == [name for name in NAMES if name > last], last


async def test_an_entry_says_whether_it_is_indexed(world: World) -> None:
    assert not await world.store.catalog.is_listed(NAME)
    assert not await world.store.catalog.is_indexed(NAME)
    await world.store.catalog.add(NAME, indexed=False)
    assert await world.store.catalog.is_listed(NAME)
    assert not await world.store.catalog.is_indexed(NAME)
    await world.store.catalog.add(NAME, indexed=True)
    assert await world.store.catalog.is_indexed(NAME)
    await world.store.catalog.remove(NAME)
    assert not await world.store.catalog.is_listed(NAME)


@pytest.mark.parametrize("content", [b"", b"\0", b"[]", b"{}", b'{"indexed":"yes"}', b"\xff"])
async def test_a_damaged_entry_lists_its_repository_and_is_not_indexed(world: World, content: bytes) -> None:
    await world.driver.put(layout.catalog_entry(NAME), content)
    assert await world.store.catalog.is_listed(NAME)
    assert not await world.store.catalog.is_indexed(NAME)
    assert [name async for name in world.store.catalog.names()] == [NAME]


async def test_the_tree_shows_what_lies_in_it_listed_or_not(world: World) -> None:
    wanted = ["a", "a/b", "team/app/x", "z"]
    for text in wanted:
        await world.push(image("x"), name=RepositoryName(text))
    whole = RepositoryName("z/whole")
    await world.driver.put(f"{layout.whole_manifests(whole)}/sha256/abc", b"")
    await world.driver.put(f"{layout.REPOSITORIES}/Not-A-Name/_manifests/tags/x/current/link", b"")
    await world.driver.put(f"{layout.REPOSITORIES}/stray", b"")
    await world.driver.put(f"{layout.REPOSITORIES}/only/blobs/_layers/sha256/abc/link", b"")
    await world.remove_all(await world.keys(layout.CATALOG))
    assert sorted([name async for name in world.store.catalog.tree()]) == [*wanted, whole]


async def test_it_is_complete_when_that_was_noted(world: World) -> None:
    assert not await world.store.catalog.is_complete()
    await world.store.catalog.set_complete()
    assert await world.store.catalog.is_complete()
