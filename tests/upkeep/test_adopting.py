"""Adoption of trees that another program has written, whole and broken in each way."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

from registry.errors import ReadOnly, Unsupported
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE, OCI_INDEX
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from registry.store.manifests import StoredManifest
from registry.store.marks import WRITER_LEVEL
from registry.upkeep.adopt_operations import operations
from registry.upkeep.adopting import Adopted
from registry.upkeep.examining import Examination, Examined
from registry.upkeep.leaving import Left
from registry.upkeep.operations import Checked
from registry.upkeep.operations import operations as upkeep_operations
from registry.upkeep.upgrading import NEEDS
from registry.work.operations import Context, Operations, Progress, Result, Status
from storage.findings import Finding
from storage.local import LocalDriver
from tests.inmemory import NAME, TAG, World, image

LAYER = Digest.of(b"layer")
IMAGE = Digest.of(image("one"))
INDEX = Tag("multi")
MISSING = str(Digest.of(b"missing"))


@pytest.fixture
async def world() -> World:
    """A tree of Distribution's: an image, an index of it and a signature, and nothing of ours."""
    made = World()
    await made.push(image("one"))
    await made.push_index(INDEX, [image("one")])
    signature = image("signature", subject=IMAGE)
    await made.push(signature, Digest.of(signature))
    await forget(made)
    return made


async def forget(world: World) -> None:
    """Let nothing be there but what Distribution would have written."""
    await world.remove_all(await world.keys(layout.OURS))
    await world.remove_all([key for key in await world.keys() if key.endswith("_placeholder")])


async def steps(
    world: World, name: str = "storage.adopt", *, dry_run: bool = False, **asked: bool
) -> list[Progress | Result]:
    operation = Operations(operations(lambda: world.registry))[name]
    return [one async for one in operation.run(operation.input(**asked), Context("operator", dry_run))]


async def adopt(world: World, *, dry_run: bool = False, hash_blobs: bool = False) -> Adopted:
    """What comes of it; nothing of Distribution's may have changed by it."""
    before = await theirs(world)
    result = (await steps(world, dry_run=dry_run, hash_blobs=hash_blobs))[-1]
    assert await theirs(world) == before
    assert isinstance(result, Result) and isinstance(result.value, Adopted)
    assert (result.status is Status.DAMAGED) == result.value.damaged
    return result.value


async def theirs(world: World) -> dict[str, object]:
    """All that lies in Distribution's tree, with the times."""
    return {
        key: (await world.driver.get(key, limit=1 << 20), await world.driver.stat(key))
        for key in await world.keys(layout.DISTRIBUTION)
    }


def spoilt(adopted: Adopted) -> dict[str, str]:
    return {one.tag: one.problem for one in adopted.spoilt_tags if one.damaged}


def named(adopted: Adopted, content: object) -> str:
    """The only problem with some content."""
    (problem,) = [one for one in adopted.problems if one.content == str(content)]
    assert problem.repository == NAME and problem.damaged
    return problem.problem


@pytest.mark.parametrize("hash_blobs", [False, True])
async def test_a_sound_tree_becomes_ours(world: World, hash_blobs: bool) -> None:
    adopted = await adopt(world, hash_blobs=hash_blobs)
    assert (adopted.repositories, adopted.tags, adopted.manifests, adopted.blobs) == (1, 2, 3, 2)
    assert (adopted.referrers, adopted.hashed_bytes) == (1, 7 if hash_blobs else None)
    assert (adopted.spoilt_tags, adopted.problems, adopted.damaged) == ([], [], False)
    assert await world.store.catalog.is_complete() and await world.store.catalog.is_indexed(NAME)
    assert await world.store.marks.level() == WRITER_LEVEL
    page = await world.repository().referrers(IMAGE, artifact_types=(), after="")
    assert len(page.entries) == 1
    assert "no problems" in adopted.told()


async def test_again_it_changes_nothing(world: World) -> None:
    async def contents() -> dict[str, bytes]:
        return {key: await world.driver.get(key, limit=1 << 20) for key in await world.keys()}

    first = await adopt(world)
    before = await contents()
    assert await adopt(world) == first
    assert await contents() == before


async def test_a_dry_run_tells_the_same_and_writes_nothing(world: World) -> None:
    await world.driver.delete([layout.blob_data(LAYER)])
    before = await world.keys()
    told = await adopt(world, dry_run=True, hash_blobs=True)
    assert await world.keys() == before
    done = await adopt(world, hash_blobs=True)
    assert (told.spoilt_tags, told.problems) == (done.spoilt_tags, done.problems)
    assert "nothing was written" in told.told()


async def test_it_tells_how_far_it_is_of_how_much(world: World) -> None:
    counting, *rest = (one for one in await steps(world) if isinstance(one, Progress))
    assert (counting.total, counting.unit) == (None, "items")
    assert {(one.total, one.unit) for one in rest} == {(5, "items")}
    assert rest[-1].done == 5
    by_bytes = [one for one in await steps(world, hash_blobs=True) if isinstance(one, Progress)][1:]
    assert {(one.total, one.unit) for one in by_bytes} == {(7, "bytes")}
    assert [one.done for one in by_bytes] == sorted(one.done for one in by_bytes)
    assert by_bytes[-1].done == 7


Break = Callable[[World], Awaitable[object]]
# What is broken of the image's layer, and what its link, its manifest's, and the tags say then.
LAYERS: dict[str, tuple[Break, str]] = {
    "no data": (lambda world: world.driver.delete([layout.blob_data(LAYER)]), "the bytes are missing"),
    "truncated": (lambda world: world.driver.put(layout.blob_data(LAYER), b"lay"), "3 bytes and not 5"),
    "no link": (lambda world: world.driver.delete([layout.layer_link(NAME, LAYER)]), "does not have it"),
    "an empty link": (
        lambda world: world.driver.put(layout.layer_link(NAME, LAYER), b""),
        "link cannot be read",
    ),
    "a broken link": (
        lambda world: world.driver.put(layout.layer_link(NAME, LAYER), b"\xff" * 2000),
        "link cannot be read",
    ),
    "another's link": (
        lambda world: world.driver.put(layout.layer_link(NAME, LAYER), str(IMAGE).encode()),
        "names other content",
    ),
}


@pytest.mark.parametrize("kind", LAYERS)
async def test_a_layer(world: World, kind: str) -> None:
    await LAYERS[kind][0](world)
    adopted = await adopt(world)
    assert LAYERS[kind][1] in named(adopted, IMAGE) and str(LAYER) in named(adopted, IMAGE)
    assert spoilt(adopted).keys() == {TAG, INDEX}
    assert all(LAYERS[kind][1] in problem for problem in spoilt(adopted).values())
    assert str(IMAGE) in spoilt(adopted)[INDEX]
    assert f"{NAME}:{TAG}: it needs the blob {LAYER}" in adopted.told()
    # It is ours all the same, and heals by a push.
    assert await world.store.marks.level() == WRITER_LEVEL
    await world.push(image("one"))
    assert spoilt(await adopt(world)) == {}


async def test_a_repository_without_layers(world: World) -> None:
    await world.remove_all(await world.keys(layout.layers(NAME)))
    adopted = await adopt(world)
    assert "this repository does not have it" in named(adopted, IMAGE)
    assert spoilt(adopted).keys() == {TAG, INDEX}
    assert await world.store.catalog.is_indexed(NAME)


async def test_wrong_bytes_are_found_by_hashing_in_each_repository(world: World) -> None:
    other = RepositoryName("team/other")
    await world.push(image("one"), name=other)
    await forget(world)
    await world.driver.put(layout.blob_data(LAYER), b"LAYER")
    assert not (await adopt(world)).damaged
    adopted = await adopt(world, hash_blobs=True)
    assert {(one.repository, one.tag) for one in adopted.spoilt_tags} == {
        (NAME, TAG),
        (NAME, INDEX),
        (other, TAG),
    }
    assert adopted.hashed_bytes == 7
    assert all("do not have the digest" in one.problem for one in adopted.spoilt_tags)


async def test_what_is_still_served_is_told_with_what_ends_that(world: World) -> None:
    async def note() -> str:
        result = (await steps(world, hash_blobs=True))[-1]
        assert isinstance(result, Result)
        return result.text

    await world.driver.delete([layout.blob_data(LAYER)])
    assert await note() == ""
    await world.driver.put(layout.blob_data(LAYER), b"LAYER")
    assert "served as they are until `moorage scrub run`" in await note()


MANIFESTS: dict[str, tuple[Break, str]] = {
    "no data": (lambda world: world.driver.delete([layout.blob_data(IMAGE)]), "the bytes are missing"),
    "truncated": (
        lambda world: world.driver.put(layout.blob_data(IMAGE), image("one")[:-1]),
        "do not have the digest",
    ),
    "an empty link": (
        lambda world: world.driver.put(layout.revision_link(NAME, IMAGE), b""),
        "link cannot be read",
    ),
}


@pytest.mark.parametrize("kind", MANIFESTS)
async def test_a_manifest(world: World, kind: str) -> None:
    await MANIFESTS[kind][0](world)
    adopted = await adopt(world)
    assert MANIFESTS[kind][1] in named(adopted, IMAGE)
    assert spoilt(adopted).keys() == {TAG, INDEX}


TAGS: dict[str, tuple[Break, str]] = {
    "names nothing": (
        lambda world: world.store.links.put_tag(NAME, TAG, Digest.of(b"nothing")),
        "which is not here",
    ),
    "an empty link": (lambda world: world.driver.put(layout.tag_link(NAME, TAG), b""), "cannot be read"),
    "nothing but Distribution's record": (
        lambda world: world.driver.copy(
            f"{layout.tag_index(NAME, Tag('left'))}/sha256/{IMAGE.encoded}/link", layout.tag_link(NAME, TAG)
        ),
        "nothing says what it names",
    ),
}


@pytest.mark.parametrize("kind", TAGS)
async def test_a_tag(world: World, kind: str) -> None:
    await TAGS[kind][0](world)
    ((_, problem),) = spoilt(await adopt(world)).items()
    assert TAGS[kind][1] in problem


async def test_an_index_whose_child_is_not_here_is_no_damage(world: World) -> None:
    await world.push_index("sparse", [image("one"), image("never pushed")])
    adopted = await adopt(world)
    (one,) = adopted.spoilt_tags
    assert (one.tag, one.damaged, adopted.damaged) == ("sparse", False, False)
    assert str(Digest.of(image("never pushed"))) in one.problem
    assert "which may be meant so: 1" in adopted.told()


async def test_an_index_of_blobs_needs_them(world: World) -> None:
    """As buildkit writes its caches."""
    await world.push_index("cache", [b"layer"])
    assert (await adopt(world)).spoilt_tags == []
    await world.driver.put(layout.blob_data(LAYER), b"lay")
    assert "3 bytes and not 5" in (await adopt(world)).told()
    await world.driver.delete([layout.blob_data(LAYER)])
    assert f"it lists {LAYER}" in spoilt(await adopt(world))["cache"]


async def test_a_sha512_link_is_followed_by_what_it_contains(world: World) -> None:
    alias = Digest.of(b"layer", "sha512")
    await world.store.links.put_alias(NAME, alias, LAYER)
    for hash_blobs in (False, True):
        adopted = await adopt(world, hash_blobs=hash_blobs)
        assert (adopted.problems, adopted.blobs) == ([], 3)
    wrong = Digest.of(b"other", "sha512")
    await world.store.links.put_alias(NAME, wrong, LAYER)
    assert not (await adopt(world)).damaged
    assert "do not have the digest" in named(await adopt(world, hash_blobs=True), wrong)
    await world.driver.delete([layout.blob_data(LAYER)])
    assert "missing" in named(await adopt(world), alias)


async def test_what_does_not_belong_there_is_told_and_is_no_damage(world: World) -> None:
    stray = f"{layout.repository(NAME)}/_layers/sha256/notes.txt"
    for key in (
        stray,
        f"{layout.REPOSITORIES}/UPPER/_layers/x",
        f"{layout.repository(NAME)}/_uploads/u/data",
    ):
        await world.driver.put(key, b"stray")
    adopted = await adopt(world)
    assert [(one.repository, one.content) for one in adopted.problems] == [("UPPER", "UPPER"), (NAME, stray)]
    assert (adopted.damaged, adopted.spoilt_tags) == (False, [])


async def test_a_manifest_that_readers_could_disagree_on_is_no_damage(world: World) -> None:
    content = b'{"schemaVersion":2,"config":{},"config":{}}'
    odd = Digest.of(content)
    await world.driver.put(layout.blob_data(odd), content)
    await world.driver.put(layout.revision_link(NAME, odd), str(odd).encode())
    adopted = await adopt(world)
    assert [(one.content, one.damaged) for one in adopted.problems] == [(str(odd), False)]


async def test_a_long_list_of_findings_ends_in_a_number(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.upkeep.adopting._LISTED", 3)
    for number in range(5):
        await world.driver.put(layout.tag_link(NAME, Tag(f"broken-{number}")), b"")
    adopted = await adopt(world)
    assert (len(adopted.spoilt_tags), adopted.left_out, adopted.damaged) == (3, 2, True)
    assert "not listed: 2" in adopted.told()


async def test_what_a_collection_has_in_its_hands_is_no_damage(world: World) -> None:
    await world.driver.copy(f"{layout.trash_data(LAYER)}/c-1", layout.blob_data(LAYER))
    await world.driver.copy(f"{layout.trash_layer(NAME, LAYER)}/c-1", layout.layer_link(NAME, LAYER))
    await world.remove_all([layout.blob_data(LAYER), layout.layer_link(NAME, LAYER)])
    assert not (await adopt(world, hash_blobs=True)).damaged


async def test_what_only_we_have_is_indexed_too(world: World) -> None:
    whole = Digest.of(b"{}")
    await world.driver.put(layout.whole_manifest(RepositoryName("ours"), whole), b"application/x\n{}")
    await adopt(world)
    listed = await world.registry.catalog(n=10, last="", visible=lambda _: True)
    assert listed.entries == ["ours", NAME]


async def test_pushes_and_deletes_meanwhile_are_no_damage(world: World) -> None:
    operation = Operations(operations(lambda: world.registry))["storage.adopt"]
    turns = 0
    result = None
    async for step in operation.run(operation.input(), Context("operator")):
        turns += 1
        await world.push(image(f"pushed {turns}", layers=[b"%d" % turns]), Tag(f"t{turns}"))
        if turns % 2:
            await world.registry.door.remove_tag(NAME, Tag(f"t{turns}"), "tester")
            await world.registry.door.remove_manifest(
                NAME, Digest.of(image(f"pushed {turns}", layers=[b"%d" % turns])), "tester"
            )
        result = step
    assert turns > 5
    assert isinstance(result, Result) and isinstance(result.value, Adopted)
    assert (result.value.problems, result.value.spoilt_tags) == ([], [])


@pytest.mark.parametrize("is_read", [False, True], ids=["before it is read", "behind"])
async def test_what_is_pushed_and_deleted_between_two_looks_is_no_damage(
    world: World, monkeypatch: pytest.MonkeyPatch, is_read: bool
) -> None:
    late = image("late", layers=[b"late"])
    digest, read = Digest.of(late), Examination._read

    async def deleted(self: Examination, asked: Digest) -> StoredManifest:
        found = await read(self, asked) if is_read or asked != digest else None
        if asked == digest:
            await world.registry.door.remove_manifest(NAME, digest, "tester")
            await world.driver.delete([layout.layer_link(NAME, Digest.of(b"late"))])
        return found or await read(self, asked)

    monkeypatch.setattr(Examination, "_read", deleted)
    found: list[object] = []
    async for one in Examination(world.store, NAME, Examined(), hash_blobs=False).run():
        if not found:
            # The blobs have been listed.
            await world.push(late, digest)
        found.append(one)
    assert not await world.holds(digest)
    assert set(found) == {None}


async def test_where_nothing_is_it_is_refused_and_says_where_to_look() -> None:
    world = World()
    with pytest.raises(Unsupported, match="nothing lies under docker/registry/v2/ here"):
        await steps(world)
    assert await world.keys() == []


async def test_read_only_it_is_refused_and_a_dry_run_is_not(world: World) -> None:
    world.registry.read_only = True
    with pytest.raises(ReadOnly):
        await steps(world)
    assert not (await adopt(world, dry_run=True)).damaged


async def test_an_upgrade_marks_a_store_without_a_level_and_lists_all(world: World) -> None:
    told = (await steps(world, "storage.upgrade"))[-1]
    assert isinstance(told, Result)
    assert told.value.told() == (  # type: ignore[attr-defined]
        "the store had no level and is at level 1 now; older programs stop writing within ten seconds"
    )
    assert await world.store.catalog.is_complete()
    before = await world.keys()
    told = (await steps(world, "storage.upgrade"))[-1]
    assert isinstance(told, Result) and told.value.told() == "already at level 1"  # type: ignore[attr-defined]
    assert await world.keys() == before


async def test_a_next_level_is_reached_when_its_needs_are_met(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program of the next level, which cannot meet its need at first."""
    asked: list[bool] = []

    async def need(registry: object) -> object:
        assert registry is world.registry
        # The mark stands where it stood until this is done.
        asked.append(await world.store.marks.level() == 1)
        if len(asked) == 1:
            raise ReadOnly
        yield Progress(1)

    await steps(world, "storage.upgrade")
    monkeypatch.setattr("registry.store.marks.WRITER_LEVEL", 2)
    monkeypatch.setitem(cast(dict[int, object], NEEDS), 2, need)
    with pytest.raises(ReadOnly):
        await steps(world, "storage.upgrade")
    assert await world.store.marks.level() == 1
    told = (await steps(world, "storage.upgrade"))[-1]
    assert isinstance(told, Result) and (told.value.before, told.value.level) == (1, 2)  # type: ignore[attr-defined]
    assert asked == [True, True]
    assert json.loads(await world.driver.get(layout.FORMAT, limit=100)) == {"oldest_writer": 2}


async def leaves(world: World) -> Result:
    before = await world.keys()
    result = (await steps(world, "storage.leave"))[-1]
    assert await world.keys() == before
    assert isinstance(result, Result)
    return result


async def test_what_distribution_would_not_see_is_told_with_its_tags(world: World) -> None:
    await adopt(world)
    assert (await leaves(world)).status is Status.DONE
    value = (await leaves(world)).value
    assert isinstance(value, Left) and "Distribution would find all of it" in value.told()
    whole = Digest.of(b"{}")
    await world.driver.put(layout.whole_manifest(NAME, whole), b"application/x\n{}")
    await world.store.links.put_tag(NAME, Tag("odd"), whole)
    left = await leaves(world)
    assert left.status is Status.DAMAGED
    (one,) = left.value.unseen  # type: ignore[attr-defined]
    assert (one.repository, one.digest, one.media_type, one.tags) == (
        NAME,
        str(whole),
        "application/x",
        ["odd"],
    )


async def test_what_a_collection_has_in_its_hands_would_be_lost(world: World) -> None:
    unneeded = Digest.of(b"unneeded")
    await world.driver.put(f"{layout.trash_data(unneeded)}/c-0", b"unneeded")
    await world.driver.copy(f"{layout.trash_data(LAYER)}/c-1", layout.blob_data(LAYER))
    assert (await leaves(world)).status is Status.DONE
    await world.remove_all([layout.blob_data(LAYER)])
    left = await leaves(world)
    assert left.value.only_in_trash == 1  # type: ignore[attr-defined]
    assert left.status is Status.DAMAGED
    await world.driver.copy(layout.blob_data(LAYER), f"{layout.trash_data(LAYER)}/c-1")
    await world.driver.put(layout.trash_open("c-2"), b"")
    assert (await leaves(world)).value.removals_under_way == 1  # type: ignore[attr-defined]


async def test_a_link_that_leads_to_nothing_is_found_also_where_another_repository_has_the_manifest() -> None:
    for name in (RepositoryName("aaa"), RepositoryName("zzz")):
        world = World()
        await world.push(image("one"))
        await world.push(image("one"), name=name)
        await world.driver.put(layout.revision_link(name, IMAGE), str(Digest.of(b"nowhere")).encode())
        await forget(world)
        adopted = await adopt(world)
        assert [(one.repository, one.tag) for one in adopted.spoilt_tags if one.damaged] == [(name, TAG)]


async def test_an_index_that_gives_its_child_another_size_is_found(world: World) -> None:
    child = {"mediaType": OCI_IMAGE, "digest": str(IMAGE), "size": 7}
    content = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]}).encode()
    await plant(world, content, "wrong")
    adopted = await adopt(world)
    assert spoilt(adopted) == {"wrong": f"it lists {IMAGE} with 7 bytes, and it has {len(image('one'))}"}


async def test_of_a_tag_whose_manifest_is_none_it_is_said_that_nobody_looked(world: World) -> None:
    old = {"schemaVersion": 1, "name": NAME, "tag": "old", "fsLayers": [{"blobSum": MISSING}], "history": []}
    await plant(world, json.dumps(old).encode(), "old")
    adopted = await adopt(world)
    (told,) = adopted.spoilt_tags
    assert (told.tag, told.damaged) == ("old", False) and "was not looked for" in told.problem


@pytest.mark.parametrize("name", ["storage.adopt", "storage.upgrade", "storage.reindex"])
async def test_what_has_begun_stops_when_the_store_becomes_read_only(world: World, name: str) -> None:
    await world.push(image("one"), name=RepositoryName("another"))
    await forget(world)
    offered = (*operations(lambda: world.registry), *upkeep_operations(lambda: world.registry, None, _sound))
    table = Operations(offered)
    operation = table[name]
    with pytest.raises(ReadOnly):
        async for _ in operation.run(operation.input(), Context("operator", False)):
            world.registry.read_only = True
    assert not await world.store.catalog.is_complete() and await world.store.marks.level() is None


async def _sound() -> list[Finding]:
    return []


async def plant(world: World, content: bytes, tag: str) -> None:
    """A manifest as another program has put it there."""
    digest = Digest.of(content)
    await world.driver.put(layout.blob_data(digest), content)
    await world.store.links.put_revision(NAME, digest)
    await world.store.links.put_tag(NAME, Tag(tag), digest)


async def test_what_leads_out_of_the_storage_is_told_by_adopting_and_by_checking(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"elsewhere")
    driver = LocalDriver(tmp_path / "store")
    await driver.start()
    try:
        world = World(driver=driver)
        await world.push(image("one"))
        blob = Digest.of(b"elsewhere")
        key = layout.blob_data(blob)
        (path := tmp_path / "store" / key).parent.mkdir(parents=True)
        path.symlink_to(elsewhere)
        await world.store.links.put_layer(NAME, blob)
        repository = layout.repository(RepositoryName("linked"))
        (tmp_path / "store" / repository).symlink_to(tmp_path)
        problems = []
        table = (
            *operations(lambda: world.registry, driver.leading_out),
            *upkeep_operations(lambda: world.registry, leading=driver.leading_out),
        )
        for name in ("storage.adopt", "storage.check"):
            operation = Operations(table)[name]
            *_, last = [one async for one in operation.run(operation.input(), Context("operator", False))]
            assert isinstance(last, Result) and last.status is Status.DONE
            assert isinstance(last.value, Adopted | Checked)
            problems += [one for one in last.value.problems if "leads out" in one.problem]
        assert {(one.repository, one.content) for one in problems} == {("", key), ("linked", repository)}
        assert len(problems) == 4
        assert f"leads out of the storage: {elsewhere};" in problems[0].problem
    finally:
        await driver.aclose()
