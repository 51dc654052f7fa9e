from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from registry.access.audit import Audit, Entry
from registry.access.audit.kept import AuditStore
from registry.access.operations import ListAudit, Moment, operations
from registry.core.operations import Limit
from registry.model.patterns import RepositoryPattern
from registry.store import layout
from registry.work.operations import Context, Operations, Result
from tests.access.audit.lines import Lines, trail
from tests.inmemory import World

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def audit(world: World) -> Audit:
    kept = AuditStore(world.driver, world.store.effects, world.registry)
    return Audit(trail(Lines()), kept)


async def listed(world: World, audit: Audit, **asked: Any) -> Any:
    """What `audit list` gives."""
    operation = Operations(operations(lambda: world.registry, lambda: audit))["audit.list"]
    (result,) = [one async for one in operation.run(operation.input(**asked), Context("operator"))]
    assert isinstance(result, Result)
    return result


async def delete(
    world: World, audit: Audit, tag: str, who: str = "user:alice", repository: str = "team/app"
) -> None:
    """Do something that is kept."""
    entry = Entry(
        "tag.deleted", who=who, address="10.0.0.1", via="token", repository=repository, tag=tag, rule="a rule"
    )
    async with audit.doing(replace(entry, at=world.clock.now)):
        pass


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2025-12-31T12:30:00", datetime(2025, 12, 31, 12, 30, tzinfo=UTC)),
        ("2025-12-31T12:30:00Z", datetime(2025, 12, 31, 12, 30, tzinfo=UTC)),
        ("2025-12-31T12:30:00+02:00", datetime(2025, 12, 31, 10, 30, tzinfo=UTC)),
        ("7d", NOW - timedelta(days=7)),
        ("1h30m", NOW - timedelta(minutes=90)),
        ("99999d", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_time_or_how_long_ago_it_is(text: str, at: datetime) -> None:
    moment = Moment.parse(text)
    assert moment.seen_from(NOW) == at
    assert str(moment) == text


@pytest.mark.parametrize(
    "text", ["", "yesterday", "7", "7 days", "2026-13-01", "999999999999w", "-7d", "\x1b"]
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a time like"):
        Moment.parse(text)


def test_thirty_days_are_listed_unless_told_otherwise() -> None:
    assert ListAudit().since == Moment.parse("30d")


async def test_entries_are_listed_with_a_line_for_people(world: World, audit: Audit) -> None:
    await delete(world, audit, "1")
    result = await listed(world, audit)
    (entry,) = result.value.entries
    assert (entry.event, entry.outcome, entry.who, entry.tag) == ("tag.deleted", "done", "user:alice", "1")
    assert result.value.told() == (
        "2026-01-01T00:00:00.000000Z tag.deleted team/app:1 by user:alice (10.0.0.1, token) - a rule"
    )
    assert (result.value.next, result.text) == (None, "")


async def test_what_did_not_end_says_so(world: World, audit: Audit) -> None:
    with pytest.raises(KeyError):
        async with audit.doing(Entry("repository.deleted", who="operator", repository="a")):
            raise KeyError
    assert "repository.deleted a by operator [begun]" in (await listed(world, audit)).value.told()


async def test_entries_are_chosen_and_paged(world: World, audit: Audit) -> None:
    for tag in "12345":
        await delete(world, audit, tag, who="user:bob" if tag == "3" else "user:alice")
        world.clock.advance(days=10)
    now = world.clock.now

    async def tags(**asked: Any) -> list[str]:
        return [entry.tag for entry in (await listed(world, audit, **asked)).value.entries]

    assert await tags() == ["3", "4", "5"]
    assert await tags(since=Moment.parse("1000d")) == ["1", "2", "3", "4", "5"]
    assert await tags(since=Moment.parse((now - timedelta(days=10)).isoformat())) == ["5"]
    assert await tags(until=Moment.parse("15d")) == ["3", "4"]
    assert await tags(who="user:bob") == ["3"]
    assert await tags(repository=RepositoryPattern("other")) == []
    page = await listed(world, audit, limit=Limit(2))
    assert page.text == f"there may be more: --last {page.value.next}"
    assert await tags(last=page.value.next) == ["5"]


async def test_an_entry_that_was_altered_is_shown_as_such(world: World, audit: Audit) -> None:
    await delete(world, audit, "1")
    (key,) = await world.keys(layout.AUDIT)
    await world.driver.put(key, b"nothing")
    result = await listed(world, audit, who="user:bob")
    assert (
        result.value.told()
        == f"{key.rpartition('/')[2]}: this entry cannot be read: it was altered, or damaged"
    )
