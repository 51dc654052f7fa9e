from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import BlobUnknown, ManifestUnknown, StorageDamaged
from registry.model.digests import Digest
from registry.model.names import Tag
from registry.store import layout
from registry.store.links import Links
from storage.errors import AlreadyExists, NotFound
from storage.local import LocalDriver
from tests.inmemory import NAME, TAG, World

DIGEST = Digest.of(b"content")
BROKEN = [
    b"",
    b"x",
    b"sha256:",
    str(DIGEST).encode() + b"\n",
    b"\xff" * 71,
    b"md5:abc",
    b"x" * 5000,
    str(DIGEST).encode()[:-1],
]


@pytest.fixture
def world() -> World:
    return World()


async def test_a_link_holds_a_digest_without_a_newline(world: World) -> None:
    await world.store.links.put_layer(NAME, DIGEST)
    await world.store.links.put_revision(NAME, DIGEST)
    await world.store.links.put_tag(NAME, TAG, DIGEST)
    for key in (
        layout.layer_link(NAME, DIGEST),
        layout.revision_link(NAME, DIGEST),
        layout.tag_link(NAME, TAG),
    ):
        assert await world.driver.get(key, limit=1000) == str(DIGEST).encode()


async def test_a_link_is_followed_by_what_it_contains(world: World) -> None:
    alias = Digest.of(b"content", "sha512")
    await world.store.links.put_alias(NAME, alias, DIGEST)
    assert await world.store.links.layer(NAME, alias) == DIGEST


async def test_what_is_not_there_has_its_own_error(world: World) -> None:
    with pytest.raises(BlobUnknown):
        await world.store.links.layer(NAME, DIGEST)
    with pytest.raises(NotFound):
        await world.store.links.revision(NAME, DIGEST)
    with pytest.raises(ManifestUnknown):
        await world.store.links.tag(NAME, TAG)


@pytest.mark.parametrize("content", BROKEN)
async def test_a_broken_link_is_damage_that_names_it(world: World, content: bytes) -> None:
    await world.driver.put(layout.tag_link(NAME, TAG), content)
    with pytest.raises(StorageDamaged) as caught:
        await world.store.links.tag(NAME, TAG)
    assert caught.value.detail == {"link": layout.tag_link(NAME, TAG)}


async def test_if_absent_leaves_the_tag_that_is_there(world: World) -> None:
    await world.store.links.put_tag(NAME, TAG, DIGEST)
    with pytest.raises(AlreadyExists):
        await world.store.links.put_tag(NAME, TAG, Digest.of(b"other"), if_absent=True)
    assert await world.store.links.tag(NAME, TAG) == DIGEST


async def test_tags_come_in_byte_order_without_strays(world: World) -> None:
    wanted = [Tag(text) for text in ("0", "A", "Z", "_", "a", "a-b", "a.b", "b")]
    for tag in reversed(wanted):
        await world.store.links.put_tag(NAME, tag, DIGEST)
    for stray in ("-x", "x" * 129, "..x"):
        await world.driver.put(f"{layout.tags(NAME)}/{stray}", b"")
    assert await world.store.links.tags(NAME) == wanted
    for limit in range(10):
        assert await world.store.links.tags(NAME, limit=limit) == wanted[:limit]
    assert await world.store.links.tags(NAME, after="Z") == wanted[3:]
    assert await world.store.links.tags(NAME, after="a", limit=2) == wanted[5:7]


async def test_stray_objects_are_no_links(world: World) -> None:
    await world.store.links.put_revision(NAME, DIGEST)
    await world.store.links.put_layer(NAME, DIGEST)
    await world.store.put_placeholder(NAME)
    for prefix in (layout.revisions(NAME), layout.layers(NAME)):
        await world.driver.put(f"{prefix}/sha256/{DIGEST.encoded}/other", b"")
        await world.driver.put(f"{prefix}/sha256/nonsense/link", b"")
        await world.driver.put(f"{prefix}/md5/abc/link", b"")
        await world.driver.put(f"{prefix}/link", b"")
    assert [digest async for digest in world.store.links.revisions(NAME)] == [DIGEST]
    assert [digest async for digest in world.store.links.layers(NAME)] == [DIGEST]


@pytest.mark.parametrize("left", ["current", "current/.tmp-00000000", "index/sha256"])
async def test_what_a_killed_push_leaves_on_a_disk_is_no_tag(tmp_path: Path, left: str) -> None:
    driver = LocalDriver(tmp_path)
    await driver.start()
    place = tmp_path / layout.tags(NAME) / "begun" / left
    place.parent.mkdir(parents=True)
    if ".tmp" in left:
        place.write_bytes(b"sha256:")
    else:
        place.mkdir()
    assert await Links(driver).tags(NAME) == []
    await Links(driver).put_tag(NAME, Tag("begun"), DIGEST)
    assert await Links(driver).tags(NAME) == ["begun"]
    await driver.aclose()
