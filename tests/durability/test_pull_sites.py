"""What is recorded of pulls survives a power cut: without any one durable call it does not."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from registry.core.pull_records import PullRecords, records
from registry.core.pulls import Batch
from registry.upkeep.crash.ledger import Ledger
from storage.contract import Driver
from storage.local import LocalDriver
from storage.memory import MemoryDriver
from tests.durability.cuts import AFTER, Cut
from tests.durability.sites import REGISTRY, Site, Weakened, sites_of
from tests.inmemory import NAME, TAG, Clock, effects
from tests.storage.powercut import PowerCutFiles
from tests.upkeep.pulling import DIGEST, Process, known

SITES = sites_of(REGISTRY / "core" / "pull_records.py")
Step = Callable[[Process], Awaitable[Any]]


async def nothing(_: Process) -> None:
    """Nothing is there before."""


async def begin(one: Process) -> None:
    """Say that pulls are counted from now on."""
    await one.recording.begin()


async def record(one: Process) -> None:
    """Record a pull."""
    await one.recording.begin()
    one.pull()
    await one.recording.record()


async def end(one: Process) -> None:
    """Record a pull, the last one."""
    await record(one)
    await one.recording.end()


async def long_ago(one: Process) -> None:
    """A pull of a day that is not kept any more."""
    then = datetime(2020, 1, 1, tzinfo=UTC)
    batch = Batch(then, then, {then.date(): {NAME: {(TAG, str(DIGEST)): 1}}}, frozenset())
    for key, data in records("1", "one", 1, batch):
        await PullRecords(one.registry.store.driver).put(key, data)


async def fold(one: Process) -> None:
    """Add up what was recorded."""
    await one.folding.run()


async def counted(driver: Driver) -> int:
    """How many pulls are known."""
    return sum((await known(driver)).values())


async def marks(driver: Driver) -> int:
    """Of how many days it is known that not every pull is."""
    return len(await PullRecords(driver).uncovered())


async def processes(driver: Driver) -> int:
    """How many processes count."""
    return len(await PullRecords(driver).processes())


@dataclass(frozen=True)
class Act:
    """Something that is done on a store that was prepared, and what it says from then on, whatever comes."""

    prepare: Step
    do: Step
    says: Callable[[Driver], Awaitable[int]]
    so: int


ACTS = {
    "begin": Act(nothing, begin, processes, 1),
    "begin: the first day": Act(nothing, begin, marks, 1),
    "record": Act(nothing, record, counted, 1),
    "end": Act(nothing, end, counted, 1),
    "fold": Act(end, fold, counted, 1),
    "let go": Act(long_ago, fold, marks, 1),
}


async def is_kept(root: Path, act: Act, weak: Site | None, seen: set[Site]) -> bool:
    """Whether what was done is so in whatever a power cut leaves right after it, one place being weak."""
    root.mkdir()
    files, clock = PowerCutFiles(root), Clock()
    driver = LocalDriver(root, files=files, allow_case_folding=True)
    await driver.start()
    await act.prepare(Process(driver, effects(clock)))
    files.settle()
    for path in root.rglob("*"):
        if path.is_file():  # long enough ago to be folded
            os.utime(path, (time.time() - 3600, time.time() - 3600))
    await act.do(Process(cast(Driver, Weakened(driver, weak, seen)), effects(clock)))
    trees = list(Cut(files.moment(), Ledger()).trees())
    await driver.aclose()
    files.close_all()
    for tree in trees:
        left = MemoryDriver(epoch=AFTER)
        for key, data in tree.items():
            left._store(key, data, if_absent=False)
        if await act.says(left) != act.so:
            return False
    return True


@pytest.mark.parametrize("name", ACTS)
async def test_what_was_told_is_so_after_a_power_cut(tmp_path: Path, name: str) -> None:
    assert await is_kept(tmp_path / "root", ACTS[name], None, set())


@pytest.mark.parametrize("site", SITES, ids=str)
async def test_without_any_one_durable_call_something_is_lost(tmp_path: Path, site: Site) -> None:
    come_by = []
    for number, act in enumerate(ACTS.values()):
        seen: set[Site] = set()
        kept = await is_kept(tmp_path / str(number), act, site, seen)
        if site in seen:
            come_by.append(kept)
    assert come_by, "no act comes by here: make one that does, or say durable=False"
    assert not all(come_by), "nothing is lost: say durable=False, or tell what is promised"


def test_the_places_are_found() -> None:
    assert len(SITES) == 4
