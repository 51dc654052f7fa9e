"""What access keeps in the store is durable when it is told so: without any one durable call it is not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from registry.access.audit import Entry
from registry.access.audit.kept import Asked, AuditStore
from registry.access.seal import KeySeal, SealBroken, Unsealed
from registry.access.vault import Document, Vault
from registry.core.registry import Registry
from registry.upkeep.crash.ledger import Ledger
from storage.contract import Driver
from storage.local import LocalDriver
from storage.memory import MemoryDriver
from tests.durability.contending import Gated
from tests.durability.cuts import AFTER, Cut
from tests.durability.sites import Site, Weakened, sites
from tests.inmemory import Clock, effects
from tests.storage.powercut import PowerCutFiles

ACCESS = sites(("access",))


class Writable:
    """A registry that is always that."""

    def require_writable(self) -> None:
        """It is."""


class House:
    """What access keeps in one store."""

    def __init__(self, driver: Driver, clock: Clock) -> None:
        self.driver = driver
        self.clock = clock
        self.vault = Vault(driver, Unsealed())
        self.audit = AuditStore(driver, effects(clock), cast(Registry, Writable()))

    async def revise(self, number: int, *, keep: int = 1) -> None:
        """Have the log say a number."""

        def change(_: Document | None) -> Document:
            return {"n": number}

        await self.vault.revise("logs", "a", change, keep=keep)

    async def entries(self) -> int:
        """How many entries the audit has."""
        return len((await self.audit.list(Asked(), limit=9))[0])


Step = Callable[[House], Awaitable[Any]]


@dataclass(frozen=True)
class Act:
    """Something that is done on a store that was prepared, and what it says from then on, whatever comes."""

    prepare: Step
    do: Step
    says: Step
    so: Any


async def nothing(_: House) -> None:
    """Nothing is there before."""


def with_key(house: House) -> Vault:
    """The same secrets, of a registry that has a key."""
    return Vault(house.driver, KeySeal(bytes(32)))


async def seal(house: House) -> None:
    """Seal all that is there."""
    async for _ in with_key(house).seal_all(dry_run=False):
        pass


async def begin(house: House) -> str:
    """Say that a tag is about to be deleted."""
    return (await house.audit.begin(Entry("tag.deleted", who="user:a", repository="a", tag="1")))[0]


async def put(house: House) -> None:
    """Put a document."""
    await house.vault.put("documents", "a", {"n": 1})


async def three_times(house: House) -> None:
    """A log of three entries."""
    for number in (1, 2, 3):
        await house.revise(number, keep=3)


async def once(house: House) -> None:
    """A log of one entry."""
    await house.revise(1)


async def change_too_late(house: House) -> None:
    """Two others change a log first, so that the number that this change has claimed is an old one."""
    others = [2, 3]

    async def around(call: str, _: object, after: bool) -> None:
        if call == "put" and not after:
            while others:
                await house.revise(others.pop(0))

    await House(cast(Driver, Gated(house.driver, around)), house.clock).revise(4)


async def forget_all(house: House) -> None:
    """Nothing was done of all that was begun."""
    for kept in (await house.audit.list(Asked(), limit=9))[0]:
        await house.audit.forget(kept.id)


async def expire(house: House) -> None:
    """A year later nothing is kept any more."""

    async def now() -> float:
        return house.clock.now.timestamp() + 400 * 24 * 3600

    await house.audit.expire(now, timedelta(days=1))


async def entries(house: House) -> int:
    """How many entries the audit has."""
    return await house.entries()


async def document(house: House) -> Document | None:
    """What was put; of what was claimed, that it was."""
    found = await house.vault.get("documents", "a")
    return found and {"n": found["n"]}


async def log(house: House) -> tuple[Document | None, list[int]]:
    """What the log says, and the numbers of its entries."""
    return await house.vault.latest("logs", "a"), await house.vault.numbers("logs", "a")


ACTS = {
    "put": Act(nothing, put, document, {"n": 1}),
    "claim": Act(nothing, lambda house: house.vault.claim("documents", "a", {"n": 1}), document, {"n": 1}),
    "remove": Act(put, lambda house: house.vault.remove("documents", "a"), document, None),
    "seal": Act(put, seal, lambda house: with_key(house).get("documents", "a"), {"n": 1}),
    "revise": Act(once, lambda house: house.revise(2), log, ({"n": 2}, [2])),
    "revise too late": Act(once, change_too_late, log, ({"n": 4}, [4])),
    "forget": Act(three_times, lambda house: house.vault.forget("logs", "a", 2), log, ({"n": 3}, [1, 3])),
    "audit: begin": Act(nothing, begin, entries, 1),
    "audit: forget": Act(begin, forget_all, entries, 0),
    "audit: expire": Act(begin, expire, entries, 0),
}


async def is_kept(root: Path, act: Act, weak: Site | None, seen: set[Site]) -> bool:
    """Whether what was done is so in whatever a power cut leaves right after it, one place being weak."""
    root.mkdir()
    files, clock = PowerCutFiles(root), Clock()
    driver = LocalDriver(root, files=files, allow_case_folding=True)
    await driver.start()
    house = House(cast(Driver, Weakened(driver, weak, seen)), clock)
    await act.prepare(House(driver, clock))
    files.settle()
    await act.do(house)
    trees = list(Cut(files.moment(), Ledger()).trees())
    await driver.aclose()
    files.close_all()
    for tree in trees:
        left = MemoryDriver(epoch=AFTER)
        for path, data in tree.items():
            left._store(path, data, if_absent=False)
        try:
            if await act.says(House(left, clock)) != act.so:
                return False
        except SealBroken:
            return False
    return True


@pytest.mark.parametrize("name", ACTS)
async def test_what_was_told_is_so_after_a_power_cut(tmp_path: Path, name: str) -> None:
    assert await is_kept(tmp_path / "root", ACTS[name], None, set())


@pytest.mark.parametrize("site", ACCESS, ids=str)
async def test_without_any_one_durable_call_of_access_something_is_lost(tmp_path: Path, site: Site) -> None:
    come_by = []
    for number, act in enumerate(ACTS.values()):
        seen: set[Site] = set()
        kept = await is_kept(tmp_path / str(number), act, site, seen)
        if site in seen:
            come_by.append(kept)
    assert come_by, "no act comes by here: make one that does, or say durable=False"
    assert not all(come_by), "nothing is lost: say durable=False, or tell what is promised"


def test_the_places_of_access_are_found() -> None:
    assert len(ACCESS) >= 9
