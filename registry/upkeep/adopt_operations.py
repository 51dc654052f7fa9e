"""What upkeep offers to those who come from CNCF Distribution, or go back, and to those who upgrade."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from registry.core.registry import Registry
from registry.upkeep.adopting import Adopted, Adopting
from registry.upkeep.check import STILL_SERVED, Leading
from registry.upkeep.leaving import Left, look_back
from registry.upkeep.upgrading import upgrade
from registry.work.operations import Context, Operation, Progress, Result, Status, option

Outcome = AsyncIterator[Progress | Result]


@dataclass(frozen=True, slots=True)
class Adopt:
    """How thoroughly to look."""

    hash_blobs: bool = option("read and hash every blob, not only look that it is there", default=False)


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing to choose."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Nothing to choose."""


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The oldest writer level that the store allowed (None: no mark said so), and allows now."""

    before: int | None
    level: int

    def told(self) -> str:
        """A sentence."""
        if self.before == self.level:
            return f"already at level {self.level}"
        was = "had no level" if self.before is None else f"was at level {self.before}"
        return (
            f"the store {was} and is at level {self.level} now;"
            " older programs stop writing within ten seconds"
        )


def operations(registry: Callable[[], Registry], leading: Leading | None = None) -> Iterable[Operation[Any]]:
    """The operations on the registry that is open when one of them runs.

    `leading` tells what of the store lies elsewhere.
    """

    async def storage_adopt(asked: Adopt, context: Context) -> Outcome:
        if not context.dry_run:
            registry().require_writable()
        adopting = Adopting(registry(), hash_blobs=asked.hash_blobs, dry_run=context.dry_run, leading=leading)
        async for progress in adopting.run():
            yield progress
        status = Status.DAMAGED if adopting.adopted.damaged else Status.DONE
        yield Result(adopting.adopted, status, STILL_SERVED if adopting.found_wrong_bytes else "")

    async def storage_leave(_: Leave, __: Context) -> Outcome:
        left = Left()
        async for progress in look_back(registry().store, left):
            yield progress
        yield Result(left, Status.DAMAGED if left.loses else Status.DONE)

    async def storage_upgrade(_: Upgrade, __: Context) -> Outcome:
        registry().require_writable()
        before = await registry().store.marks.level()
        async for progress in upgrade(registry()):
            yield progress
        level = await registry().store.marks.level()
        assert level is not None
        yield Result(Upgraded(before, level))

    return (
        Operation(
            "storage.adopt",
            "Check a store that CNCF Distribution has written, and make it ours; changes nothing of its own",
            "admin",
            False,
            Adopt,
            storage_adopt,
            changes=True,
            rehearses=True,
            result=Adopted,
            event="storage.adopted",
        ),
        Operation(
            "storage.leave",
            "Tell what CNCF Distribution would not see of this store; changes nothing",
            "admin",
            False,
            Leave,
            storage_leave,
            result=Left,
        ),
        Operation(
            "storage.upgrade",
            "Raise the format of the store to the level of this program",
            "admin",
            False,
            Upgrade,
            storage_upgrade,
            changes=True,
            result=Upgraded,
            event="storage.upgraded",
        ),
    )
