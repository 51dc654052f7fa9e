"""Drives real coroutines through every interleaving of their driver calls, up to a number of preemptions.

Core awaits nothing but the driver and its effects, so a coroutine can be run from one driver call to the next
by hand. A schedule is replayed from a fresh world each time; at each call another actor may go on instead.
"""

from __future__ import annotations

import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeVar

from registry.store.effects import Effects
from storage.contract import Driver

T = TypeVar("T")
P = ParamSpec("P")
Actor = Coroutine[Any, Any, Any]


@types.coroutine
def _pause() -> Generator[None, None, None]:
    """Hands control to the explorer."""
    yield


class PausingDriver:
    """A driver that hands control to the explorer before each call, and at each step of a walk."""

    def __init__(self, inner: Driver) -> None:
        self._inner = inner

    @property
    def epoch(self) -> str | None:
        return self._inner.epoch

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            await _pause()
            return await method(*args, **kwargs)

        return call

    def open(self, key: str, start: int = 0, end: int | None = None) -> Any:
        return self._inner.open(key, start, end)

    async def walk(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        await _pause()
        async for key in self._inner.walk(prefix, after=after):
            yield key
            await _pause()


class Killed(BaseException):
    """The process of an actor was killed: nothing of it runs any more, however it ends."""


class MortalDriver(PausingDriver):
    """A driver of one process that is killed before the call of a number (None: never)."""

    def __init__(self, inner: Driver, killed_at: int | None) -> None:
        super().__init__(inner)
        self._left = killed_at

    @property
    def alive(self) -> bool:
        """Whether it has come to its end."""
        return self._left is None or self._left > 0

    def __getattr__(self, name: str) -> Any:
        call = super().__getattr__(name)

        async def mortal(*args: Any, **kwargs: Any) -> Any:
            self._live()
            return await call(*args, **kwargs)

        return mortal

    async def walk(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        self._live()
        async for key in super().walk(prefix, after=after):
            yield key

    def _live(self) -> None:
        if not self.alive:
            raise Killed
        if self._left is not None:
            self._left -= 1


def counted_effects() -> Effects:
    """Effects without time or chance: the clock ticks at each look, identifiers count up."""
    ticks = 0

    def tick() -> int:
        nonlocal ticks
        ticks += 1
        return ticks

    async def together(coroutines: Iterable[Coroutine[Any, Any, T]], /) -> list[T]:
        return [await coroutine for coroutine in coroutines]

    async def aside(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    start = datetime(2026, 1, 1, tzinfo=UTC)
    return Effects(
        now=lambda: start + timedelta(milliseconds=tick()),
        unique=lambda: f"00000000-0000-4000-8000-{tick():012x}",
        together=together,
        aside=aside,
        turn=nullcontext,
    )


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run one coroutine to its end, alone."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result


def explore(world: Callable[[], tuple[list[Actor], Callable[[], None]]], *, preemptions: int) -> int:
    """Try every schedule with at most `preemptions` switches away from an actor that could go on.

    `world` makes a fresh world: its actors, and what must hold when all have ended (it raises otherwise, with
    the schedule added to what it raises). How many schedules were tried.
    """
    pending: list[tuple[list[int], int]] = [([], 0)]
    tried = 0
    while pending:
        prefix, used = pending.pop()
        tried += 1
        actors, verify = world()
        alive = dict(enumerate(actors))
        schedule: list[int] = []
        current = -1
        while alive:
            if len(schedule) < len(prefix):
                choice = prefix[len(schedule)]
            else:
                choice = current if current in alive else min(alive)
                cost = 1 if current in alive else 0
                if used + cost <= preemptions:
                    pending.extend(([*schedule, other], used + cost) for other in alive if other != choice)
            schedule.append(choice)
            current = choice
            try:
                alive[choice].send(None)
            except StopIteration:
                del alive[choice]
            except BaseException as error:
                error.add_note(f"schedule: {schedule}")
                raise
        try:
            verify()
        except BaseException as error:
            error.add_note(f"schedule: {schedule}")
            raise
    return tried
