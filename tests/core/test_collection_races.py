"""Collection beside whoever else acts: every order of their steps, and a death of either at each of them.

What a client was told is there can be read at every moment and after any number of collections. How many
states there were is printed. Each clause of the protocol (ARCHITECTURE.md, "Removing things") is left out
once, which must be noticed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from registry.core.references import References
from registry.model.digests import Digest
from registry.removal.collector import Collector
from registry.removal.intents import Intents
from registry.removal.mark import short
from registry.removal.runs import Move
from registry.removal.trash import Trash
from registry.store import layout
from registry.upkeep.collection import Rules
from tests.core import yard
from tests.core.acts import collecting, deleting, mounting, pushing, pushing_together, tried, uploading
from tests.core.yard import Act, Prepare, all_in_the_trash, an_older_image, nothing_else

pytestmark = pytest.mark.exhaustive

BESIDE = [
    (pushing, nothing_else),
    (pushing, all_in_the_trash),
    (pushing_together, nothing_else),
    (pushing_together, all_in_the_trash),
    (uploading, all_in_the_trash),
    (mounting, nothing_else),
    (mounting, all_in_the_trash),
    (deleting, an_older_image),
    (collecting, nothing_else),
    (collecting, all_in_the_trash),
]


@pytest.mark.parametrize(("act", "prepare"), BESIDE)
def test_beside_a_collection_each_keeps_what_it_was_told(act: Act, prepare: Prepare) -> None:
    """trap 79"""
    assert tried(act, collecting, prepare=prepare).states > 1000


# One clause left out each.


def verify_before_intent(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    open_, check = Intents.open, References.check

    async def late(self: Intents, *what: Any) -> str:
        opened[:] = [self, what]
        return "late"

    async def check_first(self: References, *what: Any, **how: Any) -> None:
        await check(self, *what, **how)
        await open_(opened[0], *opened[1])

    monkeypatch.setattr(Intents, "open", late)
    monkeypatch.setattr(References, "check", check_first)


def links_before_intents(monkeypatch: pytest.MonkeyPatch) -> None:
    async def reversed_(self: Collector, name: Any, needed: Any) -> None:
        manifests = [digest async for digest in self._store.links.manifests(name)]
        await self.mark.read(name, manifests, needed, self._step)
        needed.need(short(one) for one in await self._intents.needed(name))

    monkeypatch.setattr(Collector, "_look_again", reversed_)


def no_intents(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(self: Intents, *_: Any) -> set[Digest]:
        return set()

    monkeypatch.setattr(Intents, "needed", nobody)
    monkeypatch.setattr(Intents, "needed_anywhere", nobody)


def no_second_look_at_links(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(self: Collector, *_: Any) -> None:
        pass

    monkeypatch.setattr(Collector, "_look_again", none)


def no_second_look_at_data(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Collector, _: set[int]) -> set[int]:
        return set()

    monkeypatch.setattr(Collector, "_needed", nothing)


def put_back_that_consumes(monkeypatch: pytest.MonkeyPatch) -> None:
    link, data = Collector._put_back_link, Trash.put_back_data

    async def link_and_lose(self: Collector, move: Move) -> None:
        await link(self, move)
        await self._driver.delete([move.trash])

    async def data_and_lose(self: Trash, digest: Digest) -> bool:
        back = await data(self, digest)
        copies = await self._driver.children(layout.trash_data(digest))
        await self._driver.delete([f"{layout.trash_data(digest)}/{copy}" for copy in copies])
        return back

    monkeypatch.setattr(Collector, "_put_back_link", link_and_lose)
    monkeypatch.setattr(Trash, "put_back_data", data_and_lose)


def emptied_without_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Collector.tidy_trash

    async def blind(self: Collector, due: Any) -> Any:
        async def nothing(_: set[int]) -> set[int]:
            return set()

        monkeypatch.setattr(self, "_needed", nothing)
        return await whole(self, due)

    monkeypatch.setattr(Collector, "tidy_trash", blind)


def no_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    hasty = Rules(timedelta(hours=1), timedelta(seconds=-1), None)
    monkeypatch.setattr(yard, "RULES", hasty)
    monkeypatch.setattr("registry.upkeep.collection.FLOOR", timedelta(seconds=-1))
    monkeypatch.setattr("registry.upkeep.collection.overdue.__kwdefaults__", {"floor": timedelta(seconds=-1)})


def no_reading_from_the_trash(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(self: Trash, *_: Any) -> None:
        return None

    monkeypatch.setattr(Trash, "data_key", none)


def no_reading_of_links_in_the_trash(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(self: Trash, *_: Any) -> None:
        return None

    monkeypatch.setattr(Trash, "layer", none)


@pytest.mark.parametrize(
    ("leave_out", "act", "prepare"),
    [
        (verify_before_intent, pushing, nothing_else),
        (links_before_intents, pushing, nothing_else),
        (no_intents, pushing, nothing_else),
        (no_second_look_at_links, pushing, nothing_else),
        (no_second_look_at_data, uploading, nothing_else),
        (emptied_without_a_look, uploading, nothing_else),
        (no_reading_from_the_trash, uploading, nothing_else),
        (no_reading_of_links_in_the_trash, pushing, nothing_else),
    ],
)
def test_each_clause_is_needed(
    monkeypatch: pytest.MonkeyPatch,
    leave_out: Callable[[pytest.MonkeyPatch], None],
    act: Act,
    prepare: Prepare,
) -> None:
    leave_out(monkeypatch)
    with pytest.raises(Exception) as missed:
        tried(act, collecting, prepare=prepare)
    assert any(note.startswith("by way of") for note in missed.value.__notes__)


@pytest.mark.parametrize("leave_out", [put_back_that_consumes, no_floor])
def test_each_clause_is_needed_beside_two_collections(
    monkeypatch: pytest.MonkeyPatch, leave_out: Callable[[pytest.MonkeyPatch], None]
) -> None:
    leave_out(monkeypatch)
    with pytest.raises(Exception) as missed:
        tried(pushing, collecting, collecting, prepare=nothing_else, mortal="", preemptions=2)
    assert any(note.startswith("by way of") for note in missed.value.__notes__)
