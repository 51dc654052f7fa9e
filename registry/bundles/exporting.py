"""Writing a bundle: what is selected, less what the other side is believed to hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from registry.bundles.contents import Digests, Key
from registry.bundles.errors import BundleRefused
from registry.bundles.format import CONTENTS, FORMAT, INDEX, LAYOUT, README, FileSum, Head, Origin
from registry.bundles.media import lay_out
from registry.bundles.records import SentBundles, read_contents
from registry.bundles.selecting import Selected
from registry.bundles.statement import Statement
from registry.bundles.texts import index_json, layout_json, readme, sum_of
from registry.errors import RequestInvalid
from registry.store.store import Store
from storage.errors import NotFound

_TRIES = 100  # others may be given numbers meanwhile


@dataclass(frozen=True, slots=True)
class Belief:
    """What the other side is believed to hold: `parent` says by what."""

    parent: str | None
    held: Set[Key]


NOTHING = Belief(None, frozenset())


@dataclass(frozen=True, slots=True)
class Order:
    """A bundle that is to be written, but for its number."""

    stream: str
    source: str
    selection: Mapping[str, Any]
    selected: Selected
    belief: Belief
    medium_bytes: int | None
    provenance: tuple[Origin, ...] = ()
    supplements: Head | None = None
    format: str = FORMAT


class Exporting:
    """Writes the bundles of one store's registry."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.sent = SentBundles(store)

    async def believed(self, stream: str, wanted: Statement, *, one_way: bool) -> Belief:
        """What the last bundle says that has arrived: by a receipt or, `one_way`, since it was written.

        Of that only what a repository has that is `wanted` now: an import looks nowhere else.
        """
        names = wanted.repositories
        async for sent in self.sent.current(stream):
            if not sent.forgotten and (sent.acknowledged or (one_way and sent.written)):
                try:
                    before = await read_contents(self._store, sent.head)
                except NotFound:
                    continue  # it was not kept, since a later one was built on
                held = Digests(key for key, one in before.all if not names.isdisjoint(one.repositories))
                return Belief(sent.head.id, held)
        return NOTHING

    async def was_stated(self, stream: str, statement: Statement) -> bool:
        """Whether the last bundle of the stream that was written states the same."""
        async for sent in self.sent.current(stream):
            if sent.written:
                last = await read_contents(self._store, sent.head)
                return last.tags == statement.tags and list(last.manifests) == list(statement.manifests)
        return False

    async def number(self, order: Order) -> tuple[Head, Statement]:
        """Lay the bundle out, and give it its number. Raises BundleRefused for one without anything."""
        statement = order.selected.statement
        if not statement.manifests:
            raise BundleRefused("nothing is selected, so there is nothing to write")
        # In a server others are served meanwhile, and what is stated may be a hundred thousand images.
        carried = await self._store.effects.aside(carried_of, order.selected, order.belief.held)
        head = await self._store.effects.aside(self._head, order, statement, carried)
        if order.supplements is not None:
            # What is stated is the same, and the number too: it is the same bundle once more.
            return replace(head, number=order.supplements.number), statement
        for _ in range(_TRIES):
            head = replace(head, number=await self.sent.last(order.stream) + 1)
            if await self.sent.claim(head, statement):
                return head, statement
        raise RequestInvalid(f"too many bundles of {order.stream} are written at once; write one at a time")

    def _head(self, order: Order, statement: Statement, carried: Set[Key]) -> Head:
        lay_out(statement, carried, None, 0)
        index = sum_of(index_json(statement))
        estimate = statement.sum()[1] + 96 * len(carried) + index.size
        media = lay_out(statement, carried, order.medium_bytes, estimate)
        sha256, size = statement.sum()
        totals = statement.totals
        files = {
            CONTENTS: FileSum(sha256, size),
            INDEX: index,
            LAYOUT: sum_of([layout_json()]),
            README: sum_of([readme(order.stream, order.source, totals, media)]),
        }
        return Head(
            stream=order.stream,
            number=1,
            source=order.source,
            selection=order.selection,
            totals=totals,
            media=media,
            files=files,
            parent=order.belief.parent,
            supplements=None if order.supplements is None else order.supplements.id,
            provenance=order.provenance,
            format=order.format,
        )


def carried_of(selected: Selected, held: Set[Key]) -> Digests:
    """What is to lie in the bundle: what the other side lacks, and what goes with each manifest of that.

    Tools that copy an image read its manifests and its config, whatever the other side has.
    """
    statement = selected.statement
    carried = Digests(
        key for kind in (statement.manifests, statement.blobs) for key in kind if key not in held
    )
    for key, small in zip(reversed(statement.manifests), reversed(selected.small), strict=False):
        if key in carried:
            for one in small:
                carried.add(one)
    return carried


def missing_keys(lines: Iterable[str]) -> tuple[str, set[str]]:
    """The bundle and the digests that a list of what was missing names. Raises RequestInvalid."""
    bundle, digests = "", set[str]()
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        if word == "bundle":
            bundle = rest.strip()
        elif word and not word.startswith("#"):
            digests.add(word)
    if not bundle or not digests:
        raise RequestInvalid("this is no list of what is missing; `moorage bundle import` writes such lists")
    return bundle, digests


def path_for(folder: Path, head: Head) -> Path:
    """Where a bundle goes in a folder of bundles."""
    return folder / f"{head.stream}-{head.number:06d}-{head.id}"
