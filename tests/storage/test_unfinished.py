"""An object appears whole or not at all, at whichever file call a write is cancelled, fails or dies."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from storage.errors import AlreadyExists, OutOfSpace, Unavailable
from storage.files import Files
from storage.local import LocalDriver
from tests.storage.disks import Mount, mount
from tests.storage.probing import MIB, pieces, walked
from tests.storage.test_local import DirectoryProbe
from tests.storage.watched import Call, Gate, WatchedFiles

pytestmark = pytest.mark.exhaustive

__all__ = ["mount"]

NEW = b"n" * (2 * MIB + 10)
SHORT = b"s" * 10
Work = Callable[[LocalDriver, bytes], Awaitable[object]]


async def writing(driver: LocalDriver, new: bytes) -> None:
    """Several steps."""
    await driver.write("a/b/key", pieces(new[: len(new) // 2], new[len(new) // 2 : -1], new[-1:]))


async def writing_if_absent(driver: LocalDriver, new: bytes) -> None:
    """The other way to a name."""
    await driver.write("a/b/key", pieces(new[:MIB], new[MIB:]), if_absent=True)


async def putting(driver: LocalDriver, new: bytes) -> None:
    """One step."""
    await driver.put("a/b/key", new)


async def copying(driver: LocalDriver, _: bytes) -> None:
    """A name for what is there."""
    await driver.copy("a/b/key", "source/1")


async def joining(driver: LocalDriver, new: bytes) -> None:
    """Bytes from two objects."""
    await driver.compose("a/b/key", ["source/1", "source/2"], size=2 * len(new))


async def moving(driver: LocalDriver, new: bytes) -> None:
    """A name from one place to another."""
    await driver.compose("a/b/key", ["source/1"], size=len(new))


WORKS = [writing, writing_if_absent, putting, copying, joining, moving]
CASES = [(work, None) for work in WORKS] + [(work, b"before") for work in (writing, putting, joining, moving)]


def prepare(root: Path, there: bytes | None, new: bytes = NEW) -> DirectoryProbe:
    """The sources, and what lies under the key before."""
    probe = DirectoryProbe(root)
    probe.set("source/1", new)
    probe.set("source/2", new)
    if there is not None:
        probe.set("a/b/key", there)
    return probe


def unharmed(
    probe: DirectoryProbe,
    there: bytes | None,
    new: bytes = NEW,
    *,
    empty: bool = False,
    unfinished: bool = False,
    gone: str = "",
) -> None:
    """Nothing half; nothing unfinished; nothing lost. Where tidying failed, things may stay."""
    assert probe.get("a/b/key") in (there, new, new + new)
    for name in probe.names() - {"a/b/key", "source/1", "source/2"}:
        assert (empty and name.endswith("/")) or (unfinished and "/.tmp-" in name)
    if probe.get("a/b/key") == there:
        assert {"source/2"} | ({"source/1"} - {gone}) <= probe.names()


class UnsyncedFiles(WatchedFiles):
    """Calls for a sync are seen, and cost nothing."""

    def sync(self, descriptor: int) -> None:
        """Not at all."""


@pytest.mark.parametrize(("work", "there"), CASES)
async def test_cancelled_at_any_file_call(tmp_path: Path, work: Work, there: bytes | None) -> None:
    for number in range(200):
        root = tmp_path / str(number)
        probe = prepare(root, there)
        gate = Gate(number)
        driver = LocalDriver(root, files=UnsyncedFiles(gate))
        running = asyncio.ensure_future(work(driver, NEW))
        reached = asyncio.ensure_future(asyncio.to_thread(gate.reached.wait, 60))
        await asyncio.wait([running, reached], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            gate.reached.set()
            gate.open()
            await reached
            await running
            await driver.aclose()
            assert number > 5
            return
        running.cancel()
        await asyncio.sleep(0)
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await running
        unharmed(probe, there)
        assert gate.call is not None
        if gate.call.name in ("create", "write", "append", "make_marked_directory"):
            assert probe.get("a/b/key") == there
        await driver.aclose()
    pytest.fail("it never ends")


def only_syncs(gate: Gate) -> Callable[[Call], None]:
    """The gate, for syncs."""

    def before(call: Call) -> None:
        if call.name == "sync":
            gate(call)

    return before


@pytest.mark.parametrize(("work", "there"), CASES)
async def test_cancelled_at_any_sync_of_a_quick_disk(tmp_path: Path, work: Work, there: bytes | None) -> None:
    for number in range(10):
        root = tmp_path / str(number)
        probe = prepare(root, there, SHORT)
        gate = Gate(number)
        driver = LocalDriver(root, files=UnsyncedFiles(only_syncs(gate)))
        running = asyncio.ensure_future(work(driver, SHORT))
        reached = asyncio.ensure_future(asyncio.to_thread(gate.reached.wait, 60))
        await asyncio.wait([running, reached], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            gate.reached.set()
            await reached
            await running
            await driver.aclose()
            assert number > 1
            return
        for _ in range(2):
            running.cancel()
            await asyncio.sleep(0)
        assert not running.done()
        assert not [name for name in probe.names() if name.endswith("/")]
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await running
        unharmed(probe, there, SHORT)
        await driver.aclose()
    pytest.fail("it never ends")


@pytest.mark.parametrize("new", [NEW, SHORT], ids=["much", "short"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize(("work", "there"), CASES)
async def test_failing_at_any_file_call(
    tmp_path: Path, work: Work, there: bytes | None, number: int, new: bytes
) -> None:
    kind = OutOfSpace if number == errno.ENOSPC else Unavailable
    for count in range(200):
        root = tmp_path / str(count)
        probe = prepare(root, there, new)
        files = UnsyncedFiles()
        failed: list[str] = []

        def failing_once(call: object, files: WatchedFiles = files, count: int = count) -> None:
            if len(files.calls) == count + 1 and not failed:  # noqa: B023
                failed.append(files.calls[-1].name)  # noqa: B023
                raise OSError(number, os.strerror(number))

        files.before = failing_once
        driver = LocalDriver(root, files=files)
        try:
            await work(driver, new)
        except (OutOfSpace, Unavailable) as error:
            assert type(error) is kind
        await driver.aclose()
        if not failed:
            assert count > 5
            return
        # What could not be synced must not be moved once more.
        gone = "source/1" if work is moving and failed[0] == "sync" else ""
        unharmed(probe, there, new, empty=True, unfinished=failed[0] in ("unlink", "close"), gone=gone)
    pytest.fail("it never ends")


async def test_an_error_of_the_store_under_an_iterator_is_not_its_own(tmp_path: Path) -> None:
    driver = LocalDriver(tmp_path)
    error = OSError(errno.EIO, "the connection, not the disk")

    async def breaking() -> AsyncIterator[bytes]:
        yield b"x"
        raise error

    with pytest.raises(OSError, match="the connection") as caught:
        await driver.write("a", breaking())
    assert caught.value is error
    await driver.aclose()


async def test_a_full_disk_leaves_nothing_and_goes_on_when_there_is_room(mount: Mount) -> None:
    root = mount("disk", 2 * MIB)
    driver = LocalDriver(root)
    await driver.start()
    await driver.put("small", b"x" * 1000)
    await driver.put("source/1", b"x" * MIB)
    probe = DirectoryProbe(root)
    names = probe.names()
    with pytest.raises(OutOfSpace):
        await driver.write("big", pieces(*[b"x" * 65536] * 32))
    with pytest.raises(OutOfSpace):
        await driver.put("a/b/big", b"x" * 2 * MIB)
    with pytest.raises(OutOfSpace):
        await driver.compose("big", ["source/1", "small"], size=MIB + 1000)
    assert probe.names() == names
    await driver.compose("moved", ["source/1"], size=MIB)
    await driver.delete(["moved"])
    await driver.write("big", pieces(*[b"x" * 65536] * 20))
    assert probe.names() == {"small", "big"}
    await driver.aclose()


async def test_an_empty_directory_that_a_crash_left_is_not_in_the_way(tmp_path: Path) -> None:
    driver = LocalDriver(tmp_path)
    works: list[Callable[[], Awaitable[object]]] = [
        lambda: driver.put("a", b"x"),
        lambda: driver.put("a", b"x", if_absent=True),
        lambda: driver.write("a", pieces(b"x")),
        lambda: driver.copy("a", "source"),
        lambda: driver.compose("a", ["source"], size=1),
    ]
    for work in works:
        (tmp_path / "source").write_bytes(b"x")
        (tmp_path / "a/b/c").mkdir(parents=True)
        await work()
        assert (tmp_path / "a").read_bytes() == b"x"
        (tmp_path / "a").unlink()
    await driver.aclose()


CHILD = """
    import asyncio, sys
    from storage.local import LocalDriver

    async def main():
        driver = LocalDriver(sys.argv[1])
        await driver.start()
        await driver.put("a/acknowledged", b"here", durable=False)

        async def chunks():
            for number in range(3):
                yield b"x" * (1 << 20)
            print("written", flush=True)
            await asyncio.Event().wait()

        await asyncio.gather(driver.write("a/b/unfinished", chunks()), driver.write("a/c", chunks()))

    asyncio.run(main())
"""


async def test_a_killed_writer_leaves_temporary_names_only(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child.stdout:
        assert [child.stdout.readline() for _ in range(2)] == ["written\n"] * 2
        child.send_signal(signal.SIGKILL)
        child.wait()
    left = DirectoryProbe(tmp_path).names() - {"a/acknowledged"}
    assert len(left) == 2
    assert all(name.startswith(("a/.tmp-", "a/b/.tmp-")) for name in left)
    now = max((tmp_path / name).stat().st_mtime for name in left)
    driver = LocalDriver(tmp_path, now=lambda: now + 23 * 3600)
    assert await walked(driver, "") == ["a/acknowledged"]
    assert left <= DirectoryProbe(tmp_path).names()
    await driver.aclose()
    driver = LocalDriver(tmp_path, now=lambda: now + 25 * 3600)
    assert await walked(driver, "") == ["a/acknowledged"]
    assert not left & DirectoryProbe(tmp_path).names()
    await driver.aclose()


RACER = """
    import asyncio, os, sys
    from storage.errors import AlreadyExists
    from storage.local import LocalDriver

    async def main():
        driver = LocalDriver(sys.argv[1])
        await driver.start()
        print("ready", flush=True)
        sys.stdin.readline()
        won = []
        for number in range(100):
            try:
                await driver.put(f"claims/{number}/epoch", sys.argv[2].encode(), if_absent=True)
                won.append(number)
            except AlreadyExists:
                continue
        print(*won, flush=True)
        await driver.aclose()

    asyncio.run(main())
"""


async def test_two_processes_never_win_the_same(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RACER), str(tmp_path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    won: dict[str, str] = {}
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for name, racer in zip(("one", "two"), racers, strict=True):
        output, _ = racer.communicate(timeout=120)
        for number in output.split():
            assert number not in won
            won[number] = name
    assert len(won) == 100
    for number, name in won.items():
        assert (tmp_path / f"claims/{number}/epoch").read_text() == name


async def test_two_drivers_of_one_root_never_win_the_same(tmp_path: Path) -> None:
    drivers = [LocalDriver(tmp_path), LocalDriver(tmp_path)]
    for turn in range(20):
        key = f"a/{turn}/key"
        results = await asyncio.gather(
            *(driver.put(key, b"%d" % number, if_absent=True) for number, driver in enumerate(drivers * 4)),
            return_exceptions=True,
        )
        assert sum(result is None for result in results) == 1
        assert sum(isinstance(result, AlreadyExists) for result in results) == 7
    for driver in drivers:
        await driver.aclose()


async def test_what_vanishes_before_it_is_compared_is_written_after_all(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"other")

    class Vanishing(Files):
        def open(self, path: str) -> int:
            if path.endswith("/a"):
                Path(path).unlink(missing_ok=True)
            return super().open(path)

    driver = LocalDriver(tmp_path, files=Vanishing())
    await driver.put("a", b"mine", if_absent=True)
    assert (tmp_path / "a").read_bytes() == b"mine"
    await driver.aclose()
