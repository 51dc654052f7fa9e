"""The crash test as an operator sees it: progress, what was found, and what it cannot show."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from registry.upkeep.crash.acts import ACTS
from registry.upkeep.crash.deaths import Opening, deaths
from registry.upkeep.crash.judge import judge
from registry.work.operations import Progress, Result, Status
from storage.files import Files
from storage.trial import try_out_durability

_PREFIX = ".tmp-crash-"  # a name that no listing of a store takes for content
_ABANDONED_SECONDS = 24 * 3600
# Faster than any disk answers: somebody in between keeps what was to be durable.
_HASTY_SECONDS = 30e-6
# What nobody can find out without cutting the power.
_NOT_SHOWN = """\
what a power cut leaves: kill -9 keeps what the kernel has in memory (docs/durability.md: how that was tested)
whether the disk has written what it said it had: a cache without a battery, or a virtual disk, may not"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a crash test takes place: a directory in the store's file system, and what opens a registry."""

    root: str
    opening: Opening


@dataclass(frozen=True, slots=True)
class Found:
    """Something that is not as it was promised: when, and what."""

    when: str
    problem: str


@dataclass(frozen=True, slots=True)
class CrashTested:
    """How often a process was killed, and what was wrong then; `not_shown` is what the test cannot tell."""

    file_system: str | None
    sync_seconds: float
    acts: int
    kills: int
    problems: list[Found]
    not_shown: list[str]

    def told(self) -> str:
        """What was found in sentences."""
        if self.problems:
            came_of_it = f"problems: {len(self.problems)}"
        else:
            came_of_it = "nothing acknowledged was lost, and nothing half-made was left"
        lines = [f"{self.kills} processes were killed, one at each file call of {self.acts} kinds of work"]
        lines.append(came_of_it)
        system, milliseconds = self.file_system or "not known", self.sync_seconds * 1000
        lines.append(f"file system: {system}; a small file is durable after {milliseconds:.1f} ms")
        lines += [f"{found.when}: {found.problem}" for found in self.problems]
        return "\n".join([*lines, *(f"not shown: {one}" for one in self.not_shown)])


async def crash_test(place: Place, acts: Sequence[str] = tuple(ACTS)) -> AsyncIterator[Progress | Result]:
    """Kill registries on a directory of their own in the file system of `place`, which is removed again.

    A file system that cannot keep anything over a power cut is not tested any further.
    """
    await asyncio.to_thread(_remove_abandoned, place.root)
    scratch = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place.root))
    try:
        trial = await asyncio.to_thread(try_out_durability, scratch, Files())
        found = [Found("before any kill", problem) for problem in trial.wrong]
        if trial.sync_seconds < _HASTY_SECONDS and not found:
            problem = "a sync returns at once, as none of a disk does: it may do nothing"
            found.append(Found("before any kill", problem))
        kills = 0
        async for death in deaths(scratch, place.opening, acts if not found else ()):
            if not death.ended:
                kills += 1
                yield Progress(kills, None, "items", f"kills: {death.act}")
            async with place.opening(death.root, Files()) as registry:
                when = f"{death.act}, killed at file call {death.number + 1}"
                found += [Found(when, problem) for problem in await judge(registry, death.ledger)]
    finally:
        await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
    tested = CrashTested(
        trial.file_system, trial.sync_seconds, len(acts), kills, found, _NOT_SHOWN.splitlines()
    )
    yield Result(tested, Status.DAMAGED if found else Status.DONE)


def _remove_abandoned(root: str) -> None:
    """Remove what a test that was killed itself has left a day ago."""
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX):
                with suppress(FileNotFoundError):
                    if entry.stat().st_mtime < time.time() - _ABANDONED_SECONDS:
                        shutil.rmtree(entry.path, ignore_errors=True)
