"""What killed writers left is found again wherever it lies, and nothing else is taken for it."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.errors import Unavailable
from storage.keys import NOTES_PREFIX
from storage.local import LocalDriver
from tests.storage.probing import MIB, pieces
from tests.storage.watched import Call, WatchedFiles, failing

DAY = 24 * 3600
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(-[0-9]+)?")

CHILD = """
    import asyncio, sys
    from storage.local import LocalDriver

    async def main():
        driver = LocalDriver(sys.argv[1])

        async def chunks():
            yield b"x" * (2 << 20)
            yield b"x"
            print("written", flush=True)
            await asyncio.Event().wait()

        await driver.put("a/whole", b"here", durable=False)
        await driver.write("a/b/c/unfinished", chunks(), durable=sys.argv[2] == "durable")

    asyncio.run(main())
"""


def killed_writer(root: Path, durable: str = "durable") -> None:
    """A process that has put `a/whole` and is killed while it writes `a/b/c/unfinished`."""
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(root), durable], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == "written\n"
        child.send_signal(signal.SIGKILL)
        child.wait()


async def swept(root: Path, *, later: float) -> None:
    """What a process of a later day does; it has read before, and lists nothing."""
    driver = LocalDriver(root, now=lambda: max(path.stat().st_mtime for path in root.rglob("*")) + later)
    await driver.sweep()
    await driver.aclose()


def found(root: Path) -> list[str]:
    """All files, with a star for the random part of a name."""
    names = (str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    return sorted(UUID.sub("*", name) for name in names)


@pytest.mark.parametrize("durable", ["durable", "a piece of an upload"])
async def test_what_a_killed_writer_left_goes_after_a_day_though_nobody_lists_it(
    tmp_path: Path, durable: str
) -> None:
    killed_writer(tmp_path, durable)
    left = [".tmp-notes-*", "a/b/c/.tmp-*", "a/whole"]
    assert found(tmp_path) == left
    await swept(tmp_path, later=23 * 3600)
    assert found(tmp_path) == left
    await swept(tmp_path, later=25 * 3600)
    assert found(tmp_path) == ["a/whole"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["whole"]


async def test_notes_stay_as_long_as_anything_that_they_name_is_young(tmp_path: Path) -> None:
    killed_writer(tmp_path)
    (notes,) = tmp_path.glob(f"{NOTES_PREFIX}*")
    (unfinished,) = tmp_path.glob("a/b/c/.tmp-*")
    now = unfinished.stat().st_mtime
    os.utime(notes, (now - 2 * DAY, now - 2 * DAY))
    await swept(tmp_path, later=0)
    assert notes.exists()
    assert unfinished.exists()
    os.utime(unfinished, (now - 2 * DAY, now - 2 * DAY))
    await swept(tmp_path, later=0)
    assert found(tmp_path) == ["a/whole"]


async def test_a_process_that_lives_keeps_its_notes(tmp_path: Path) -> None:
    going_on = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * 2 * MIB
        yield b"x"
        await going_on.wait()

    driver = LocalDriver(tmp_path)
    writing = asyncio.ensure_future(driver.write("a/key", chunks()))
    while not [*tmp_path.glob("a/.tmp-*")]:
        await asyncio.to_thread(os.stat, tmp_path)
    (notes,) = tmp_path.glob(f"{NOTES_PREFIX}*")
    os.utime(notes, (0, 0))
    await driver.sweep()
    await swept(tmp_path, later=23 * 3600)
    assert notes.exists()
    assert [*tmp_path.glob("a/.tmp-*")]
    going_on.set()
    await writing
    await driver.aclose()
    assert found(tmp_path) == ["a/key"]


async def test_a_process_that_was_taken_for_dead_begins_its_notes_anew(tmp_path: Path) -> None:
    driver = LocalDriver(tmp_path)
    await driver.put("a/first", b"")
    assert found(tmp_path) == [".tmp-notes-*", "a/first"]
    await swept(tmp_path, later=25 * 3600)
    assert found(tmp_path) == ["a/first"]
    await driver.sweep()
    await driver.put("a/second", b"")
    assert found(tmp_path) == [".tmp-notes-*", "a/first", "a/second"]
    await driver.aclose()


async def test_only_unfinished_objects_of_the_tree_are_swept(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    lines = [
        b"a/key",
        b"../.tmp-outside",
        b"a/../../.tmp-outside",
        b"/etc/.tmp-x",
        b"\xff/.tmp-x",
        b"",
        b".tmp-x",
    ]
    (root / f"{NOTES_PREFIX}x").write_bytes(b"".join(line.ljust(1023) + b"\n" for line in lines))
    (root / "a/key").write_bytes(b"")
    (tmp_path / ".tmp-outside").write_bytes(b"")
    for path in tmp_path.rglob("*"):
        os.utime(path, (0, 0))
    await swept(root, later=2 * DAY)
    assert found(tmp_path) == [".tmp-outside", "root/a/key"]


async def test_a_note_that_cannot_be_made_is_no_reason_to_refuse_a_write(tmp_path: Path) -> None:
    driver = LocalDriver(tmp_path, files=WatchedFiles(failing(errno.ENOSPC, "overwrite")))
    await driver.put("a", b"x")
    await driver.write("b", pieces(b"x"))
    await driver.aclose()
    assert found(tmp_path) == ["a", "b"]


async def test_an_object_that_could_not_be_removed_stays_noted(tmp_path: Path) -> None:
    files = WatchedFiles(failing(errno.EIO, "sync", "unlink"))
    driver = LocalDriver(tmp_path, files=files)
    with pytest.raises(Unavailable):
        await driver.put("a", b"x")
    files.before = lambda call: None
    await driver.aclose()
    assert found(tmp_path) == [".tmp-*", ".tmp-notes-*"]
    await swept(tmp_path, later=2 * DAY)
    assert found(tmp_path) == []


async def test_processes_that_sweep_at_the_same_time_and_crash_tests_do_no_harm(tmp_path: Path) -> None:
    killed_writer(tmp_path)
    (tmp_path / ".tmp-crash-test/base").mkdir(parents=True)
    (tmp_path / ".tmp-probe").write_bytes(b"")
    os.utime(tmp_path / ".tmp-crash-test", (0, 0))
    later = max(path.stat().st_mtime for path in tmp_path.rglob("*")) + 2 * DAY
    names = ["scan", "status", "open", "unlink", "remove_directory"]
    for name in names:
        # Whatever this process is about to look at, another has just removed.
        files = WatchedFiles()

        def vanish(call: Call, name: str = name) -> None:
            if call.name == name and "/.tmp-" in str(call.arguments[0]) and "crash" not in call.arguments[0]:
                Path(call.arguments[0]).unlink(missing_ok=True)

        files.before = vanish
        driver = LocalDriver(tmp_path, files=files, now=lambda: later)
        await driver.sweep()
        await driver.aclose()
    await swept(tmp_path, later=2 * DAY)
    assert found(tmp_path) == ["a/whole"]
    assert (tmp_path / ".tmp-crash-test/base").is_dir()
