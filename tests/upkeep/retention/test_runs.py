"""Runs of retention: who makes them, when, and what stops them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from registry.errors import ManifestUnknown, ReadOnly, TooManyRequests, Unsupported
from registry.model.names import RepositoryName
from registry.model.patterns import RepositoryPattern
from registry.removal.mark import Step
from registry.upkeep.retention.deciding import Shares
from registry.upkeep.retention.operations import ExplainTag, Percent, Retain, operations
from registry.upkeep.retention.reports import Retention
from registry.upkeep.retention.retaining import EVERYWHERE
from registry.work.operations import Context, Result, Status
from tests.inmemory import World, image
from tests.upkeep.retention.retaining import OTHER, builds, process, run, tags


async def test_nothing_goes_unless_it_is_enforced(world: World) -> None:
    await builds(world)
    retaining = process(world, {"newest_pushed": 2}, enforce=False)
    with pytest.raises(Unsupported, match=r"retention\.enforce is false"):
        await run(retaining)
    await retaining.if_due()
    (report,) = await retaining.reports().last(10)
    assert report.dry_run and report.tags_gone == 3 and len(await tags(world)) == 5


async def test_nothing_goes_without_rules(world: World) -> None:
    await builds(world)
    retaining = process(world)
    with pytest.raises(Unsupported, match=r"no retention\.rules"):
        await run(retaining)
    await retaining.if_due()
    assert await retaining.reports().last(10) == []


async def test_a_run_that_would_remove_too_much_of_a_prefix_stops_before_anything(world: World) -> None:
    await builds(world)
    await builds(world, 2, RepositoryName("alone"))
    retaining = process(world, {"newest_pushed": 2}, max_delete_percent=59)
    report = await run(retaining)
    assert len(await tags(world)) == 5 and report.tags_gone == 0
    (reason,) = report.stopped
    assert reason.startswith("3 of the 5 tags of team would go, 60 %, and at most 59 % may. ")
    reports = [one async for one in retaining.run("tester", EVERYWHERE, 60)]
    assert reports[-1].stopped == [] and await tags(world) == ["b3", "b4"]


async def test_a_run_may_be_about_some_repositories_alone(world: World) -> None:
    await builds(world)
    await builds(world, name=OTHER)
    await run(process(world, {"newest_pushed": 2}), RepositoryPattern("team/other"))
    assert len(await tags(world)) == 5 and len(await tags(world, OTHER)) == 2


async def test_one_process_at_a_time(world: World) -> None:
    await builds(world)
    one, other = process(world, {"newest_pushed": 2}), process(world, {"newest_pushed": 2}, who="other")
    async with one.leased.held() as step, asyncio.TaskGroup() as beside:

        async def work() -> None:
            while True:
                await step()

        working = beside.create_task(work())
        with pytest.raises(TooManyRequests, match=r"one .* is running retention already"):
            await run(other)
        await other.if_due()
        working.cancel()
    await run(other)
    assert await tags(world) == ["b3", "b4"]


async def test_the_schedule_runs_when_the_last_run_is_old_enough(world: World) -> None:
    await builds(world)
    retaining = process(world, {"newest_pushed": 2}, interval="2d")
    await retaining.if_due()
    assert await tags(world) == ["b3", "b4"]
    world.clock.advance(days=1)
    await retaining.if_due()
    assert len(await retaining.reports().last(10)) == 1
    world.clock.advance(days=1)
    await retaining.if_due()
    assert len(await retaining.reports().last(10)) == 2


async def test_a_clock_that_was_wrong_for_once_does_not_end_all_runs(world: World) -> None:
    await builds(world)
    retaining = process(world, {"newest_pushed": 9})
    world.clock.advance(days=3650)
    await retaining.if_due()
    world.clock.advance(days=-3650)
    for number in range(3):
        await retaining.if_due()
        await retaining.if_due()
        reports = await retaining.reports().last(10)
        assert reports[0].began == world.clock.now and len(reports) == number + 1
        world.clock.advance(days=1)


async def test_what_another_has_done_meanwhile_is_not_done_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = process(world, {"newest_pushed": 2}), process(world, {"newest_pushed": 2}, who="two")
    held = two.leased.held

    @asynccontextmanager
    async def late() -> AsyncIterator[Step]:
        await one.if_due()
        async with held() as step:
            yield step

    monkeypatch.setattr(two.leased, "held", late)
    await two.if_due()
    assert len(await two.reports().last(10)) == 1


async def test_nothing_goes_from_a_store_that_is_read_only(world: World) -> None:
    await builds(world)
    world.registry.read_only = True
    retaining = process(world, {"newest_pushed": 2})
    with pytest.raises(ReadOnly):
        await run(retaining)
    await retaining.if_due()
    assert len(await tags(world)) == 5


async def test_the_operations_say_how_they_ended(world: World) -> None:
    await builds(world)
    retaining = process(world, {"newest_pushed": 2}, max_delete_percent=20)
    table = {operation.name: operation for operation in operations(lambda: retaining)}

    async def ask(name: str, asked: Any, *, dry_run: bool = False) -> Result:
        context = Context("tester", dry_run=dry_run)
        outcomes = [outcome async for outcome in table[name].run(asked, context)]
        assert isinstance(outcomes[-1], Result)
        return outcomes[-1]

    assert (await ask("retention.run", Retain(), dry_run=True)).status is Status.REFUSED
    enough = Retain(max_delete_percent=Percent(100))
    assert (await ask("retention.run", enough, dry_run=True)).status is Status.DONE
    assert (await ask("retention.run", Retain())).status is Status.REFUSED
    none = await ask("retention.run", Retain(repositories=RepositoryPattern("taem/*")), dry_run=True)
    assert (none.status, none.text) == (Status.DONE, "no repository matches taem/*")
    assert isinstance(none.value, Retention) and none.value.repositories_asked == "taem/*"
    await world.push(image("one"), name=RepositoryName("other"))
    retaining = process(world, {"repositories": ["team/**"], "newest_pushed": 2}, max_delete_percent=100)
    assert not (await ask("retention.run", Retain())).text
    none = await ask("retention.run", Retain(repositories=RepositoryPattern("other")))
    assert none.text == "no rule of retention.rules is about a repository that other matches"
    with pytest.raises(ManifestUnknown, match="there is no tag team/app:nothing"):
        await ask("retention.explain", ExplainTag("team/app:nothing"))


async def test_a_store_that_becomes_read_only_stops_it_at_once(world: World) -> None:
    await builds(world)
    retaining = process(world, {"newest_pushed": 2})
    with pytest.raises(ReadOnly):
        async for report in retaining.run("tester", EVERYWHERE, None):
            world.registry.read_only = True
            assert report.ended is None
    assert len(await tags(world)) == 5
    world.registry.read_only = False
    await retaining.if_due()
    assert await tags(world) == ["b3", "b4"]


async def test_what_would_be_too_much_by_the_second_look_stays_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await builds(world, 10)
    weigh = Shares.weigh

    def flooded(self: Shares) -> None:
        weigh(self)
        self._there.clear()  # as if all of it had been pushed since

    monkeypatch.setattr(Shares, "weigh", flooded)
    report = await run(process(world, {"newest_pushed": 9}, max_delete_percent=20))
    assert len(await tags(world)) == 10 and report.stopped


async def test_one_prefix_does_not_stop_the_others(world: World) -> None:
    await builds(world, 10)
    small = RepositoryName("small/app")
    await builds(world, 2, small)
    rules = [
        {"newest_pushed": 1, "repositories": ["small/*"]},
        {"newest_pushed": 8, "repositories": ["team/*"]},
    ]
    report = await run(process(world, *rules, max_delete_percent=20))
    assert len(await tags(world)) == 8 and len(await tags(world, small)) == 2
    assert [reason.split(" would")[0] for reason in report.stopped] == ["1 of the 2 tags of small"]
