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
_ENDING = (asyncio.CancelledError, KeyboardInterrupt, SystemExit)


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
        pending = list(coroutines)
        results: dict[int, T] = {}
        errors: dict[int, BaseException] = {}
        numbered = iter(enumerate(pending))

        async def one_after_the_other() -> None:
            # A task for each would cost more than many of them do.
            for number, coroutine in numbered:
                try:
                    results[number] = await coroutine
                except BaseException as error:
                    errors[number] = error
                    if isinstance(error, _ENDING):
                        raise

        workers = (one_after_the_other() for _ in range(min(at_once, len(pending))))
        try:
            await asyncio.gather(*workers, return_exceptions=True)
        finally:
            for coroutine in pending:
                coroutine.close()
        if errors:
            raise errors[min(errors)]
        return [results[number] for number in range(len(pending))]

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
