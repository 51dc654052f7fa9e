"""Whether a process should get requests: storage that fails, that hangs, and that comes back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry.api.health import Readiness
from storage.errors import Unavailable
from tests.api.conftest import Serve


class Storage:
    """Storage that answers, fails or hangs, by a clock that only tests move."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.fails = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.readiness = Readiness(self._probe, clock=lambda: self.now)

    async def _probe(self) -> None:
        await self.answers.wait()
        if self.fails:
            raise Unavailable("", "the disk is on fire")

    async def look(self, *, after: float = 0.0) -> str | None:
        """Let time pass, look at the storage, and say why not to send requests."""
        self.now += after
        await self.readiness.watch()
        return self.readiness.reason()


async def test_storage_that_fails_for_30_s_makes_a_process_unready_and_one_answer_ready_again() -> None:
    storage = Storage()
    assert await storage.look() is None
    storage.fails = True
    assert await storage.look() is None
    assert await storage.look(after=29) is None
    assert await storage.look(after=1) == "the storage has failed for 30 s: the disk is on fire"
    storage.fails = False
    assert await storage.look(after=1) is None
    # Counted from nothing again.
    storage.fails = True
    assert await storage.look() is None
    assert await storage.look(after=29) is None


@contextlib.asynccontextmanager
async def hanging(storage: Storage) -> AsyncIterator[None]:
    """A look at the storage that gets no answer, until the end of this."""
    storage.answers.clear()
    looking = asyncio.create_task(storage.readiness.watch())
    await asyncio.sleep(0)
    yield
    storage.answers.set()
    await looking


async def test_storage_that_hangs_is_storage_that_fails() -> None:
    storage = Storage()
    async with hanging(storage):
        storage.now += 29
        assert storage.readiness.reason() is None
        storage.now += 1
        assert storage.readiness.reason() == "the storage has not answered for 30 s"
    assert storage.readiness.reason() is None


async def test_a_hang_behind_failures_and_a_failure_at_its_end_count_from_the_first() -> None:
    storage = Storage()
    storage.fails = True
    assert await storage.look() is None
    storage.now += 5
    async with hanging(storage):
        storage.now += 25
        assert storage.readiness.reason() == "the storage has failed for 30 s: the disk is on fire"
    other = Storage()
    other.fails = True
    async with hanging(other):
        other.now += 30
    assert other.readiness.reason() == "the storage has failed for 30 s: the disk is on fire"


async def test_who_drains_is_not_ready_whatever_the_storage_does() -> None:
    storage = Storage()
    storage.readiness.draining = True
    assert await storage.look() == "shutting down"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_that_drains_says_so_and_lives(serve: Serve, tmp_path: Path, workers: int) -> None:
    server = serve(tmp_path / "data", {"drain_seconds": 3600, "workers": workers})
    ready = server.registry.ask("GET", "/readyz")
    assert (ready.status, ready.json()) == (200, {"status": "ok"})
    server.terminate()
    while (answer := server.registry.ask("GET", "/readyz")).status == 200:
        pass
    assert (answer.status, answer.json()) == (503, {"status": "unavailable", "reason": "shutting down"})
    assert server.registry.ask("HEAD", "/livez").status == 200
    assert server.registry.ask("GET", "/v2/").status == 200
    # The second signal does not wait for the hour.
    server.terminate()
    assert server.stop() in (0, 1)
