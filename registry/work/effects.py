"""The world as a serving process has it: the system's clock and chance, an event loop and its threads."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, ParamSpec, TypeVar

from registry.errors import Unavailable
from registry.store.effects import Effects

T = TypeVar("T")
P = ParamSpec("P")

_IN_A_ROW = 64  # coroutines awaited before other requests get a turn
_READ_AT_ONCE = 8  # manifests
_PATIENCE_SECONDS = 10.0


def serving_effects(executor: ThreadPoolExecutor) -> Effects:
    """Effects on the running event loop; slow pure functions go to `executor`."""

    async def aside(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, partial(function, *args, **kwargs))

    return Effects(
        now=lambda: datetime.now(UTC),
        unique=lambda: str(uuid.uuid4()),
        together=in_turn,
        aside=aside,
        turn=Turns(_READ_AT_ONCE, _PATIENCE_SECONDS),
    )


def bounded_effects(effects: Effects, at_once: int = 16) -> Effects:
    """The same effects, but several coroutines go on together, so many `at_once`.

    They take no turns from those who answer requests.
    """

    async def together(coroutines: Iterable[Coroutine[Any, Any, T]], /) -> list[T]:
        turns = asyncio.Semaphore(at_once)

        async def in_time(coroutine: Coroutine[Any, Any, T]) -> T:
            async with turns:
                return await coroutine

        pending = list(coroutines)
        ends = await asyncio.gather(*map(in_time, pending), return_exceptions=True)
        for coroutine in pending:
            coroutine.close()
        results: list[T] = []
        for end in ends:
            if isinstance(end, BaseException):
                raise end
            results.append(end)
        return results

    return replace(effects, together=together, turn=nullcontext)


class Turns:
    """At most `most` at once; who has waited for `patience_seconds` is sent away with Unavailable."""

    def __init__(self, most: int, patience_seconds: float) -> None:
        self._free = asyncio.Semaphore(most)
        self._most = most
        self._patience = patience_seconds

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        """One turn."""
        try:
            async with asyncio.timeout(self._patience):
                await self._free.acquire()
        except TimeoutError:
            raise Unavailable(
                f"the storage is slow to give {self._most} manifests that others wait for; try again shortly",
                headers={"Retry-After": "5"},
            ) from None
        try:
            yield
        finally:
            self._free.release()


async def in_turn(coroutines: Iterable[Coroutine[Any, Any, T]], /) -> list[T]:
    """Await one after the other: a local disk's small reads end at once, and a task each costs more."""
    pending = iter(coroutines)
    results: list[T] = []
    try:
        for coroutine in pending:
            results.append(await coroutine)
            if len(results) % _IN_A_ROW == 0:
                await asyncio.sleep(0)
    finally:
        for left in pending:
            left.close()
    return results
