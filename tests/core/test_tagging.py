"""What it takes to push and to delete, tag by tag."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from registry.core.pushes import Pushed
from registry.core.tagging import Tagging
from registry.errors import Denied
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE
from registry.model.names import Tag
from registry.model.tag_rights import EVERY_TAG, TagRight, TagRights
from registry.store import layout
from tests.core.explored import May
from tests.inmemory import NAME, TAG, World, image

A, B = Tag("a"), Tag("b")
ONE, TWO = image("one"), image("two")
NONE = May(())
CREATE = May({"create"})
OVERWRITE = May({"overwrite"})
PUSH = May({"create", "overwrite"})


@pytest.fixture
def world() -> World:
    return World()


async def push(world: World, content: bytes, rights: TagRights, *tags: Tag) -> Pushed:
    """Push a manifest whose blobs are there by several tags."""
    repository = world.registry.repository(NAME, "somebody", rights)
    return await repository.push_manifest(Digest.of(content), content, OCI_IMAGE, tags)


async def named(world: World, tag: Tag = TAG) -> Digest:
    return await world.store.links.tag(NAME, tag)


async def entries(world: World, tag: Tag) -> list[tuple[Digest | None, Digest | None]]:
    """What the history says of a tag: what it came to name, and what it had named."""
    read = [await world.store.history.read(key) for key in await world.store.history.keys(NAME, tag)]
    return [(move.digest, move.replaced) for move in read if move is not None]


# What the tag names already, what somebody may do, and what is refused.
CASES: list[tuple[str, May, TagRight | None]] = [
    ("nothing", CREATE, None),
    ("nothing", PUSH, None),
    ("nothing", OVERWRITE, "create"),
    ("nothing", NONE, "create"),
    ("another", CREATE, "overwrite"),
    ("another", OVERWRITE, None),
    ("another", PUSH, None),
    ("another", NONE, "overwrite"),
    ("the same", CREATE, None),
    ("the same", OVERWRITE, None),
    ("the same", PUSH, None),
    ("the same", NONE, None),
    ("damage", CREATE, "overwrite"),
    ("damage", OVERWRITE, None),
    ("damage", PUSH, None),
    ("damage", NONE, "overwrite"),
]


@pytest.mark.parametrize(
    ("there", "rights", "refused"), CASES, ids=[f"{there}, {sorted(may.rights)}" for there, may, _ in CASES]
)
async def test_what_it_takes(world: World, there: str, rights: May, refused: TagRight | None) -> None:
    await world.push(ONE, Digest.of(ONE))
    if there == "another":
        await world.push(TWO)
    elif there == "the same":
        await world.push(ONE)
    elif there == "damage":
        await world.driver.put(layout.tag_link(NAME, TAG), b"sha256:")
    before = await world.keys()
    if refused is not None:
        with pytest.raises(Denied, match=f"{refused} latest"):
            await push(world, ONE, rights, TAG)
        assert await world.keys() == before
        return
    assert (await push(world, ONE, rights, TAG)).tags == (TAG,)
    assert await named(world) == Digest.of(ONE)
    assert (await world.repository().manifest(TAG)).content == ONE


async def test_a_refused_push_leaves_nothing_at_all(world: World) -> None:
    await world.push(ONE)
    before = await world.keys()
    with pytest.raises(Denied, match="overwrite latest"):
        await push(world, TWO, CREATE, TAG)
    assert await world.keys() == before, "neither blob nor link, nor history, nor intent"


async def test_one_tag_that_is_taken_refuses_them_all(world: World) -> None:
    await world.push(TWO)
    before = await world.keys()
    for tags in ((A, TAG, B), (TAG, A), (A, TAG)):
        with pytest.raises(Denied, match="overwrite latest"):
            await push(world, ONE, CREATE, *tags)
        assert await world.keys() == before


async def test_each_tag_by_its_own_rights(world: World) -> None:
    await world.push(TWO)
    await world.push(TWO, A)

    class Fixed:
        """`latest` moves, all else is created once."""

        def refusal(self, right: TagRight, tag: Tag) -> Denied | None:
            return None if right == "create" or tag == TAG else Denied(f"{right} {tag}")

    pushed = await push(world, ONE, Fixed(), B, TAG)
    assert pushed.replaced == {B: None, TAG: Digest.of(TWO)}
    assert [await named(world, tag) for tag in (B, TAG)] == [pushed.digest] * 2
    with pytest.raises(Denied, match="overwrite a"):
        await push(world, ONE, Fixed(), TAG, A)


@pytest.mark.parametrize("rights", [CREATE, PUSH], ids=["create", "push"])
async def test_a_tag_that_was_deleted_is_created_again(world: World, rights: May) -> None:
    await world.push(ONE)
    await world.repository().delete_tag(TAG)
    assert (await push(world, TWO, rights, TAG)).replaced == {TAG: None}
    assert await named(world) == Digest.of(TWO)


async def test_what_may_not_be_created_is_not_restored(world: World) -> None:
    digest = await world.push(ONE)
    tagging = Tagging(world.store, world.registry.door)
    tags = await tagging.allow(NAME, digest, [TAG], OVERWRITE)
    await tagging.set(NAME, digest, tags, "somebody")
    await world.repository().delete_tag(TAG)
    await tagging.restore(NAME, digest, tags)
    assert (await world.repository().tags(n=None, last="")).entries == []
    with pytest.raises(Denied, match="create latest"):
        await tagging.set(NAME, digest, tags, "somebody")


async def test_the_history_of_a_tag_that_is_created(world: World) -> None:
    await world.blob(b"{}")
    await world.blob(b"layer")
    digest = (await push(world, ONE, CREATE, TAG)).digest
    assert await entries(world, TAG) == [(digest, None)]
    again = await push(world, ONE, CREATE, TAG)
    assert again.replaced == {TAG: digest}


async def test_what_may_be_overwritten_costs_what_it_did_without_rights() -> None:
    counts = []
    for rights in (EVERY_TAG, PUSH):
        world = World()
        await world.push(TWO)
        world.counted.calls.clear()
        await push(world, ONE, rights, TAG, A)
        counts.append(dict(world.counted.calls))
    assert counts[0] == counts[1]
    assert counts[0]["put"] == 1 + 2 + 2 * 2, (
        "the intent, the manifest, and for each tag its history and link"
    )
    assert counts[0]["get"] == 10


def but(*tags: Tag) -> TagRights:
    """Rights of one who may delete every tag but these."""
    return May({"delete"}, but=tags)


async def delete(world: World, digest: Digest, rights: TagRights) -> Collection[Tag]:
    return await world.registry.repository(NAME, "somebody", rights).delete_manifest(digest)


async def test_a_manifest_goes_if_every_tag_of_it_may(world: World) -> None:
    for tag in (A, B):
        digest = await world.push(ONE, tag)
    await world.push(TWO)
    before = await world.keys()
    with pytest.raises(Denied, match="delete b"):
        await delete(world, digest, but(B))
    assert await world.keys() == before
    assert await delete(world, digest, but(TAG)) == [A, B], "of another manifest's tags nothing is asked"
    assert await named(world) == Digest.of(TWO)


async def test_an_untagged_manifest_takes_no_right_to_tags(world: World) -> None:
    digest = await world.push(ONE, Digest.of(ONE))
    assert await delete(world, digest, NONE) == []
    assert not await world.holds(digest)


async def test_a_tag_goes_alone_if_it_may(world: World) -> None:
    await world.push(ONE)
    before = await world.keys()
    with pytest.raises(Denied, match="delete latest"):
        await world.registry.repository(NAME, "somebody", but(TAG)).delete_tag(TAG)
    assert await world.keys() == before
    await world.registry.repository(NAME, "somebody", but(A)).delete_tag(TAG)
    assert (await world.repository().tags(n=None, last="")).entries == []


async def test_a_repository_goes_if_every_tag_of_it_may(world: World) -> None:
    await world.push(ONE, A)
    await world.push(TWO, B)
    before = await world.keys()
    with pytest.raises(Denied, match="delete b"):
        await world.registry.door.remove_repository(NAME, "somebody", but(B))
    assert await world.keys() == before
    await world.registry.door.remove_repository(NAME, "somebody", but(TAG))
    assert not await world.store.catalog.is_listed(NAME)
