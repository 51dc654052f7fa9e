"""Steps in threads: bounded, and never left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Generator

import pytest

from storage.threads import Threads


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    threads = Threads(2)
    yield threads
    await threads.close()


async def until(event: threading.Event) -> None:
    """Wait for a thread without holding up the loop."""
    assert await asyncio.to_thread(event.wait, 60)


async def test_a_step_runs_in_a_thread_and_has_an_outcome(threads: Threads) -> None:
    assert await threads.run(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)


async def test_no_more_steps_at_once_than_allowed(threads: Threads) -> None:
    lock = threading.Lock()
    running = most = 0
    full = threading.Barrier(2)

    def step() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        full.wait(60)
        with lock:
            running -= 1

    await asyncio.gather(*(threads.run(step) for _ in range(8)))
    assert most == 2


async def test_a_cancelled_step_under_way_is_waited_for_and_told(threads: Threads) -> None:
    begun, release, abandoned = threading.Event(), threading.Event(), threading.Event()
    ended = []

    def step() -> None:
        begun.set()
        release.wait(60)
        ended.append(abandoned.is_set())

    running = asyncio.ensure_future(threads.run(step, abandon=abandoned.set))
    await until(begun)
    running.cancel()
    await until(abandoned)
    running.cancel()  # once more while it waits
    await asyncio.sleep(0)
    assert not running.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended == [True]


async def test_a_cancelled_step_that_waits_its_turn_never_begins(threads: Threads) -> None:
    begun, release = threading.Semaphore(0), threading.Event()
    ran: list[int] = []

    def blocking() -> None:
        begun.release()
        release.wait(60)

    blocked = [asyncio.ensure_future(threads.run(blocking)) for _ in range(2)]
    for _ in blocked:
        assert await asyncio.to_thread(begun.acquire, timeout=60)
    waiting = asyncio.ensure_future(threads.run(ran.append, 1))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    release.set()
    await asyncio.gather(*blocked)
    await threads.close()
    assert ran == []


async def test_cleaning_up_happens_in_spite_of_a_cancellation(threads: Threads) -> None:
    begun, release = threading.Event(), threading.Event()
    done = []

    def cleaning() -> None:
        begun.set()
        release.wait(60)
        done.append(True)

    running = asyncio.ensure_future(threads.run_always(cleaning))
    await until(begun)
    running.cancel()
    await asyncio.sleep(0)
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert done == [True]


async def test_a_generator_is_run_a_turn_a_step_and_closed_when_cancelled(threads: Threads) -> None:
    begun, release = threading.Event(), threading.Event()
    log = []

    def work() -> Generator[None, None, None]:
        try:
            log.append("one")
            yield
            begun.set()
            release.wait(60)
            log.append("two")
            yield
            log.append("three")
        finally:
            log.append(f"closed off the loop: {threading.current_thread().name.startswith('storage')}")

    running = asyncio.ensure_future(threads.finish(work()))
    await until(begun)
    running.cancel()
    await asyncio.sleep(0)
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert log == ["one", "two", "closed off the loop: True"]


async def test_items_come_in_bounded_steps_without_the_pauses(threads: Threads) -> None:
    turns = []

    def work() -> Generator[int | None, None, None]:
        for number in range(10):
            turns.append(number)
            yield number if number % 2 else None

    seen = []
    items = threads.items(work(), 4)
    async for item in items:
        seen.append(item)
        if item == 1:
            assert turns == [0, 1, 2, 3]
    assert seen == [1, 3, 5, 7, 9]


async def test_an_error_in_a_generator_arrives(threads: Threads) -> None:
    def work() -> Generator[None, None, None]:
        yield
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await threads.finish(work())
    with pytest.raises(ZeroDivisionError):
        async for _ in threads.items(work(), 1):
            pytest.fail("there are no items")
