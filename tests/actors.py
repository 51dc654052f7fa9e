"""Actors whose steps can be taken one by one: real coroutines, each on its own way to a driver in memory.

A coroutine that awaits nothing but driver calls is, at any time, what the answers to its calls have made of
it.
"""

from __future__ import annotations

import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeVar

from registry.store.effects import Effects
from storage.contract import Driver
from storage.errors import StorageError
from storage.keys import parents
from storage.memory import MemoryDriver

T = TypeVar("T")
P = ParamSpec("P")
Object = tuple[bytes, datetime]
Objects = Mapping[str, Object]
"""What a driver holds, by key."""
Changes = tuple[tuple[str, Object | None], ...]
"""What keys hold after a step; None where it is nothing."""
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Died(BaseException):
    """An actor's process has been killed: nothing that it still does has any effect."""


@types.coroutine
def _pause() -> Generator[None, None, None]:
    yield


class Shelf(MemoryDriver):
    """A driver in memory of which all that it holds can be looked at and exchanged."""

    def holding(self) -> Objects:
        """All that it holds."""
        return dict(self._objects)

    def hold(self, objects: Objects) -> None:
        """Hold this instead."""
        self._objects = dict(objects)
        self._sorted = None
        self._below = {}
        for key in objects:
            for prefix in parents(key):
                self._below[prefix] = self._below.get(prefix, 0) + 1


@dataclass(frozen=True)
class Touch:
    """What a step reads or writes: keys, and (a list) all below a prefix."""

    keys: tuple[str, ...] = ()
    prefix: str | None = None
    writes: bool = False

    def meets(self, other: Touch) -> bool:
        """Whether the order of the two makes a difference."""
        if not (self.writes or other.writes):
            return False
        return self._covers(other) or other._covers(self)

    def _covers(self, other: Touch) -> bool:
        if self.prefix is not None and any(key.startswith(f"{self.prefix}/") for key in other.keys):
            return True
        return not set(self.keys).isdisjoint(other.keys)

    def found(self, objects: Objects) -> object:
        """What it finds there."""
        found: list[object] = [objects.get(key) for key in self.keys]
        if self.prefix is not None:
            below = f"{self.prefix}/"
            found += sorted(item for item in objects.items() if item[0].startswith(below))
        return tuple(found)

    def left(self, objects: Objects) -> Changes:
        """What it has made of what it writes to."""
        return tuple((key, objects.get(key)) for key in self.keys) if self.writes else ()


class Watched(Driver):
    """One actor's way to the driver: each call is a step, and what it answers is noted."""

    def __init__(self, inner: Shelf, name: str) -> None:
        self._inner = inner
        self.name = name
        self.heard = hash(name)
        self.next: Touch | None = None
        self.dead = False
        self._recalled: dict[str, Callable[[Object | None], None]] = {}

    @property
    def epoch(self) -> str | None:
        return self._inner.epoch

    def recall(self, key: str, told: Callable[[Object | None], None]) -> None:
        """What lies under the key is in the memory of the actor's process: it is `told` in each step.

        Whoever is told has to say what is heard of it.
        """
        self._recalled[key] = told

    async def _step(self, touch: Touch) -> None:
        if self.dead:
            raise Died
        self.next = replace(touch, keys=(*touch.keys, *self._recalled)) if self._recalled else touch
        await _pause()
        if self.dead:
            raise Died
        for key, told in self._recalled.items():
            told(self._inner.holding().get(key))

    def hear(self, answer: object) -> None:
        """Note an answer of which it depends what the actor does."""
        self.heard = hash((self.heard, repr(answer)))

    async def _call(self, call: Coroutine[Any, Any, T], *keys: str, writes: bool = False) -> T:
        return await self._make(call, Touch(keys, writes=writes))

    async def _make(self, call: Coroutine[Any, Any, T], touch: Touch) -> T:
        try:
            await self._step(touch)
            answer = await call
        except BaseException as error:
            call.close()
            self.hear(type(error))
            raise
        self.hear(answer)
        return answer

    async def get(self, key: str, *, limit: int) -> bytes:
        return await self._call(self._inner.get(key, limit=limit), key)

    async def put(self, key: str, data: bytes, *, if_absent: bool = False, durable: bool = True) -> None:
        await self._call(self._inner.put(key, data, if_absent=if_absent, durable=durable), key, writes=True)

    @asynccontextmanager
    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[Any]:
        await self._step(Touch((key,)))
        try:
            async with self._inner.open(key, start, end) as opened:
                self.hear(opened.info)
                yield opened
        except StorageError as error:
            self.hear(type(error))
            raise

    async def write(self, key: str, chunks: Any, **how: Any) -> int:
        return await self._call(self._inner.write(key, chunks, **how), key, writes=True)

    async def compose(self, key: str, sources: Any, *, size: int) -> None:
        await self._call(self._inner.compose(key, sources, size=size), key, *sources, writes=True)

    async def copy(self, key: str, source: str) -> None:
        await self._call(self._inner.copy(key, source), key, source, writes=True)

    async def stat(self, key: str) -> Any:
        return await self._call(self._inner.stat(key), key)

    async def children(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        listing = self._inner.children(prefix, after=after, limit=limit)
        return await self._make(listing, Touch(prefix=prefix))

    async def walk(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        await self._step(Touch(prefix=prefix))
        async for key in self._inner.walk(prefix, after=after):
            self.hear(key)
            yield key
            await self._step(Touch(prefix=prefix))
        self.hear(None)

    async def delete(self, keys: Any, *, durable: bool = True) -> None:
        await self._call(self._inner.delete(keys, durable=durable), *keys, writes=True)


def named_effects(name: str, now: datetime) -> Effects:
    """Effects of one actor: time stands still, and its identifiers are its own."""
    count = 0

    def unique() -> str:
        nonlocal count
        count += 1
        return f"{name}-{count}"

    async def together(coroutines: Iterable[Coroutine[Any, Any, T]], /) -> list[T]:
        return [await coroutine for coroutine in coroutines]

    async def aside(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    return Effects(now=lambda: now, unique=unique, together=together, aside=aside, turn=nullcontext)


@dataclass
class Situation:
    """A fresh start: what lies there, who acts, and what must hold.

    `always` is looked at after each step, `finally_` when all have ended or died (`died` names those); both
    raise when it does not hold.
    """

    driver: Shelf
    actors: Mapping[str, Callable[[Watched], Coroutine[Any, Any, Any]]]
    always: Callable[[], None]
    finally_: Callable[[frozenset[str]], None]
    mortal: frozenset[str] = frozenset()
    results: dict[str, object] = field(default_factory=dict)


def at(day: float) -> datetime:
    """The time, so many days after the beginning."""
    return BEGIN + timedelta(days=day)
