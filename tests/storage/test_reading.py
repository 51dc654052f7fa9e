"""Small reads stay on the loop while the disk is quick, and leave it when it is not."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.errors import NotFound, TooLarge, Unavailable
from storage.local import LocalDriver
from storage.reading import INLINE_BYTES
from tests.storage.probing import read
from tests.storage.watched import Call, Gate, WatchedFiles, failing


class Stopwatch:
    """A clock that moves when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def files() -> WatchedFiles:
    return WatchedFiles()


@pytest.fixture
def clock() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
async def driver(tmp_path: Path, files: WatchedFiles, clock: Stopwatch) -> AsyncIterator[LocalDriver]:
    driver = LocalDriver(tmp_path, files=files, clock=clock)
    yield driver
    files.before = lambda call: None
    await driver.aclose()


def slow_down(files: WatchedFiles, clock: Stopwatch) -> None:
    """Let every read take 0.1 s."""

    def before(call: Call) -> None:
        clock.now += 0.1

    files.before = before


async def test_small_reads_run_on_the_loop_until_the_disk_is_slow(
    tmp_path: Path, driver: LocalDriver, files: WatchedFiles, clock: Stopwatch
) -> None:
    (tmp_path / "a").write_bytes(b"x" * INLINE_BYTES)
    here = threading.get_ident()

    async def threads_of_reads() -> set[int]:
        files.calls.clear()
        await driver.get("a", limit=INLINE_BYTES)
        await driver.stat("a")
        await read(driver, "a")
        # Giving a descriptor back waits for nothing.
        return {call.thread for call in files.calls if call.name != "close"}

    assert await threads_of_reads() == {here}
    slow_down(files, clock)
    with pytest.raises(NotFound):
        await driver.get("missing", limit=1)
    for _ in range(2):
        await driver.stat("a")
    assert driver.reading_aside
    assert driver.slow_reads == 3
    assert here not in await threads_of_reads()
    clock.now += 31
    files.before = lambda call: None
    assert not driver.reading_aside
    assert await threads_of_reads() == {here}


async def test_large_reads_run_in_threads(tmp_path: Path, driver: LocalDriver, files: WatchedFiles) -> None:
    (tmp_path / "a").write_bytes(b"x" * (INLINE_BYTES + 1))
    assert len(await read(driver, "a")) == INLINE_BYTES + 1
    assert threading.get_ident() not in {call.thread for call in files.calls if call.name == "read"}
    files.calls.clear()
    assert len(await read(driver, "a", 1)) == INLINE_BYTES
    assert threading.get_ident() in {call.thread for call in files.calls if call.name == "read"}


def descriptors() -> set[str]:
    """The open files of this process."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
        except FileNotFoundError:
            continue
    return {entry for entry in found if "/proc/" not in entry}


async def test_no_descriptor_is_kept(
    tmp_path: Path, driver: LocalDriver, files: WatchedFiles, clock: Stopwatch
) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "d").mkdir()
    await driver.put("warm", b"")  # starts the thread
    before = descriptors()
    for _ in range(2):
        with pytest.raises(TooLarge):
            await driver.get("a", limit=1)
        with pytest.raises(NotFound):
            await driver.get("d", limit=1)
        with pytest.raises(NotFound):
            await read(driver, "d")
        await read(driver, "a")
        slow_down(files, clock)
        for _ in range(3):
            await driver.stat("a")
        assert driver.reading_aside
    for broken in ("read", "status_of"):
        files.before = failing(5, broken)
        with pytest.raises(Unavailable):
            await driver.get("a", limit=9)
        with pytest.raises(Unavailable):
            await read(driver, "a")
    assert descriptors() == before


async def test_a_cancelled_open_keeps_no_descriptor(
    tmp_path: Path, driver: LocalDriver, files: WatchedFiles, clock: Stopwatch
) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    slow_down(files, clock)
    for _ in range(3):
        await driver.stat("a")
    before = descriptors()
    gate = Gate(1)
    files.before = gate
    reading = asyncio.ensure_future(read(driver, "a"))
    assert await asyncio.to_thread(gate.reached.wait, 60)
    reading.cancel()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert descriptors() == before


async def test_what_shrinks_while_it_is_read_is_an_error_and_not_short(
    tmp_path: Path, driver: LocalDriver
) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    async with driver.open("a") as opened:
        os.truncate(tmp_path / "a", 50)
        with pytest.raises(Unavailable):
            _ = [piece async for piece in opened.chunks()]


async def test_what_is_no_regular_file_is_no_object(tmp_path: Path, driver: LocalDriver) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.mkdir(tmp_path / "directory")
    for key in ("pipe", "directory"):
        with pytest.raises(NotFound):
            await driver.get(key, limit=9)
        with pytest.raises(NotFound):
            await driver.stat(key)
        with pytest.raises(NotFound):
            await driver.copy("copy", key)
    assert [key async for key in driver.walk("")] == []
