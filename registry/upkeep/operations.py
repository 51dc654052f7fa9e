"""What upkeep offers to operators: the store as a whole, indexed, checked, frozen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from registry.core.registry import Registry
from registry.errors import Unsupported
from registry.model.units import format_size
from registry.upkeep.check import STILL_SERVED, Leading, Looked, Problem, check_repository, leading_out
from registry.upkeep.crash.report import Place, crash_test
from registry.upkeep.reindex import reindex
from registry.work.operations import Context, Operation, Progress, Result, Status, argument, option
from storage.errors import StorageError
from storage.findings import Finding

Outcome = AsyncIterator[Progress | Result]


class Switch(Enum):
    """On or off."""

    ON = "on"
    OFF = "off"

    @classmethod
    def parse(cls, text: str) -> Switch:
        """Read on or off; ValueError for anything else."""
        if text not in ("on", "off"):
            raise ValueError("say on or off")
        return cls(text)


@dataclass(frozen=True, slots=True)
class Reindex:
    """Nothing to choose."""


@dataclass(frozen=True, slots=True)
class Reindexed:
    """How many repositories were indexed, and how many manifests among them refer to others."""

    repositories: int
    referrers: int


@dataclass(frozen=True, slots=True)
class Check:
    """How thoroughly to check."""

    hash_blobs: bool = option("read and hash every blob, not only look that it is there", default=False)
    crash: bool = option(
        "instead of the content, test the file system: kill registries on a scratch directory in it",
        default=False,
        local=True,
    )


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at, and what is not as it should be; `hashed_bytes` is None where none were to be.

    Of what came from elsewhere, `not_fetched` are blobs that are fetched when somebody asks for them; None
    where nothing did.
    """

    repositories: int
    tags: int
    manifests: int
    blobs: int
    not_fetched: int | None
    hashed_bytes: int | None
    problems: list[Problem]
    store: list[Finding]

    def told(self) -> str | None:
        """One line for a store that is whole; what is wrong, or was tried, is told in a table."""
        if self.problems or self.store:
            return None
        counts = f"repositories: {self.repositories}, tags: {self.tags}, manifests: {self.manifests}"
        hashed = "none (--hash-blobs)" if self.hashed_bytes is None else format_size(self.hashed_bytes)
        later = f", not fetched yet: {self.not_fetched}" if self.not_fetched else ""
        return f"no problems; {counts}, blobs: {self.blobs}{later}, bytes hashed: {hashed}"


@dataclass(frozen=True, slots=True)
class SetReadOnly:
    """Whether the store takes writes."""

    switch: Switch | None = argument(
        "on: every process stops writing within ten seconds; off: they write again; without it: how it is",
        default=None,
    )


@dataclass(frozen=True, slots=True)
class ReadOnlySet:
    """Whether the store is read-only now."""

    read_only: bool

    def told(self) -> str:
        """What that means for those who serve it."""
        if self.read_only:
            return "the store is read-only: every process stops writing within ten seconds of the switch"
        return "the store takes writes: every process within ten seconds of the switch"


def operations(
    registry: Callable[[], Registry],
    place: Place | None = None,
    try_out: Callable[[], Awaitable[Sequence[Finding]]] | None = None,
    leading: Leading | None = None,
) -> Iterable[Operation[Any]]:
    """Upkeep's operations on the registry that is open when one of them runs.

    `place` is where a crash test may be held; None where there is no file system to test. `try_out` finds
    out what the store is good for, and `leading` what of it lies elsewhere.
    """

    async def storage_reindex(_: Reindex, __: Context) -> Outcome:
        registry().require_writable()
        repositories = referrers = 0
        async for name, count in reindex(registry()):
            repositories += 1
            referrers += count
            yield Progress(repositories, None, "items", name)
        yield Result(Reindexed(repositories, referrers))

    async def storage_check(asked: Check, _: Context) -> Outcome:
        if asked.crash:
            if asked.hash_blobs or place is None:
                raise Unsupported(
                    "--crash tests the file system of a store on a disk, and looks at no content"
                )
            async for step in crash_test(place):
                yield step
            return
        store = [] if try_out is None else list(await try_out())
        problems: list[Problem] = []
        repositories = 0
        looked = Looked()
        problems += [problem async for problem in leading_out(leading)]
        try:
            async for name in registry().store.catalog.tree():
                repositories += 1
                found = check_repository(registry(), name, hash_blobs=asked.hash_blobs, looked=looked)
                problems += [problem async for problem in found]
                yield Progress(repositories, None, "items", name)
        except StorageError as error:
            if not store:
                raise
            # What was tried says why.
            store.append(Finding("read the registry through", False, str(error)))
        damaged = any(problem.damaged for problem in problems)
        hashed = sum(looked.hashed.values()) if asked.hash_blobs else None
        not_fetched = looked.not_fetched if looked.from_elsewhere else None
        counts = (repositories, looked.tags, looked.manifests, looked.blobs, not_fetched)
        checked = Checked(*counts, hashed, problems, store)
        unfit = any(not one.fit for one in store)
        status = Status.DAMAGED if damaged else Status.FAILED if unfit else Status.DONE
        yield Result(checked, status, STILL_SERVED if looked.wrong else "")

    async def storage_read_only(asked: SetReadOnly, _: Context) -> Outcome:
        marks = registry().store.marks
        if asked.switch is None:
            yield Result(ReadOnlySet(await marks.is_read_only()))
            return
        registry().require_format()
        await marks.set_read_only(on=asked.switch is Switch.ON)
        yield Result(ReadOnlySet(asked.switch is Switch.ON))

    return (
        Operation(
            "storage.reindex",
            "Rebuild catalog and referrers from the content; may run while serving",
            "admin",
            False,
            Reindex,
            storage_reindex,
            changes=True,
            result=Reindexed,
            event="storage.reindexed",
        ),
        Operation(
            "storage.check",
            "Check that the store holds what its links promise, or (--crash) what its file system keeps",
            "admin",
            False,
            Check,
            storage_check,
            needs_store=lambda asked: not asked.crash,
            # Of a crash test it is another; but that is made on the machine of the store alone.
            result=Checked,
        ),
        Operation(
            "storage.read-only",
            "Stop all writing to the store, allow it again, or show which",
            "admin",
            False,
            SetReadOnly,
            storage_read_only,
            changes=True,
            looks=lambda asked: asked.switch is None,
            result=ReadOnlySet,
            event="storage.switched",
        ),
    )
