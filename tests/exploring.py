"""Every interleaving of real coroutines over a driver in memory, states that were seen before left out.

A coroutine that awaits nothing but driver calls is, at any time, what the answers to its calls have made of
it. So a state of the whole is: what lies in the driver, and for each actor the answers that it has got. Each
state is entered once, whichever way led there, and at each every actor may take its next step, or die.

A step is taken at once, and alone, where what it touches is touched by no other actor in a way that matters:
its order among the others' steps makes no difference then, and only a death may come before it. Who touches
what is learnt on the way; the exploration begins anew when more of it is known than was believed.
"""

from __future__ import annotations

import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeVar

from registry.store.effects import Effects
from storage.contract import Driver
from storage.memory import MemoryDriver

T = TypeVar("T")
P = ParamSpec("P")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Died(BaseException):
    """An actor's process has been killed: nothing that it still does has any effect."""


@types.coroutine
def _pause() -> Generator[None, None, None]:
    yield


class Shelf(MemoryDriver):
    """A driver in memory that knows at any time what it holds, as one number."""

    content = 0

    def _store(self, key: str, data: bytes, if_absent: bool) -> None:
        before = self._objects.get(key)
        super()._store(key, data, if_absent)
        if self._objects[key] is not before:
            self.content ^= hash((key, before)) ^ hash((key, self._objects[key]))

    async def delete(self, keys: Sequence[str], *, durable: bool = True) -> None:
        for key in {*keys} & self._objects.keys():
            self.content ^= hash((key, self._objects[key])) ^ hash((key, None))
        await super().delete(keys, durable=durable)


@dataclass(frozen=True)
class Touch:
    """What a step reads or writes: keys, or (a list) all below a prefix."""

    keys: tuple[str, ...] = ()
    prefix: str | None = None
    writes: bool = False

    def meets(self, other: Touch) -> bool:
        """Whether the order of the two makes a difference."""
        if not (self.writes or other.writes):
            return False
        return self._covers(other) or other._covers(self)

    def _covers(self, other: Touch) -> bool:
        if self.prefix is not None:
            return any(key.startswith(f"{self.prefix}/") for key in other.keys)
        return not set(self.keys).isdisjoint(other.keys)


class Watched(Driver):
    """One actor's way to the driver: each call is a step, and what it answers is noted."""

    def __init__(self, inner: MemoryDriver, name: str) -> None:
        self._inner = inner
        self.name = name
        self.heard = hash(name)
        self.next: Touch | None = None
        self.dead = False

    @property
    def epoch(self) -> str | None:
        return self._inner.epoch

    async def _step(self, touch: Touch) -> None:
        if self.dead:
            raise Died
        self.next = touch
        await _pause()
        if self.dead:
            raise Died

    def _hear(self, answer: object) -> None:
        self.heard = hash((self.heard, repr(answer)))

    async def _call(self, call: Coroutine[Any, Any, T], *keys: str, writes: bool = False) -> T:
        return await self._make(call, Touch(keys, writes=writes))

    async def _make(self, call: Coroutine[Any, Any, T], touch: Touch) -> T:
        try:
            await self._step(touch)
            answer = await call
        except BaseException as error:
            call.close()
            self._hear(type(error))
            raise
        self._hear(answer)
        return answer

    async def get(self, key: str, *, limit: int) -> bytes:
        return await self._call(self._inner.get(key, limit=limit), key)

    async def put(self, key: str, data: bytes, *, if_absent: bool = False, durable: bool = True) -> None:
        await self._call(self._inner.put(key, data, if_absent=if_absent, durable=durable), key, writes=True)

    @asynccontextmanager
    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[Any]:
        await self._step(Touch((key,)))
        async with self._inner.open(key, start, end) as opened:
            self._hear(opened.info)
            yield opened

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
            self._hear(key)
            yield key
            await self._step(Touch(prefix=prefix))
        self._hear(None)

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


@dataclass
class Explored:
    """How many states there were, and how many of them were ends."""

    states: int = 0
    ends: int = 0


class _Touches:
    """What is known so far of what each actor touches."""

    def __init__(self) -> None:
        self.of: dict[str, set[Touch]] = {}
        self.believed: set[tuple[str, Touch]] = set()

    def add(self, name: str, touch: Touch) -> None:
        self.of.setdefault(name, set()).add(touch)

    def is_alone(self, name: str, touch: Touch) -> bool:
        """Whether no other actor is known to touch anything by which the order would matter."""
        if (name, touch) in self.believed:
            return True
        if self._meets(name, touch):
            return False
        self.believed.add((name, touch))
        return True

    def held(self) -> bool:
        """Whether what was believed is still so; what is not, is believed no more."""
        wrong = {(name, touch) for name, touch in self.believed if self._meets(name, touch)}
        self.believed -= wrong
        return not wrong

    def _meets(self, name: str, touch: Touch) -> bool:
        return any(
            touch.meets(other) for actor, touches in self.of.items() if actor != name for other in touches
        )


class _Play:
    """One situation on its way."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        self.watched = {name: Watched(situation.driver, name) for name in situation.actors}
        self.alive = {name: act(self.watched[name]) for name, act in situation.actors.items()}
        self.died: frozenset[str] = frozenset()
        for name in situation.actors:
            self.do(name)  # up to its first call, which it has not made then

    def do(self, choice: str) -> None:
        """`name`: that one takes a step. `name†`: it dies."""
        name = choice.removesuffix("†")
        actor = self.alive[name]
        try:
            if choice.endswith("†"):
                self.watched[name].dead = True
                self.died |= {name}
                actor.throw(Died())
            else:
                actor.send(None)
        except StopIteration as end:
            self.situation.results[name] = end.value
            del self.alive[name]
        except Died:
            del self.alive[name]

    def choices(self, touches: _Touches) -> list[str]:
        mortal = [f"{name}†" for name in self.alive if name in self.situation.mortal and not self.died]
        for name in self.alive:
            touch = self.watched[name].next
            assert touch is not None
            touches.add(name, touch)
        for name in self.alive:
            touch = self.watched[name].next
            assert touch is not None
            if touches.is_alone(name, touch):
                return [name, *(death for death in mortal if death == f"{name}†")]
        return [*self.alive, *mortal]

    def state(self) -> object:
        ways = tuple(
            (watched.heard, name in self.alive, name in self.died) for name, watched in self.watched.items()
        )
        return self.situation.driver.content, ways

    def close(self) -> None:
        for name, actor in self.alive.items():
            self.watched[name].dead = True
            with suppress(Died, StopIteration):
                actor.throw(Died())


def explore(make: Callable[[], Situation], *, preemptions: int | None = None) -> Explored:
    """Enter every state that the actors of a situation can bring about.

    With `preemptions` an actor that could go on makes way for another at most so often. What raises is told
    with its way there.
    """
    touches = _Touches()
    while True:
        explored = _explore(make, touches, preemptions)
        if touches.held():
            return explored


def _explore(make: Callable[[], Situation], touches: _Touches, preemptions: int | None) -> Explored:
    explored = Explored()
    # With how many preemptions a state was entered: with fewer, more can be done from there.
    seen: dict[object, int] = {}
    pending: list[tuple[list[str], int]] = [([], 0)]
    while pending:
        way, used = pending.pop()
        play = _Play(make())
        try:
            for choice in way:
                play.do(choice)
            while seen.get(state := _key(play, way, preemptions), used + 1) > used:
                explored.states += state not in seen
                seen[state] = used
                play.situation.always()
                if not play.alive:
                    explored.ends += 1
                    play.situation.finally_(play.died)
                    break
                first, *others = _in_turn(play.choices(touches), way)
                for other in others:
                    cost = used + _preempts(play, way, other)
                    if preemptions is None or cost <= preemptions:
                        pending.append(([*way, other], cost if preemptions is not None else 0))
                way = [*way, first]
                play.do(first)
        except BaseException as error:
            error.add_note("by way of: " + " ".join(way))
            raise
        finally:
            play.close()
    return explored


def _key(play: _Play, way: list[str], preemptions: int | None) -> object:
    # Whose turn it was makes a difference only where making way is counted.
    return play.state() if preemptions is None else (play.state(), way[-1] if way else "")


def _in_turn(choices: list[str], way: list[str]) -> list[str]:
    """Whoever went last goes on first."""
    return sorted(choices, key=lambda choice: choice != way[-1]) if way else choices


def _preempts(play: _Play, way: list[str], choice: str) -> bool:
    return bool(way) and way[-1] in play.alive and choice.removesuffix("†") != way[-1]


def at(day: float) -> datetime:
    """The time, so many days after the beginning."""
    return BEGIN + timedelta(days=day)
