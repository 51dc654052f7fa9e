"""Work that repeats, on a clock that is looked at and not waited for."""

from __future__ import annotations

import asyncio

import pytest

from registry.work.schedule import Schedule


async def begins(monkeypatch: pytest.MonkeyPatch, *, at_once: bool) -> list[str]:
    """What a job and its pauses do, in their order, until it has run twice."""
    seen: list[str] = []
    twice = asyncio.Event()

    async def job() -> None:
        seen.append("job")
        if seen.count("job") == 2:
            twice.set()

    async def sleep(seconds: float) -> None:
        seen.append(f"{seconds:g} s")
        if twice.is_set():
            await asyncio.Event().wait()

    monkeypatch.setattr("registry.work.schedule.asyncio.sleep", sleep)
    schedule = Schedule()
    schedule.every("test", 7.0, job, at_once=at_once)
    await twice.wait()
    await schedule.stop()
    return seen


async def test_a_job_runs_at_once_and_after_each_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await begins(monkeypatch, at_once=True))[:3] == ["job", "7 s", "job"]


async def test_a_job_that_no_start_has_time_for_waits_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await begins(monkeypatch, at_once=False))[:4] == ["7 s", "job", "7 s", "job"]
