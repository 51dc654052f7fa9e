"""What an operator is shown of pulls."""

from __future__ import annotations

from typing import Any

import pytest

from registry.cli.rendering import as_text
from registry.core.pull_operations import AskPulls, ShownPulls, operations
from registry.core.pull_records import DAYS, PullRecords
from registry.errors import NameUnknown, RegistryError
from registry.model.names import Tag
from registry.store import layout
from registry.work.operations import Context, Result
from tests.inmemory import NAME, World, image
from tests.upkeep.pulling import DIGEST, now, process


async def shown(world: World, reference: str, **asked: Any) -> ShownPulls:
    """What is shown."""
    (operation,) = operations(lambda: world.registry)
    steps = [step async for step in operation.run(AskPulls(reference, **asked), Context("tester"))]
    assert isinstance(steps[-1], Result) and isinstance(steps[-1].value, ShownPulls)
    return steps[-1].value


@pytest.fixture
async def world() -> World:
    """Pulls of three days: v0 on the first, v0 and v1 on the second, and so on; one by the digest alone."""
    world = World()
    one = process(world)
    await one.recording.begin()
    for day in range(3):
        for number in range(day + 1):
            one.pull(Tag(f"v{number}"), times=number + 1)
        if day == 0:
            one.pull(None)
        await one.recording.record()
        world.clock.advance(days=1)
    await one.recording.end()
    return world


async def test_each_tag_is_shown_with_its_days_those_pulled_last_first(world: World) -> None:
    found = await shown(world, NAME)
    assert [(one.reference, one.pulls, one.last) for one in found.references] == [
        ("v0", 3, "2026-01-03"),
        ("v1", 4, "2026-01-03"),
        ("v2", 3, "2026-01-03"),
        (str(DIGEST), 1, "2026-01-01"),
    ]
    assert [(of.day, of.pulls) for of in found.references[1].days] == [("2026-01-02", 2), ("2026-01-03", 2)]
    assert (found.since, found.until, found.pulls) == ("2025-12-06", "2026-01-04", 11)
    # All before the day on which recording began, too.
    assert (found.uncovered[0], found.uncovered[-1], len(found.uncovered)) == ("2025-12-06", "2026-01-01", 27)
    assert (found.recorded_until, found.left_out) == (None, 0)
    lines = as_text(found).splitlines()
    assert lines[:2] == [
        f"{NAME} was pulled 11 times from 2025-12-06 to 2026-01-04",
        "v0: 3 times, last on 2026-01-03",
    ]
    assert lines[-1] == "not all is known of: 2025-12-06 to 2026-01-01"


async def test_one_tag_and_fewer_days_may_be_asked_for(world: World) -> None:
    found = await shown(world, f"{NAME}:v0", days=2)
    assert [(one.reference, one.pulls) for one in found.references] == [("v0", 1)]
    assert (found.since, found.uncovered) == ("2026-01-03", [])
    found = await shown(world, NAME, limit=1)
    assert (len(found.references), found.left_out, found.pulls) == (1, 3, 11)
    assert "and 3 more tags and digests (--limit)" in as_text(found)


async def test_damaged_records_and_silent_processes_are_told(world: World) -> None:
    await world.driver.put(f"{DAYS}/2026-01-02/0-00000001", b"no record")
    await PullRecords(world.driver).put_process("1", "one", now(world), now(world))
    world.clock.advance(hours=2)
    found = await shown(world, NAME)
    assert found.uncovered[-3:] == ["2026-01-01", "2026-01-02", "2026-01-04"]
    assert as_text(found).splitlines()[-1].endswith("of: 2025-12-06 to 2026-01-02, 2026-01-04")


async def test_where_nobody_has_ever_counted_nothing_is_known(world: World) -> None:
    await world.push(image("never pulled"))
    await world.remove_all(await world.keys(layout.PULLS))
    assert len((await shown(world, NAME)).uncovered) == 30


@pytest.mark.parametrize("reference", ["None", "localhost:5000/app", f"app@{DIGEST}", "app:"])
async def test_what_names_nothing_is_refused(world: World, reference: str) -> None:
    (operation,) = operations(lambda: world.registry)
    with pytest.raises(RegistryError):
        operation.touches(AskPulls(reference))


async def test_a_repository_that_is_not_there_is_told_from_one_that_nobody_pulls(world: World) -> None:
    with pytest.raises(NameUnknown, match="there is no repository none"):
        await shown(world, "none")
    await world.push(image("one"))
    assert (await shown(world, NAME, days=1)).references == []
