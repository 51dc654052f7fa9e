"""Purging as an operation: done again when every process must have heard of it, and by each collection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from registry.errors import BlobUnknown, NotFoundHere
from registry.store import layout
from registry.store.blocked import Block
from registry.upkeep import purge_operations
from registry.upkeep.collecting import Collecting
from registry.upkeep.purge_operations import SEEN_SECONDS, AllPurged, Purged, operations
from registry.upkeep.settings import UpkeepSettings
from registry.work.operations import Context, Result, Status
from storage.memory import MemoryDriver
from tests.inmemory import image
from tests.removal.leaking import LEAKED, NAME, SECRET, TWIN, Process, bytes_of, named, spread


class Operator:
    """Does operations on one process; what it waits for is told to `waited`."""

    def __init__(self, process: Process) -> None:
        settings = UpkeepSettings.model_validate({"gc": {"requests_per_second": 0}})
        self.collecting = Collecting(lambda: process.registry, settings, who="one")
        self._table = {one.name: one for one in operations(lambda: self.collecting)}

    async def do(self, name: str, *given: Any, dry_run: bool = False) -> Any:
        return (await self.result(name, *given, dry_run=dry_run)).value

    async def result(self, name: str, *given: Any, dry_run: bool = False) -> Result:
        operation = self._table[name]
        context = Context("user:operator", dry_run)
        steps = [step async for step in operation.run(operation.input(*given), context)]
        result = steps[-1]
        assert isinstance(result, Result)
        return result


@pytest.fixture
def driver() -> MemoryDriver:
    return MemoryDriver()


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Awaitable[object]]], list[float]]:
    """Has something happen while the operation waits, and not wait."""

    def meanwhile(happens: Callable[[], Awaitable[object]]) -> list[float]:
        waited: list[float] = []

        class Time:
            @staticmethod
            async def sleep(seconds: float) -> None:
                waited.append(seconds)
                await happens()

        monkeypatch.setattr(purge_operations, "asyncio", Time)
        return waited

    return meanwhile


async def test_what_another_stores_before_it_has_heard_of_it_goes_too(
    driver: MemoryDriver, waiting: Callable[[Callable[[], Awaitable[object]]], list[float]]
) -> None:
    process, other = Process(driver), Process(driver)
    needs = await spread(driver, process)

    async def meanwhile() -> None:
        assert bytes_of(driver) == [], "what was there does not wait"
        await other.push(image("late", layers=[SECRET]), "late")
        assert bytes_of(driver)

    waited = waiting(meanwhile)
    purged: Purged = await Operator(process).do("trash.purge", LEAKED)
    assert waited == [SEEN_SECONDS]
    assert bytes_of(driver) == named(driver) == []
    assert purged.needing[0].manifest == str(needs)
    assert [one.tags for one in purged.needing] == [["latest"], ["late"]]
    assert f"{NAME}@{needs} (latest)" in purged.told()
    await other.blocked.look()
    with pytest.raises(BlobUnknown):
        await other.repository().blob(LEAKED, may_push=True)


async def test_a_collection_finishes_what_died_half_way(driver: MemoryDriver) -> None:
    process = Process(driver)
    await spread(driver, process)
    # All that a purge has done that died behind its first step, in another process.
    await Process(driver).blocked.put(Block((LEAKED, TWIN), "somebody", datetime(2026, 1, 1, tzinfo=UTC), ""))
    assert [report async for report in Operator(process).collecting.run("schedule")]
    assert bytes_of(driver) == named(driver) == named(driver, TWIN) == []


async def test_a_dry_run_tells_and_does_not_wait(
    driver: MemoryDriver, waiting: Callable[[Callable[[], Awaitable[object]]], list[float]]
) -> None:
    process = Process(driver)
    await spread(driver, process)
    before = dict(driver._objects)
    waited = waiting(lambda: asyncio.sleep(0))
    purged: Purged = await Operator(process).do("trash.purge", LEAKED, dry_run=True)
    assert purged.told().startswith(f"would purge {LEAKED} = {TWIN}\n  links: 3, tags: 0, data: 2")
    assert waited == [] and driver._objects == before


async def test_what_is_blocked_is_listed_and_can_be_unblocked(
    driver: MemoryDriver, waiting: Callable[[Callable[[], Awaitable[object]]], list[float]]
) -> None:
    process = Process(driver)
    operator = Operator(process)
    await process.blob(SECRET)
    waiting(lambda: asyncio.sleep(0))
    await operator.do("trash.purge", LEAKED)
    listed: AllPurged = await Operator(Process(driver)).do("trash.purged")
    assert [(one.digests, one.by) for one in listed.blocked] == [([str(LEAKED), str(TWIN)], "user:operator")]
    assert (await operator.do("trash.unblock", TWIN)).digests == [str(LEAKED), str(TWIN)]
    with pytest.raises(NotFoundHere, match="not blocked"):
        await operator.do("trash.unblock", TWIN)
    await process.blob(SECRET)


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_digest_of_which_nothing_is_here_is_no_success(
    driver: MemoryDriver, waiting: Callable[[Callable[[], Awaitable[object]]], list[float]], dry_run: bool
) -> None:
    process = Process(driver)
    waiting(lambda: asyncio.sleep(0))
    # Under its sha256 alone, and nothing says that it has this sha512.
    await process.blob(SECRET)
    result = await Operator(process).result("trash.purge", TWIN, dry_run=dry_run)
    assert result.status is Status.FAILED
    assert isinstance(result.value, Purged)
    assert (result.value.found, result.value.hashed, result.value.digests) == (False, False, [str(TWIN)])
    first, second, third = result.value.told().splitlines()
    assert first.startswith(f"nothing of {TWIN} is here") and "mistyped?" in first
    assert (f"moorage trash unblock {TWIN}" in second) != dry_run and "this digest" in second
    assert third.startswith("what sha256 the same bytes have is not known")
    assert bytes_of(driver) and (TWIN in process.blocked.digests) != dry_run
    again = await Operator(process).result("trash.purge", TWIN, dry_run=dry_run)
    assert again.status is Status.FAILED and again.value == result.value


async def test_a_purge_that_is_done_again_has_found_it(
    driver: MemoryDriver, waiting: Callable[[Callable[[], Awaitable[object]]], list[float]]
) -> None:
    process = Process(driver)
    waiting(lambda: asyncio.sleep(0))
    await process.blob(SECRET)
    for _ in range(2):
        result = await Operator(process).result("trash.purge", LEAKED)
        assert result.status is Status.DONE and isinstance(result.value, Purged)
        assert result.value.told().startswith(f"purged and blocked {LEAKED} = {TWIN}\n  links")


async def test_links_to_bytes_that_are_gone_are_purged_and_the_other_digest_is_said_to_be_unknown(
    driver: MemoryDriver, waiting: Callable[[Callable[[], Awaitable[object]]], list[float]]
) -> None:
    process = Process(driver)
    waiting(lambda: asyncio.sleep(0))
    await process.blob(SECRET)
    await driver.delete([layout.blob_data(LEAKED)])
    result = await Operator(process).result("trash.purge", LEAKED)
    assert result.status is Status.DONE and isinstance(result.value, Purged)
    assert (result.value.found, result.value.hashed, result.value.links) == (True, False, 1)
    assert "what sha512 the same bytes have is not known" in result.value.told().splitlines()[1]


async def test_what_is_on_its_way_from_elsewhere_is_found(
    driver: MemoryDriver, waiting: Callable[[Callable[[], Awaitable[object]]], list[float]]
) -> None:
    process = Process(driver)
    waiting(lambda: asyncio.sleep(0))
    await driver.put(f"{layout.transfer(NAME, LEAKED)}/segment", SECRET[:7])
    result = await Operator(process).result("trash.purge", LEAKED)
    assert result.status is Status.DONE and named(driver) == []
