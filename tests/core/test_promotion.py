from __future__ import annotations

import json

import pytest

from registry.core.promotion import Copied
from registry.errors import BlobUnknown, Denied, ManifestUnknown, StorageDamaged
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from tests.core.explored import May
from tests.core.test_restoring import push_index, take
from tests.inmemory import NAME, TAG, World, image

PROD = RepositoryName("team/prod")
LAYER = Digest.of(b"layer")


@pytest.fixture
def world() -> World:
    return World()


async def copy(
    world: World,
    reference: Tag | Digest = TAG,
    tag: Tag = TAG,
    *,
    to: RepositoryName = PROD,
    put_back: bool = False,
    referrers: bool = True,
) -> Copied:
    return await world.repository(to).copy(
        tag, world.repository(), reference, put_back=put_back, referrers=referrers
    )


async def referring(world: World, digest: Digest, name: RepositoryName = PROD) -> list[str]:
    page = await world.repository(name).referrers(digest, artifact_types=(), after="")
    return [json.loads(entry)["digest"] for entry in page.entries]


async def test_the_same_digest_elsewhere_and_no_byte_is_moved(world: World) -> None:
    digest = await world.push(image("one"))
    written = world.counted.calls["write"] + world.counted.calls["compose"] + world.counted.calls["copy"]
    copied = await copy(world)
    assert (
        world.counted.calls["write"] + world.counted.calls["compose"] + world.counted.calls["copy"] == written
    )
    assert (copied.digest, copied.manifests, copied.blobs, copied.left) == (digest, 1, 2, [])
    stored = await world.repository(PROD).manifest(TAG)
    assert (stored.digest, stored.content) == (digest, image("one"))
    assert (await world.repository(PROD).blob(LAYER, may_push=False)).size_bytes == 5
    assert not await world.keys(layout.INTENTS)


async def test_by_digest_and_within_a_repository(world: World) -> None:
    digest = await world.push(image("one"))
    await copy(world, digest, Tag("stable"), to=NAME)
    assert (await world.repository().manifest(Tag("stable"))).digest == digest


async def test_an_index_with_all_below_it_and_what_it_lacks_is_told(world: World) -> None:
    one, never = image("one", layers=[b"1"]), image("never pushed")
    await world.push(one, Digest.of(one))
    inner = await push_index(world, "inner", "inner", [one])
    outer = await push_index(world, "outer", "outer", [inner, never])
    copied = await copy(world, Tag("outer"))
    assert copied.digest == Digest.of(outer)
    assert await world.holds(Digest.of(one), PROD) and await world.holds(Digest.of(inner), PROD)
    assert copied.left == [f"{Digest.of(never)}, which an index lists, is not in team/app"]


async def test_what_refers_to_it_comes_along_and_what_refers_to_that(world: World) -> None:
    one = image("one")
    await world.push(one, Digest.of(one))
    top = Digest.of(await push_index(world, "index", "latest", [one]))
    sbom, of_child = image("sbom", subject=top), image("signature of a child", subject=Digest.of(one))
    signature = image("signature", subject=Digest.of(sbom))
    for content in (sbom, of_child, signature):
        await world.push(content, Digest.of(content))
    copied = await copy(world)
    assert copied.referrers == 3
    assert await referring(world, top) == [str(Digest.of(sbom))]
    assert await referring(world, Digest.of(sbom)) == [str(Digest.of(signature))]
    assert await referring(world, Digest.of(one)) == [str(Digest.of(of_child))]


async def test_nothing_that_refers_to_it_comes_along_if_that_is_said(world: World) -> None:
    digest = await world.push(image("one"))
    await world.push(image("sbom", subject=digest), Tag("sbom"))
    await world.push(image("signature"), Tag(f"sha256-{digest.encoded}.sig"))
    copied = await copy(world, referrers=False)
    assert copied.referrers == 0
    assert (await world.repository(PROD).tags(n=None, last="")).entries == ["latest"]
    assert await referring(world, digest) == []


async def test_tags_of_cosign_come_along_and_take_no_tag_from_anything(world: World) -> None:
    digest = await world.push(image("one"))
    tags = [Tag(f"sha256-{digest.encoded}.{suffix}") for suffix in ("sig", "att", "sbom")]
    for tag in tags:
        await world.push(image(tag), tag)
    theirs = await world.push(image("theirs"), tags[0], PROD)
    copied = await copy(world)
    assert copied.left == [f"team/prod:{tags[0]} was there, names something else, and stays so"]
    named = [(await world.repository(PROD).manifest(tag)).content for tag in tags]
    assert named == [image("theirs"), image(tags[1]), image(tags[2])]
    assert (await world.repository(PROD).manifest(tags[0])).digest == theirs


async def test_what_is_missing_is_named_all_of_it_and_nothing_is_copied(world: World) -> None:
    await world.push(image("one", layers=[b"1", b"2", b"3"]))
    lost = [Digest.of(b"1"), Digest.of(b"3")]
    await world.remove_all([layout.layer_link(NAME, digest) for digest in lost])
    before = await world.keys()
    with pytest.raises(BlobUnknown, match="cannot be copied: team/app has no blob") as raised:
        await copy(world)
    assert {str(raised.value.detail), *(str(one.detail) for one in raised.value.also)} == {
        str({"name": "team/app", "digest": str(digest)}) for digest in lost
    }
    assert await world.keys() == before


async def test_what_the_target_has_need_not_be_in_the_source(world: World) -> None:
    await world.push(image("one"))
    await world.blob(b"layer", PROD)
    await world.remove_all([layout.layer_link(NAME, LAYER)])
    await copy(world)
    assert (await world.repository(PROD).manifest(TAG)).content == image("one")


@pytest.mark.parametrize("put_back", [True, False])
async def test_what_a_policy_took_from_the_source_comes_back_there_for_who_may_push_there(
    world: World, put_back: bool
) -> None:
    await world.push(image("one"))
    link = layout.layer_link(NAME, LAYER)
    await take(world, link, layout.trash_layer(NAME, LAYER))
    await copy(world, put_back=put_back)
    assert (await world.repository(PROD).blob(LAYER, may_push=False)).size_bytes == 5
    assert (link in await world.keys(layout.layers(NAME))) == put_back


async def test_what_is_not_there_or_is_damaged_is_not_copied(world: World) -> None:
    with pytest.raises(ManifestUnknown):
        await copy(world)
    one = image("one")
    await world.push(one, Digest.of(one))
    await push_index(world, "index", "latest", [one])
    await world.driver.put(layout.blob_data(Digest.of(one)), b"damaged")
    with pytest.raises(StorageDamaged, match=f"cannot be copied: {Digest.of(one)} of team/app"):
        await copy(world)
    assert not await world.keys(layout.repository(PROD))


async def test_the_rights_to_the_target_hold_before_anything_is_written(world: World) -> None:
    await world.push(image("one"))
    new = await world.push(image("new"), TAG, PROD)
    before = await world.keys()
    target = world.registry.repository(PROD, "somebody", May({"create"}))
    with pytest.raises(Denied, match="overwrite latest"):
        await target.copy(TAG, world.repository(), TAG, put_back=False, referrers=True)
    assert await world.keys() == before
    assert (await world.repository(PROD).manifest(TAG)).digest == new
    await target.copy(Tag("other"), world.repository(), TAG, put_back=False, referrers=True)
    assert (await world.repository(PROD).manifest(Tag("other"))).content == image("one")


async def test_an_intent_names_all_that_is_needed_before_anything_is_mounted(world: World) -> None:
    one = image("one", layers=[b"1"])
    await world.push(one, Digest.of(one))
    top = Digest.of(await push_index(world, "index", "latest", [one]))
    signature = image("signature", layers=[b"2"], subject=top)
    await world.push(signature, Digest.of(signature))
    everything = {top, *(Digest.of(content) for content in (one, signature, b"{}", b"1", b"2"))}
    named: list[bool] = []
    put = world.driver.put

    async def watched(key: str, data: bytes, **options: bool) -> None:
        if key.startswith((layout.repository(PROD), layout.referrers(PROD))):
            named.append(everything <= await world.registry.intents.needed(PROD))
        await put(key, data, **options)

    world.counted.put = watched  # type: ignore[attr-defined]
    await copy(world)
    assert len(named) > 5 and all(named)
