"""Who has upkeep done by hand is told whom it waits for, and whoever looks, that it may have died."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from registry.errors import Unsupported
from registry.upkeep import gc_operations, scrub_operations, usage_operations
from registry.upkeep.collecting import Collecting
from registry.upkeep.counting import Counting
from registry.upkeep.retention import operations as retention_operations
from registry.upkeep.retention.retaining import Retaining
from registry.upkeep.scrubbing import Scrubbing
from registry.upkeep.settings import UpkeepSettings
from registry.work.leased import Leased
from registry.work.operations import Context, Operation, Progress, Result
from tests.inmemory import World

Steps = AsyncGenerator[Progress | Result, None]
RULES = [{"repositories": ["**"], "newest_pushed": 1}]


def upkeep(world: World, who: str, *, enforce: bool = True) -> tuple[dict[str, Operation[Any]], list[Leased]]:
    """What a process offers, and its leases."""
    settings = UpkeepSettings.model_validate({"retention": {"rules": RULES, "enforce": enforce}})

    def registry() -> Any:
        return world.registry

    collecting = Collecting(registry, settings, who=who)
    scrubbing = Scrubbing(registry, settings.scrub, who=who, scheduled=True)
    counting = Counting(registry, settings.usage, who=who)
    retaining = Retaining(registry, settings, who=who)
    offered = [
        *gc_operations.operations(lambda: collecting),
        *scrub_operations.operations(lambda: scrubbing),
        *usage_operations.operations(lambda: counting),
        *retention_operations.operations(lambda: retaining),
    ]
    leases = [collecting.leased, scrubbing.leased, counting.leased, retaining.leased]
    return {one.name: one for one in offered}, leases


def steps(operation: Operation[Any], *given: Any, dry_run: bool = False) -> Steps:
    return cast(Steps, operation.run(operation.input(*given), Context("operator", dry_run)))


RUNS = ["gc.run", "scrub.run", "usage.count", "retention.run"]


@pytest.mark.parametrize("name", RUNS)
async def test_who_may_have_died_is_named_before_anything_else(name: str) -> None:
    world = World()
    for lease in upkeep(world, "dead")[1]:
        assert await lease.lease().acquire()
    operation = upkeep(world, "one")[0][name]
    run = steps(operation)
    step = await anext(run)
    assert isinstance(step, Progress) and (step.unit, step.total) == ("seconds", 60)
    assert step.text.startswith("dead (") and "or has died: last heard of 2026-01-01 00:00:00" in step.text
    await run.aclose()
    if operation.rehearses:
        async for one in steps(operation, dry_run=True):
            assert isinstance(one, Result) or one.unit != "seconds"


async def test_what_is_refused_anyway_does_not_wait() -> None:
    world = World()
    for lease in upkeep(world, "dead")[1]:
        assert await lease.lease().acquire()
    with pytest.raises(Unsupported, match=r"retention\.enforce is false"):
        await anext(steps(upkeep(world, "one", enforce=False)[0]["retention.run"]))


@pytest.mark.parametrize("name", ["gc.status", "scrub.status", "retention.status"])
async def test_a_status_tells_since_when_its_holder_is_silent(name: str) -> None:
    world = World()
    for lease in upkeep(world, "dead")[1]:
        assert await lease.lease().acquire()

    async def shown() -> Any:
        result = await anext(steps(upkeep(world, "one")[0][name]))
        assert isinstance(result, Result)
        return result.value

    assert "died" not in (await shown()).told()
    world.clock.advance(minutes=5)
    value = await shown()
    assert value.holder.startswith("dead (") and value.silent_seconds == 300
    assert "heard of 5m ago; it seems to have died" in value.told()
