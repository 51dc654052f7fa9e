"""Runs: what each removal has taken, recorded before it takes anything, under a name never used twice."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from registry.errors import NameInvalid, Unsupported
from registry.model.names import RepositoryName
from registry.removal.trash import BY_USER
from registry.store import layout
from registry.store.effects import Effects
from storage.contract import Driver, exists
from storage.errors import NotFound, TooLarge

LIMIT = 64 << 20  # bytes; a link, a manifest that lies whole in one object, or what a run took


@dataclass(frozen=True, slots=True)
class Move:
    """An object, and where it lies in the trash; its size is known of data alone."""

    key: str
    trash: str
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """What a removal has taken, or was about to take; data (no `repository`) belongs to the whole store.

    With `whole` it was all that the repository had. A policy says `why`: the rule, or the reason.
    """

    name: str
    repository: RepositoryName | None
    by: str
    at: str
    moves: tuple[Move, ...]
    done: bool
    whole: bool = False
    why: str = ""

    @property
    def by_user(self) -> bool:
        """Whether a user has asked for it, and no policy."""
        return self.name.startswith(BY_USER)


class Runs:
    """The records of one store's removals."""

    def __init__(self, driver: Driver, effects: Effects) -> None:
        self._driver = driver
        self._effects = effects

    def new(self, prefix: str) -> str:
        """A name for a run that was never used."""
        return f"{prefix}{self._effects.unique()}"

    async def record(
        self,
        run: str,
        name: RepositoryName | None,
        moves: Iterable[Move],
        by: str,
        *,
        done: bool,
        whole: bool = False,
        why: str = "",
    ) -> None:
        """Say what a run takes, before it does, and again when it has.

        Raises Unsupported, and nothing is to be taken, when it is more than can be read again.
        """
        told = [_told(move) for move in moves]
        record = {
            "repository": name,
            "by": by,
            "at": self._effects.now().isoformat(),
            "moves": told,
            "done": done,
            "whole": whole,
            "why": why,
        }
        content = json.dumps(record).encode()
        if len(content) > LIMIT and not done:
            raise Unsupported(
                f"this would take {len(told)} objects at once, more than can be kept to be restored;"
                " delete tags or manifests of the repository first"
            )
        # Durable also when it is only renewed: what replaces the record must not be lost and take it along.
        await self._driver.put(layout.trash_run(run), content)

    async def read(self, run: str) -> Run | None:
        """What a run has taken; None when it has no record, or none that can be read."""
        try:
            record = json.loads(await self._driver.get(layout.trash_run(run), limit=LIMIT))
            name = record["repository"]
            moves = [Move(one["key"], one["trash"], int(one.get("bytes", 0))) for one in record["moves"]]
            return Run(
                run,
                None if name is None else RepositoryName(name),
                str(record["by"]),
                str(record["at"]),
                tuple(moves),
                bool(record["done"]),
                record.get("whole") is True,
                str(record.get("why", "")),
            )
        except (NotFound, TooLarge, NameInvalid, ValueError, KeyError, TypeError):
            return None

    async def exists(self, run: str) -> bool:
        """Whether a run has a record, readable or not."""
        return await exists(self._driver, layout.trash_run(run))

    async def names(self) -> AsyncIterator[str]:
        """The names of all runs, in no order that tells anything."""
        async for key in self._driver.walk(layout.TRASH_RUNS):
            yield key.rpartition("/")[2]

    async def mark(
        self, run: str, name: RepositoryName, moves: Iterable[Move], judged: Iterable[str] = ()
    ) -> None:
        """Note that links are about to be away before it is known whether something needs them.

        Of a tag, `judged` are the keys of its history that are known to want no more than that it goes.
        """
        mark = {"repository": name, "moves": [_told(move) for move in moves], "judged": sorted(judged)}
        await self._driver.put(layout.trash_open(run), json.dumps(mark).encode())

    async def unmark(self, run: str) -> None:
        """Note that all that is needed is back."""
        # It may come back by a power cut: whoever finds it then puts back only what is needed.
        await self._driver.delete([layout.trash_open(run)], durable=False)


def _told(move: Move) -> dict[str, object]:
    told: dict[str, object] = {"key": move.key, "trash": move.trash}
    return {**told, "bytes": move.size_bytes} if move.size_bytes else told


def alike(due: Iterable[Run], most: int) -> Iterator[list[Run]]:
    """Runs that one look at a repository judges, with so many moves; a larger one by itself."""

    def kind(run: Run) -> tuple[str, bool]:
        return run.repository or "", run.by_user

    for _, runs in groupby(sorted(due, key=kind), key=kind):
        some: list[Run] = []
        room = most
        for run in runs:
            size = len(run.moves) + 1  # and its record
            if some and size > room:
                yield some
                some, room = [], most
            some.append(run)
            room -= size
        yield some
