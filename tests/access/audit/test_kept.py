from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from registry.access.audit import Entry
from registry.access.audit.kept import Asked, AuditStore, KeptEntry
from registry.errors import ReadOnly
from registry.model.patterns import RepositoryPattern
from registry.store import layout
from tests.inmemory import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def kept(world: World) -> AuditStore:
    return AuditStore(world.driver, world.store.effects, world.registry)


def deleted(tag: str = "1", who: str = "user:alice", repository: str = "team/app") -> Entry:
    """An entry."""
    return Entry("tag.deleted", who=who, repository=repository, tag=tag)


async def keep(kept: AuditStore, entry: Entry) -> str:
    """Keep an entry as done; its id."""
    name, begun = await kept.begin(entry)
    await kept.complete(name, replace(begun, outcome="done"))
    return name


async def expire(world: World, kept: AuditStore, days: int) -> int:
    """Let what is older go."""

    async def now() -> float:
        return world.clock.now.timestamp()

    return await kept.expire(now, timedelta(days=days))


async def tags(
    kept: AuditStore, asked: Asked | None = None, *, limit: int = 100, last: str = ""
) -> list[str]:
    """The tags of the entries of one page."""
    found, _ = await kept.list(asked or Asked(), limit=limit, last=last)
    return [one.entry.tag if one.entry else "?" for one in found]


async def test_an_entry_is_begun_and_completed_in_its_place(world: World, kept: AuditStore) -> None:
    name, begun = await kept.begin(deleted())
    assert (begun.outcome, begun.at) == ("begun", world.clock.now)
    assert await world.keys(layout.AUDIT) == [layout.audit_entry(name)]
    assert (await kept.list(Asked(), limit=9))[0] == [KeptEntry(name, begun)]
    done = replace(begun, outcome="done", digest="d")
    await kept.complete(name, done)
    assert (await kept.list(Asked(), limit=9))[0] == [KeptEntry(name, done)]
    await kept.forget(name)
    assert await world.keys(layout.AUDIT) == []


async def test_nothing_is_kept_while_nothing_may_be_written(world: World, kept: AuditStore) -> None:
    world.registry.read_only = True
    with pytest.raises(ReadOnly):
        await kept.begin(deleted())
    assert await world.keys(layout.AUDIT) == []
    # But that this is switched is.
    name, _ = await kept.begin(Entry("storage.switched"))
    assert await world.keys(layout.AUDIT) == [layout.audit_entry(name)]
    world.registry.outdated = "a newer program writes here"
    with pytest.raises(ReadOnly):
        await kept.begin(Entry("storage.switched"))


async def test_entries_come_oldest_first_and_in_pages(world: World, kept: AuditStore) -> None:
    names = []
    for number in range(5):
        names.append(await keep(kept, deleted(str(number))))
        world.clock.advance(seconds=1)
    assert await tags(kept) == ["0", "1", "2", "3", "4"]
    found, following = await kept.list(Asked(), limit=2)
    assert ([one.id for one in found], following) == (names[:2], names[1])
    found, following = await kept.list(Asked(), limit=2, last=names[1])
    assert ([one.id for one in found], following) == (names[2:4], names[3])
    found, following = await kept.list(Asked(), limit=2, last=names[3])
    assert ([one.id for one in found], following) == (names[4:], None)


async def test_entries_are_chosen_by_time_principal_and_repository(world: World, kept: AuditStore) -> None:
    begun = world.clock.now
    await keep(kept, deleted("0"))
    world.clock.advance(hours=1)
    await keep(kept, deleted("1", who="user:bob"))
    world.clock.advance(hours=1)
    await keep(kept, deleted("2", repository="other/app"))
    hour = timedelta(hours=1)
    assert await tags(kept, Asked(since=begun + hour)) == ["1", "2"]
    assert await tags(kept, Asked(until=begun + hour)) == ["0"]
    assert await tags(kept, Asked(since=begun + hour, until=begun + 2 * hour)) == ["1"]
    assert await tags(kept, Asked(who="user:bob")) == ["1"]
    assert await tags(kept, Asked(who="user:b")) == []
    assert await tags(kept, Asked(repositories=RepositoryPattern("team/**"))) == ["0", "1"]
    assert await tags(kept, Asked(who="user:alice", repositories=RepositoryPattern("other/*"))) == ["2"]
    assert await tags(kept, Asked(since=begun + 3 * hour)) == []


async def test_a_page_looks_at_so_many_and_then_says_where_to_go_on(
    world: World, kept: AuditStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.access.audit.kept._LOOKED_AT", 4)
    for number in range(7):
        await keep(kept, deleted(str(number), who="user:bob" if number == 6 else "user:alice"))
    asked = Asked(who="user:bob")
    found, following = await kept.list(asked, limit=9)
    assert found == [] and following is not None
    found, end = await kept.list(asked, limit=9, last=following)
    assert [one.entry.tag for one in found if one.entry] == ["6"]
    assert end is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"[]",
        b"{}",
        b'{"time":"x","event":"tag.deleted"}',
        b'{"time":"2026-01-01T00:00:00","event":"tag.deleted"}',
        b'{"time":"2026-01-01T00:00:00Z"}',
        b'{"time":"2026-01-01T00:00:00Z","event":"tag.burnt"}',
        b'{"time":"2026-01-01T00:00:00Z","event":"tag.deleted","outcome":"perhaps"}',
        b'{"time":7,"event":"tag.deleted"}',
        b" " * (65 << 10),
    ],
)
async def test_what_is_no_entry_is_shown_as_such_whatever_was_asked(
    world: World, kept: AuditStore, content: bytes
) -> None:
    name = await keep(kept, deleted())
    await world.driver.put(layout.audit_entry(name), content)
    assert (await kept.list(Asked(who="user:bob"), limit=9))[0] == [KeptEntry(name, None)]


async def test_what_a_newer_version_has_added_is_passed_over(world: World, kept: AuditStore) -> None:
    name = await keep(kept, deleted())
    content = b'{"time":"2026-01-01T00:00:00Z","event":"tag.deleted","mood":"good","outcome":"done"}'
    await world.driver.put(layout.audit_entry(name), content)
    entry = Entry("tag.deleted", at=datetime(2026, 1, 1, tzinfo=UTC))
    assert (await kept.list(Asked(), limit=9))[0] == [KeptEntry(name, entry)]


async def test_the_old_go_and_the_young_stay(world: World, kept: AuditStore) -> None:
    for number in range(4):
        await keep(kept, deleted(str(number)))
        world.clock.advance(days=1)
    assert await expire(world, kept, days=30) == 0
    assert await expire(world, kept, days=2) == 2
    assert await tags(kept) == ["2", "3"]


async def test_ages_are_read_off_the_store_s_clock(world: World, kept: AuditStore) -> None:
    """A process whose clock was years behind has written an entry; it stays as long as any other."""
    name, _ = await kept.begin(Entry("tag.deleted", at=datetime(1999, 1, 1, tzinfo=UTC)))
    assert name.startswith("00915148800")
    assert await expire(world, kept, days=1) == 0
    world.clock.advance(days=2)
    assert await expire(world, kept, days=1) == 1


async def test_expiry_does_as_much_as_there_is_to_expire(
    world: World, kept: AuditStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.access.audit.kept._BATCH", 3)
    for number in range(7):
        await keep(kept, deleted(str(number)))
    world.clock.advance(days=2)
    for number in range(20):
        await keep(kept, deleted(f"young{number}"))
    world.counted.calls.clear()
    assert await expire(world, kept, days=1) == 7
    assert world.counted.calls["stat"] == 12
    assert len(await tags(kept)) == 20
