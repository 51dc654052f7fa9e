"""The world as a serving process has it: the system's clock and chance, an event loop and its threads."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, ParamSpec, TypeVar

from registry.store.effects import Effects

T = TypeVar("T")
P = ParamSpec("P")

_TURN = 64  # coroutines awaited before other requests get a turn


def serving_effects(executor: ThreadPoolExecutor) -> Effects:
    """Effects on the running event loop; slow pure functions go to `executor`."""

    async def aside(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, partial(function, *args, **kwargs))

    return Effects(
        now=lambda: datetime.now(UTC), unique=lambda: str(uuid.uuid4()), together=in_turn, aside=aside
    )


async def in_turn(coroutines: Iterable[Coroutine[Any, Any, T]], /) -> list[T]:
    """Await one after the other: a local disk's small reads end at once, and a task each costs more."""
    pending = iter(coroutines)
    results: list[T] = []
    try:
        for coroutine in pending:
            results.append(await coroutine)
            if len(results) % _TURN == 0:
                await asyncio.sleep(0)
    finally:
        for left in pending:
            left.close()
    return results
