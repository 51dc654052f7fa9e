from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from registry.core import listings
from registry.errors import NameUnknown
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from tests.inmemory import NAME, TAG, World, image


@pytest.fixture
def world() -> World:
    return World()


def everything(_: RepositoryName) -> bool:
    return True


async def pages(
    world: World, n: int, visible: Callable[[RepositoryName], bool] = everything
) -> AsyncIterator[list[str]]:
    """The catalog, page by page."""
    last: str | None = ""
    while last is not None:
        page = await world.registry.catalog(n=n, last=last, visible=visible)
        yield page.entries
        last = page.next


async def fill(world: World, count: int) -> list[RepositoryName]:
    """List repositories, one key each."""
    names = sorted(RepositoryName(f"team-{number % 7}/app{number}") for number in range(count))
    for name in names:
        await world.driver.put(layout.catalog_entry(name), b'{"indexed":true}')
    return names


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11])
@pytest.mark.parametrize("n", [1, 2, 10, 100])
async def test_pages_of_the_catalog_have_every_name_once(world: World, count: int, n: int) -> None:
    names = await fill(world, count)
    found = [page async for page in pages(world, n)]
    assert [name for page in found for name in page] == names
    assert all(len(page) == n for page in found[:-1])
    assert len(found) == max(1, -(-count // n))


async def test_a_catalog_page_costs_no_call_for_each_repository(world: World) -> None:
    names = await fill(world, 100_000)
    for last, n in (("", 1000), ("team-3/app5", 100_000)):
        world.counted.calls.clear()
        await world.registry.listings.catalog_is_complete()
        page = await world.registry.catalog(n=n, last=last, visible=everything)
        assert page.entries == [name for name in names if name > last][:n]
        assert world.counted.calls.total() <= 3, world.counted.calls


async def test_a_page_of_no_entries_ends_the_catalog(world: World) -> None:
    await fill(world, 3)
    assert await world.registry.catalog(n=0, last="", visible=everything) == listings.Page([], None)


async def test_what_may_not_be_seen_shows_neither_as_an_entry_nor_in_a_cursor(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = await fill(world, 50)
    monkeypatch.setattr(listings, "_TURN", 10)
    turns = 0
    inner = world.store.effects.aside

    async def counted(function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Any:
        nonlocal turns
        turns += 1
        return await inner(function, *arguments, **options)

    world.store.effects = dataclasses.replace(world.store.effects, aside=counted)
    seen = {names[0], names[30], names[48]}
    first = await world.registry.catalog(n=2, last="", visible=seen.__contains__)
    assert first == listings.Page([names[0], names[30]], names[30])
    # On the way others got their turn.
    assert turns == 4
    # What follows the last is hidden, and so is that there is anything.
    second = await world.registry.catalog(n=1, last=names[30], visible=seen.__contains__)
    assert second == listings.Page([names[48]], None)


async def test_fifty_thousand_tags_are_one_answer_and_one_call(world: World) -> None:
    digest = Digest.of(b"x")
    names = sorted(f"v{number}" for number in range(50_000))
    for name in names:
        await world.driver.put(layout.tag_link(NAME, Tag(name)), str(digest).encode())
    world.counted.calls.clear()
    page = await world.repository().tags(n=None, last="")
    assert page == listings.Page(names, None)
    assert world.counted.calls == {"children": 1}


async def test_pages_of_tags_have_every_tag_once(world: World) -> None:
    tags = ["A", "a", "b", "c", "d"]
    for tag in tags:
        await world.push(image("one"), Tag(tag))
    for n in (1, 2, 4, 5, 6):
        found: list[str] = []
        last: str | None = ""
        while last is not None:
            page = await world.repository().tags(n=n, last=last)
            assert page.next is None or len(page.entries) == n
            found += page.entries
            last = page.next
        assert found == tags
    assert await world.repository().tags(n=None, last="b") == listings.Page(["c", "d"], None)
    assert await world.repository().tags(n=0, last="") == listings.Page([], None)


async def test_tags_of_an_unknown_repository_are_an_error_and_of_an_empty_one_are_not(world: World) -> None:
    for n in (None, 0, 1):
        with pytest.raises(NameUnknown):
            await world.repository().tags(n=n, last="")
    await world.push(image("one"))
    await world.repository().delete_tag(TAG)
    for n in (None, 0, 1):
        assert await world.repository().tags(n=n, last="") == listings.Page([], None)


async def referrers(world: World, subject: Digest, *types: str) -> list[str]:
    page = await world.repository().referrers(subject, artifact_types=types, after="")
    return [json.loads(entry)["digest"] for entry in page.entries]


async def test_referrers_are_shown_only_while_they_exist(world: World) -> None:
    subject = await world.push(image("subject"))
    content = image("signature", subject=subject)
    digest = await world.push(content, Digest.of(content))
    assert await referrers(world, subject) == [str(digest)]
    await world.driver.delete([layout.revision_link(NAME, digest)])
    assert await referrers(world, subject) == []


async def test_an_adopted_repository_is_read_once_and_written_down(world: World) -> None:
    subject = await world.push(image("subject"))
    content = image("signature", subject=subject)
    digest = await world.push(content, Digest.of(content))
    await world.remove_all(await world.keys(layout.OURS))

    assert await referrers(world, subject) == [str(digest)]
    assert await world.store.catalog.is_indexed(NAME)
    world.counted.calls.clear()
    assert await referrers(world, subject) == [str(digest)]
    assert world.counted.calls["put"] == 0
    assert world.counted.calls["walk"] == 0


async def test_a_read_only_store_that_was_never_indexed_answers_all_the_same(world: World) -> None:
    subject = await world.push(image("subject"))
    digests = []
    for note in ("one", "two"):
        content = image(note, subject=subject)
        digests.append(str(await world.push(content, Digest.of(content))))
    await world.remove_all(await world.keys(layout.OURS))
    before = await world.keys()
    world.registry.read_only = True
    assert sorted(await referrers(world, subject)) == sorted(digests)
    assert await referrers(world, subject, "application/x-test") == await referrers(world, subject)
    assert await referrers(world, subject, "application/x-other") == []
    assert await world.keys() == before


async def test_pages_of_referrers_end_before_the_limit_and_have_each_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = await world.push(image("subject"))
    wanted = []
    for number in range(150):
        content = image(f"{number}", subject=subject)
        wanted.append(str(await world.push(content, Digest.of(content))))
    monkeypatch.setattr(listings, "REFERRERS_PAGE_BYTES", 3000)
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = await world.repository().referrers(subject, artifact_types=(), after=after)
        assert 0 < sum(map(len, page.entries)) <= 3000
        found += [json.loads(entry)["digest"] for entry in page.entries]
        after = page.next
    assert found == sorted(wanted)


async def test_indexing_writes_what_was_lost_and_a_manifest_that_cannot_be_read_hinders_nobody(
    world: World,
) -> None:
    subject = await world.push(image("subject"))
    content = image("signature", subject=subject)
    digest = await world.push(content, Digest.of(content))
    odd = Digest.of(b"{not json")
    await world.driver.put(layout.blob_data(odd), b"{not json")
    await world.driver.put(layout.revision_link(NAME, odd), str(odd).encode())
    lost = Digest.of(b"lost")
    await world.driver.put(layout.revision_link(NAME, lost), str(lost).encode())
    broken = Digest.of(b"broken")
    await world.driver.put(layout.revision_link(NAME, broken), b"nonsense")
    await world.remove_all(await world.keys(layout.OURS))

    assert await world.registry.listings.index(NAME) == 1
    assert await referrers(world, subject) == [str(digest)]


async def test_indexing_reads_what_refers_to_very_many(world: World) -> None:
    world.registry.pushes.max_references = 20_000
    subject = await world.push(image("subject"))
    content = image("signature", layers=[b"layer"] * 10_001, subject=subject)
    digest = await world.push_alone(content, Digest.of(content))
    await world.remove_all(await world.keys(layout.OURS))
    assert await world.registry.listings.index(NAME) == 1
    assert await referrers(world, subject) == [str(digest)]


async def test_indexing_a_repository_that_was_deleted_meanwhile_leaves_no_entry(world: World) -> None:
    await world.push(image("one"))
    await world.remove_all(await world.keys(layout.repository(NAME)))
    await world.registry.listings.index(NAME)
    assert not await world.store.catalog.is_listed(NAME)


async def test_a_page_looks_at_so_much_and_leads_on_also_when_nothing_matched(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = await world.push(image("subject"))
    wanted = []
    for number in range(20):
        content = image(f"{number}", subject=subject)
        wanted.append(str(await world.push(content, Digest.of(content))))
    monkeypatch.setattr(listings, "_REFERRERS_LOOK_BYTES", 1000)
    monkeypatch.setattr(listings, "_INLINE", 0)
    for asked, expected in (("application/x-other", []), ("application/x-test", sorted(wanted))):
        pages, found = 0, []
        after: str | None = ""
        while after is not None:
            world.counted.calls.clear()
            page = await world.repository().referrers(subject, artifact_types=[asked], after=after)
            # The entries of a page, the batch that was begun, and the catalog's own.
            assert world.counted.calls["get"] <= 1000 // 100 + 5
            found += [json.loads(entry)["digest"] for entry in page.entries]
            pages += 1
            after = page.next
        assert found == expected
        assert pages > 3


async def test_a_spoilt_entry_has_no_type(world: World) -> None:
    subject = await world.push(image("subject"))
    content = image("signature", subject=subject)
    digest = await world.push(content, Digest.of(content))
    for spoilt in (b"{", b"[]", b"[" * 100_000):
        await world.driver.put(layout.referrer(NAME, subject, digest), spoilt)
        assert await referrers(world, subject, "application/x-test") == []
