"""Acts on a disk whose power is cut: the state before each file call, and every tree that a cut may leave."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from registry.app.opening import open_scratch
from registry.core.registry import Registry
from registry.core.uploads import UploadLimits
from registry.store.store import Store
from registry.upkeep.crash.acts import Act, prepare
from registry.upkeep.crash.client import Client
from registry.upkeep.crash.ledger import Fact, Ledger, Value
from storage.contract import Driver
from storage.memory import MemoryDriver
from tests.durability.reader import Tree
from tests.inmemory import Clock, effects
from tests.storage.powercut import Moment, PowerCutFiles

AFTER = "the boot after the cut"
Doubt = tuple[int, int]  # the inode of a directory and the number of a pending name, or of a file and -1


@dataclass(frozen=True)
class Cut:
    """A moment at which the power may fail, and what clients had been told by then."""

    moment: Moment
    ledger: Ledger

    def trees(self) -> Iterator[Tree]:
        """What may be found afterwards: of what was not synced none, all, each alone, all but each, torn."""
        moment = self.moment
        doubts = [(inode, at) for inode, pending in moment.pending.items() for at in range(len(pending))]
        doubts += [(inode, -1) for inode in moment.unsynced]
        everything = frozenset(doubts)
        for one in [frozenset[Doubt](), *(frozenset([doubt]) for doubt in doubts)]:
            yield self._tree(one, {})
            yield self._tree(everything - one, {})
        for tear in (_half, _zeros):
            torn = {inode: tear(data) for inode, data in moment.unsynced.items()}
            yield self._tree(everything, torn)
            for inode, data in torn.items():
                yield self._tree(everything, {inode: data})

    def _tree(self, kept: frozenset[Doubt], torn: dict[int, bytes]) -> Tree:
        moment = self.moment
        found: dict[str, bytes] = {}

        def look(prefix: str, inode: int) -> None:
            names = dict(moment.names[inode])
            for at, (name, entry) in enumerate(moment.pending.get(inode, ())):
                if (inode, at) in kept:
                    if entry is None:
                        names.pop(name, None)
                    else:
                        names[name] = entry
            for name, entry in names.items():
                if name.startswith(".tmp-"):
                    continue
                if entry in moment.names:
                    look(f"{prefix}{name}/", entry)
                elif entry in torn:
                    found[prefix + name] = torn[entry]
                elif (entry, -1) in kept:
                    found[prefix + name] = moment.unsynced[entry]
                else:
                    found[prefix + name] = moment.durable[entry]

        look("", moment.root)
        return found


class Effect(Enum):
    """What a sync makes durable."""

    NOTHING = "nothing that is not durable"
    THE_SAME = "the same bytes under the same names as before"
    REMOVALS = "that names are gone"
    MORE = "bytes, or names that come"


@dataclass(frozen=True)
class Sync:
    """One sync: of what, after how many things that clients were told, and to what effect."""

    path: str
    told: int
    effect: Effect


class RecordingFiles(PowerCutFiles):
    """Notes with each moment what clients had been told; the sync of the number `dropped` does nothing."""

    def __init__(self, root: Path, ledger: Ledger) -> None:
        super().__init__(root)
        self._ledger = ledger
        self._ledgers: list[Ledger] = []
        self._told = 0
        self._recorded = 0
        self.dropped: int | None = None
        self.syncs: list[Sync] = []

    def tell(self, fact: Fact, value: Value, told: bool) -> None:
        """What a client says; of an upload a power cut may take or bring back whatever was told."""
        if not told and self._told > self._recorded:
            self.moments.append(self.moment())  # before something else may be
        self._told += told
        if fact.kind != "upload":
            self._ledger.note(fact, value, told)
        elif fact in self._ledger.may_be or value is not None:  # else nobody has heard of it
            self._ledger.note(fact, value, told=False)

    def moment(self) -> Moment:
        self._ledgers.append(Ledger(dict(self._ledger.may_be)))
        self._recorded = self._told
        return super().moment()

    def lay(self, root: Path, tree: Tree) -> None:
        """Put a tree on the empty disk."""
        for path, data in tree.items():
            for above in reversed(Path(path).parents[:-1]):
                if not (root / above).is_dir():
                    self.make_directory(str(root / above))
            descriptor = self.create(str(root / path))
            self.write(descriptor, [data])
            self.close(descriptor)

    def begin(self) -> None:
        """What was done so far was long ago."""
        self.settle()
        self._ledgers.clear()
        self.syncs.clear()

    def cuts(self) -> list[Cut]:
        """Every moment, the present one last."""
        moments = [*self.moments, self.moment()]
        return [Cut(moment, ledger) for moment, ledger in zip(moments, self._ledgers, strict=True)]

    def sync(self, descriptor: int) -> None:
        number = len(self.syncs)
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        self.syncs.append(Sync(path, self._told, self._effect(descriptor)))
        if number == self.dropped:
            self.moments.append(self.moment())
        else:
            super().sync(descriptor)

    def _effect(self, descriptor: int) -> Effect:
        if not self.in_doubt(descriptor):
            return Effect.NOTHING
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return Effect.MORE
        came, gone = self.difference(descriptor)
        if came:
            return Effect.MORE
        return Effect.REMOVALS if gone else Effect.THE_SAME


async def cuts_during(
    root: Path,
    act: Act,
    *,
    dropped: int | None = None,
    observe: Callable[[Driver], Driver] = lambda driver: driver,
) -> tuple[list[Cut], list[Sync]]:
    """The cuts that may come during an act, and what it syncs, with one of these syncs left out.

    `observe` puts something around the driver.
    """
    ledger = Ledger()
    root.mkdir()
    files = RecordingFiles(root, ledger)
    async with open_scratch(str(root), files, observe) as registry:
        client = Client(registry, files.tell)
        await prepare(client)
        files.begin()
        files.dropped = dropped
        await act(client)
        cuts = files.cuts()
    files.close_all()
    return cuts, files.syncs


def different(cuts: Iterable[Cut]) -> Iterator[tuple[Tree, Ledger]]:
    """Each tree once, as long as nobody is told anything more."""
    seen: set[object] = set()
    told: object = None
    for cut in cuts:
        if cut.ledger.may_be != told:
            told = cut.ledger.may_be
            seen.clear()
        for tree in cut.trees():
            key = frozenset(tree.items())
            if key not in seen:
                seen.add(key)
                yield tree, cut.ledger


def reopened(tree: Tree) -> Registry:
    """A registry in memory that holds a tree, in a process of a later boot."""
    driver = MemoryDriver(epoch=AFTER)
    for path, data in tree.items():
        driver._store(path, data, if_absent=False)
    store = Store(driver, effects(Clock()), manifest_cache_bytes=0)
    return Registry(
        store,
        uploads=UploadLimits(open=100, chunks=100, in_flight=100),
        max_references=100,
        allow_missing_layers=False,
        deletes=True,
        read_only=False,
    )


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _zeros(data: bytes) -> bytes:
    return bytes(len(data))
