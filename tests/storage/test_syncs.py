"""Works that run at once share their syncs, and each hears of its own."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import AsyncIterator

import pytest

from storage.syncs import Syncs, Work, advance, alone


class Disk:
    """Syncs that a test holds up, lets fail, and counts."""

    def __init__(self) -> None:
        self.synced: list[int | str] = []
        self.failing: set[int | str] = set()
        self.reached = threading.Event()
        self.released = threading.Event()

    def sync(self, one: int | str) -> None:
        """One sync."""
        self.synced.append(one)
        self.reached.set()
        assert self.released.wait(60)
        if one in self.failing:
            raise OSError(errno.EIO, "broken")


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
async def syncs(disk: Disk) -> AsyncIterator[Syncs]:
    syncs = Syncs(disk.sync)
    yield syncs
    disk.released.set()
    await syncs.close()


async def held(disk: Disk, syncs: Syncs) -> asyncio.Future[OSError | None]:
    """A sync under way, behind which others gather."""
    first = asyncio.ensure_future(syncs.done(["first"]))
    assert await asyncio.to_thread(disk.reached.wait, 60)
    return first


async def test_what_gathers_behind_a_sync_is_synced_once(disk: Disk, syncs: Syncs) -> None:
    first = await held(disk, syncs)
    others = [asyncio.ensure_future(syncs.done([number, "shared"])) for number in range(5)]
    await asyncio.sleep(0)
    disk.released.set()
    assert await asyncio.gather(first, *others) == [None] * 6
    assert sorted(map(str, disk.synced)) == ["0", "1", "2", "3", "4", "first", "shared"]


async def test_what_one_turn_of_the_loop_wants_is_handed_over_together(disk: Disk, syncs: Syncs) -> None:
    disk.released.set()
    assert await asyncio.gather(*[syncs.done(["shared"]) for _ in range(50)]) == [None] * 50
    assert disk.synced == ["shared"]


async def test_what_was_asked_in_the_turn_of_the_end_is_done(disk: Disk, syncs: Syncs) -> None:
    disk.released.set()
    last = asyncio.ensure_future(syncs.done(["last"]))
    await asyncio.gather(asyncio.sleep(0), syncs.close())
    assert await last is None


async def test_a_sync_that_fails_fails_those_who_wanted_it(disk: Disk, syncs: Syncs) -> None:
    disk.failing = {"bad"}
    first = await held(disk, syncs)
    others = [asyncio.ensure_future(syncs.done(wanted)) for wanted in (["bad"], ["good"], ["good", "bad"])]
    await asyncio.sleep(0)
    disk.released.set()
    assert await first is None
    outcomes = await asyncio.gather(*others)
    assert [error is not None for error in outcomes] == [True, False, True]


async def test_who_is_cancelled_waits_for_the_sync(disk: Disk, syncs: Syncs) -> None:
    first = await held(disk, syncs)
    for _ in range(2):
        first.cancel()
        await asyncio.sleep(0)
        assert not first.done()
    disk.released.set()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_closing_waits_for_what_was_asked(disk: Disk, syncs: Syncs) -> None:
    first = await held(disk, syncs)
    second = asyncio.ensure_future(syncs.done(["second"]))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(syncs.close())
    await asyncio.sleep(0)
    disk.released.set()
    await closing
    assert [await first, await second] == [None, None]
    assert disk.synced == ["first", "second"]


def test_a_work_hears_of_the_sync_that_failed(disk: Disk) -> None:
    disk.failing = {"bad"}
    disk.released.set()
    heard = []

    def work() -> Work:
        yield ["good"]
        try:
            yield ["good", "bad"]
        except OSError as error:
            heard.append(error.strerror)
        yield ()

    assert len([*alone(work(), disk.sync)]) == 2
    assert heard == ["broken"]
    assert disk.synced == ["good", "good", "bad"]
    ended = work()
    for _ in range(3):
        advance(ended, None)
    assert advance(ended, None) is None
