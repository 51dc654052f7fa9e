from __future__ import annotations

import re
from typing import Any

import pytest

from registry.cli.rendering import as_text
from registry.core.operations import Limit
from registry.core.operations import operations as core_operations
from registry.errors import Denied, NameUnknown, ReadOnly, RegistryError
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from registry.upkeep.operations import Switch
from registry.upkeep.operations import operations as upkeep_operations
from registry.work.operations import Context, Operations, Result, Status
from tests.inmemory import NAME, TAG, World, image


@pytest.fixture
async def world() -> World:
    made = World()
    await made.push(image("one"))
    return made


async def perform(world: World, name: str, dry_run: bool = False, **asked: Any) -> Result:
    """Run an operation to its end; its result, which comes last and once."""
    table = Operations([*core_operations(lambda: world.registry), *upkeep_operations(lambda: world.registry)])
    operation = table[name]
    told = [one async for one in operation.run(operation.input(**asked), Context("operator", dry_run))]
    assert [isinstance(one, Result) for one in told] == [False] * (len(told) - 1) + [True]
    result = told[-1]
    assert isinstance(result, Result)
    return result


async def value(world: World, name: str, dry_run: bool = False, **asked: Any) -> Any:
    return (await perform(world, name, dry_run, **asked)).value


async def test_repositories_and_tags_are_listed(world: World) -> None:
    await world.push(image("one"), name=RepositoryName("a"))
    listed = await perform(world, "repo.list")
    assert listed.value.repositories == ["a", NAME]  # type: ignore[attr-defined]
    assert "reindex" in listed.text
    page = await value(world, "repo.list", limit=1)
    assert (page.repositories, page.next) == (["a"], "a")
    assert (await value(world, "repo.list", last="a")).repositories == [NAME]
    assert (await value(world, "tag.list", repository=NAME)).tags == [TAG]
    with pytest.raises(NameUnknown):
        await perform(world, "tag.list", repository=RepositoryName("none"))


async def test_a_repository_is_shown_with_each_blob_counted_once(world: World) -> None:
    await world.push(image("two"), Tag("two"))
    shown = await value(world, "repo.show", repository=NAME)
    assert [tag.tag for tag in shown.tags] == [TAG, "two"]
    assert shown.tags[0].digest == str(Digest.of(image("one")))
    assert (shown.manifests, shown.blobs, shown.referenced_bytes) == (2, 2, 7)


async def test_a_dry_run_says_the_same_and_removes_nothing(world: World) -> None:
    before = await world.keys()
    for name, asked in (
        ("repo.delete", {"repository": NAME}),
        ("tag.delete", {"reference": f"{NAME}:{TAG}"}),
    ):
        told = await value(world, name, dry_run=True, **asked)
        assert (told.repository, told.tags, told.dry_run) == (NAME, [TAG], True)
        assert await world.keys() == before
    removed = await value(world, "repo.delete", repository=NAME)
    assert (removed.tags, removed.manifests, removed.blobs, removed.dry_run) == ([TAG], 1, 2, False)
    assert await world.keys(layout.repository(NAME)) == []
    with pytest.raises(NameUnknown):
        await perform(world, "repo.delete", repository=NAME)


async def test_read_only_is_switched_in_the_store_and_stops_the_others(world: World) -> None:
    assert (await value(world, "storage.read-only", switch=Switch.ON)).read_only
    assert await world.store.marks.is_read_only()
    world.registry.read_only = True
    assert (await value(world, "storage.read-only")).read_only
    for name, asked in (
        ("storage.reindex", {}),
        ("repo.delete", {"repository": NAME}),
        ("tag.delete", {"reference": f"{NAME}:{TAG}"}),
    ):
        with pytest.raises(ReadOnly):
            await perform(world, name, **asked)
    assert not (await value(world, "storage.read-only", switch=Switch.OFF)).read_only
    assert not await world.store.marks.is_read_only()
    assert not (await value(world, "storage.read-only")).read_only


async def test_a_check_says_how_it_went(world: World) -> None:
    assert (await perform(world, "storage.check")).status is Status.DONE
    await world.driver.delete([layout.blob_data(Digest.of(b"layer"))])
    result = await perform(world, "storage.check")
    assert result.status is Status.DAMAGED
    assert result.value.problems  # type: ignore[attr-defined]


async def test_a_check_tells_what_is_still_served_and_nothing_of_mirrors_where_there_are_none(
    world: World,
) -> None:
    await world.driver.put(layout.blob_data(Digest.of(b"layer")), b"LAYER")
    assert (await perform(world, "storage.check")).text == ""
    result = await perform(world, "storage.check", hash_blobs=True)
    assert "served as they are until `moorage scrub run`" in result.text
    assert "not fetched" not in as_text(result.value)
    content = image("elsewhere")
    await world.store.origins.note_elsewhere(NAME, Digest.of(content))
    await world.repository().keep_manifest(Tag("elsewhere"), content, OCI_IMAGE)
    checked = (await perform(world, "storage.check", hash_blobs=True)).value
    assert re.search("^not fetched: +0$", as_text(checked), re.MULTILINE)


async def test_a_check_of_a_whole_store_says_what_it_looked_at(world: World) -> None:
    counts = "no problems; repositories: 1, tags: 1, manifests: 1, blobs: 2, bytes hashed:"
    assert (await value(world, "storage.check")).told() == f"{counts} none (--hash-blobs)"
    checked = await value(world, "storage.check", hash_blobs=True)
    assert checked.told() == f"{counts} {checked.hashed_bytes}B"
    assert checked.hashed_bytes > 0


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("demo/alpine", "give REPOSITORY:TAG, for example demo/alpine:3.20"),
        (f"demo/alpine@{Digest.of(b'')}", "by its digest, which is not a tag"),
        ("127.0.0.1:5000/demo/alpine:3.20", "leave that out: 'demo/alpine:3.20'"),
        ("none:1", "there is no tag none:1"),
    ],
)
async def test_what_is_no_tag_is_said_to_be_none(world: World, reference: str, told: str) -> None:
    with pytest.raises(RegistryError, match=told):
        await perform(world, "tag.delete", reference=reference)


async def test_what_is_not_there_is_named(world: World) -> None:
    for verb in ("repo.show", "repo.delete", "tag.list"):
        with pytest.raises(NameUnknown, match="there is no repository none"):
            await perform(world, verb, repository=RepositoryName("none"))


async def test_removals_are_told_in_words(world: World) -> None:
    tag = f"{NAME}:{TAG}"
    assert (await value(world, "tag.delete", dry_run=True, reference=tag)).told() == (
        f"would delete {NAME}:{TAG}; its manifest stays"
    )
    told = (await value(world, "repo.delete", dry_run=True, repository=NAME)).told()
    assert told.splitlines()[1:] == [f"  {NAME}:{TAG}"]
    assert told.startswith(f"would delete {NAME} (tags: 1, manifests: 1, ")
    assert (
        await value(world, "tag.delete", reference=tag)
    ).told() == f"deleted {NAME}:{TAG}; its manifest stays"


@pytest.mark.parametrize("text", ["0", "-1", "x", ""])
def test_a_limit_is_one_or_more(text: str) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        Limit.parse(text)


def test_a_switch_is_on_or_off() -> None:
    assert Switch.parse("on") is Switch.ON
    with pytest.raises(ValueError, match="on or off"):
        Switch.parse("maybe")


async def test_a_rebuild_counts_what_it_found(world: World) -> None:
    content = image("signature", subject=Digest.of(image("one")))
    await world.push(content, Digest.of(content))
    found = await value(world, "storage.reindex")
    assert (found.repositories, found.referrers) == (1, 1)


async def test_a_tag_that_is_pushed_while_its_repository_is_deleted_is_asked_about_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = Operations(core_operations(lambda: world.registry))["repo.delete"]
    tags = world.store.links.tags

    async def tags_before_the_push(name: RepositoryName) -> list[Tag]:
        seen = await tags(name)
        monkeypatch.setattr(world.store.links, "tags", tags)
        await world.push(image("one"), Tag("late"))
        return seen

    monkeypatch.setattr(world.store.links, "tags", tags_before_the_push)
    context = Context("somebody", refusal=lambda _right, _name, tag: "it came" if tag == "late" else None)
    with pytest.raises(Denied, match=r"nothing was removed: late \(it came\)"):
        _ = [one async for one in operation.run(operation.input(repository=NAME), context)]
    assert (await value(world, "tag.list", repository=NAME)).tags == ["late", TAG]
