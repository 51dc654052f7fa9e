"""Who mirrors, or evicts, by hand is told whom it waits for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from registry.mirror import eviction_operations, operations
from registry.mirror.evicting import Evicting
from registry.mirror.mirrors import Mirrors
from registry.mirror.syncing import Syncing
from registry.work.operations import Context, Operations, Progress, Result
from tests.mirror.shelf import Around

Steps = AsyncGenerator[Progress | Result, None]


@pytest.mark.parametrize("name", ["mirror.sync", "mirror.evict"])
async def test_who_may_have_died_is_named_before_anything_else(
    around: Callable[..., Around], name: str
) -> None:
    settings: dict[str, Any] = {"sync": [{"repositories": ["library/app"]}], "max_size": "1GiB"}
    hub = around(**settings)
    registry, mirror = hub.world.registry, hub.mirror

    @asynccontextmanager
    async def opened() -> AsyncIterator[Mirrors]:
        yield cast(Mirrors, SimpleNamespace(each=[mirror]))

    async def nothing() -> Any:
        raise AssertionError("not asked for while it waits")

    dead: Syncing | Evicting = Syncing(registry, mirror, who="dead")
    if name == "mirror.evict":
        dead = Evicting(registry, mirror.settings, who="dead", in_use=nothing)
    assert await dead.leased.lease().acquire()
    table = Operations(
        [
            *operations.operations(lambda: registry, [mirror.settings], opened, "one"),
            *eviction_operations.operations(lambda: registry, [mirror.settings], nothing, "one"),
        ]
    )
    run = cast(Steps, table[name].run(table[name].input(), Context("operator")))
    step = await anext(run)
    assert isinstance(step, Progress) and step.unit == "seconds"
    assert step.text.startswith("dead (") and "last heard of" in step.text
    await run.aclose()
