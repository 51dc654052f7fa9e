from __future__ import annotations

import asyncio

import pytest

from registry.access.patience import Patience
from registry.errors import TooManyRequests
from tests.access.house import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def patience(clock: Clock) -> Patience:
    return Patience(clock.seconds, clock.sleep)


async def waited(patience: Patience, clock: Clock, name: str = "alice", address: str = "10.0.0.1") -> float:
    before = sum(clock.slept)
    await patience.wait(name, address)
    return sum(clock.slept) - before


async def test_a_few_mistakes_cost_nothing(patience: Patience, clock: Clock) -> None:
    for _ in range(2):
        patience.failed("alice", "10.0.0.1")
        assert await waited(patience, clock) == 0


async def test_many_cost_more_and_more_but_never_everything(patience: Patience, clock: Clock) -> None:
    waits = []
    for _ in range(12):
        waits.append(await waited(patience, clock))
        patience.failed("alice", "10.0.0.1")
    assert waits[:3] == [0, 0, 0] and waits[5] > 0 and waits[11] > waits[5]
    assert max(waits) <= 10.5
    assert await waited(patience, clock, address="10.0.0.2") < 1, (
        "whoever it really is gets in from elsewhere"
    )
    assert await waited(patience, clock, name="bob") < 1, "and so do others behind the same address"


async def test_many_at_once_are_no_faster(clock: Clock) -> None:
    began = clock.seconds()
    waits: list[float] = []
    refused = 0

    async def note(seconds: float) -> None:
        waits.append(seconds)

    patience = Patience(lambda: began, note)
    for _ in range(6):
        patience.failed("alice", "10.0.0.1")
    for _ in range(20):
        try:
            await patience.wait("alice", "10.0.0.1")
        except TooManyRequests as error:
            refused += 1
            assert int(error.headers["Retry-After"]) > 0
    assert waits == sorted(waits) and len(set(waits)) == len(waits), "each has a turn of its own"
    assert refused > 0, "who would wait too long is told when to come again"


async def test_one_address_that_tries_many_names_is_slowed(patience: Patience, clock: Clock) -> None:
    for number in range(100):
        patience.failed(f"user{number}", "10.0.0.1")
    assert 0 < await waited(patience, clock, name="alice") <= 3
    assert await waited(patience, clock, name="alice", address="10.0.0.2") == 0


async def test_one_name_that_is_tried_from_everywhere_stays_usable(patience: Patience, clock: Clock) -> None:
    for number in range(1000):
        patience.failed("alice", f"10.0.{number // 250}.{number % 250}")
    assert await waited(patience, clock, address="10.9.9.9") <= 1.5


async def test_it_is_forgotten_by_and_by(patience: Patience, clock: Clock) -> None:
    for _ in range(10):
        patience.failed("alice", "10.0.0.1")
    assert await waited(patience, clock) > 0
    clock.advance(minutes=10)
    assert await waited(patience, clock) == 0


async def test_a_right_password_makes_good(patience: Patience, clock: Clock) -> None:
    for _ in range(10):
        patience.failed("alice", "10.0.0.1")
    patience.succeeded("alice", "10.0.0.1")
    assert await waited(patience, clock) == 0


async def test_what_is_remembered_is_bounded(
    patience: Patience, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.access.patience._REMEMBERED", 10)
    for number in range(100):
        patience.failed(f"user{number}", f"10.0.0.{number}")
    assert len(patience._failures) == 10


async def test_who_gives_up_waiting_leaves_nothing_behind(clock: Clock) -> None:
    """Neither a sleep that goes on, nor a failure that counts."""
    asleep: list[float] = []

    async def sleep(seconds: float) -> None:
        asleep.append(seconds)
        try:
            await asyncio.Event().wait()
        finally:
            asleep.remove(seconds)

    patience = Patience(clock.seconds, sleep)
    for _ in range(9):
        patience.failed("alice", "10.0.0.1")
    counted = {key: failures.count for key, failures in patience._failures.items()}
    task = asyncio.create_task(patience.wait("alice", "10.0.0.1"))
    await asyncio.sleep(0)
    assert len(asleep) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asleep == []
    assert {key: failures.count for key, failures in patience._failures.items()} == counted
    clock.advance(minutes=10)
    assert await patience.wait("alice", "10.0.0.1") == 0
