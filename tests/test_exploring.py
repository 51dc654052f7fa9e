"""An exploration brings about whatever any order of steps and deaths does, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

import pytest

from storage.errors import StorageError
from tests.actors import BEGIN, Shelf, Situation, Watched
from tests.exploring import explore

pytestmark = pytest.mark.exhaustive

KEYS = ("a/1", "a/2", "b/1", "b/2")
Plan = Sequence[tuple[str, str]]
End = tuple[tuple[tuple[str, bytes], ...], tuple[tuple[str, object], ...], frozenset[str]]


async def acting(driver: Watched, plan: Plan) -> str:
    """Do what was drawn; what is written, and where, depends on what was read before."""
    heard: list[object] = []
    for call, key in plan:
        with suppress(StorageError):
            if call == "get":
                heard.append(await driver.get(key, limit=1000))
            elif call == "put":
                await driver.put(key, f"{driver.name}{len(heard)}".encode())
            elif call == "claim":
                await driver.put(key, driver.name.encode(), if_absent=True)
                heard.append("won")
            elif call == "copy":
                await driver.copy(KEYS[len(heard) % 4], key)
            elif call == "delete":
                await driver.delete([key])
            elif call == "walk":
                heard += [one async for one in driver.walk(key[0])]
    return f"{driver.name} heard {heard}"


def drawn(chance: random.Random, length: int) -> Plan:
    calls = ("get", "put", "claim", "copy", "delete", "walk")
    return [(chance.choice(calls), chance.choice(KEYS)) for _ in range(length)]


def situation(plans: dict[str, Plan], mortal: frozenset[str], ends: set[End]) -> Situation:
    shelf = Shelf(clock=lambda: BEGIN)
    shelf.hold({"a/1": (b"there", BEGIN)})

    def actor(plan: Plan) -> Callable[[Watched], Coroutine[Any, Any, object]]:
        return lambda driver: acting(driver, plan)

    def note(died: frozenset[str]) -> None:
        ends.add(end_of(made, died))

    actors = {name: actor(plan) for name, plan in plans.items()}
    made = Situation(shelf, actors, lambda: None, note, mortal)
    return made


def end_of(made: Situation, died: frozenset[str]) -> End:
    objects = tuple(sorted((key, data) for key, (data, _) in made.driver.holding().items()))
    return objects, tuple(sorted(made.results.items())), died


def one_by_one(plans: dict[str, Plan], mortal: frozenset[str]) -> set[End]:
    """What all orders bring about, each gone by itself and to its end."""
    ends: set[End] = set()
    pending: list[list[str]] = [[]]
    while pending:
        way = pending.pop()
        made = situation(plans, mortal, set())
        watched = {name: Watched(made.driver, name) for name in plans}
        alive = {name: act(watched[name]) for name, act in made.actors.items()}
        died: set[str] = set()

        def step(name: str) -> None:
            try:
                alive[name].send(None)  # noqa: B023 - it is called in this round alone
            except StopIteration as end:
                made.results[name] = end.value  # noqa: B023
                del alive[name]  # noqa: B023

        for name in plans:
            step(name)
        for choice in way:
            if choice.endswith("!"):
                alive.pop(choice[:-1]).close()
                died.add(choice[:-1])
            else:
                step(choice)
        if not alive:
            ends.add(end_of(made, frozenset(died)))
        pending += [[*way, name] for name in alive]
        pending += [[*way, f"{name}!"] for name in alive if name in mortal and not died]
        for actor in alive.values():
            actor.close()
    return ends


@pytest.mark.parametrize("seed", range(60))
def test_it_comes_to_the_same_ends_as_all_orders_gone_one_by_one(seed: int) -> None:
    chance = random.Random(seed)
    number = chance.choice((2, 2, 3))
    plans = {name: drawn(chance, 3 if number == 2 else 2) for name in "abc"[:number]}
    mortal = frozenset(plans) if number == 2 else frozenset()
    ends: set[End] = set()
    made = explore(lambda: situation(plans, mortal, ends))
    assert ends == one_by_one(plans, mortal)
    assert made.ends == len(ends)
