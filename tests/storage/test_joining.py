"""Moves and copies are names where they can be, bytes where they cannot, and nothing is passed through."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from storage.errors import NotFound, OutOfSpace, Unavailable
from storage.files import Files
from storage.local import LocalDriver
from tests.storage.disks import Mount, mount
from tests.storage.probing import MIB
from tests.storage.test_local import DirectoryProbe
from tests.storage.watched import Call, Gate, WatchedFiles

__all__ = ["mount"]

DATA = os.urandom(9 * MIB)


@pytest.fixture
def files() -> WatchedFiles:
    return WatchedFiles()


@pytest.fixture
async def driver(tmp_path: Path, files: WatchedFiles) -> AsyncIterator[LocalDriver]:
    (tmp_path / "root").mkdir()
    driver = LocalDriver(tmp_path / "root", files=files)
    yield driver
    await driver.aclose()


@pytest.fixture
def probe(tmp_path: Path) -> DirectoryProbe:
    return DirectoryProbe(tmp_path / "root")


def inode(tmp_path: Path, key: str) -> int:
    """Which file it is."""
    return (tmp_path / "root" / key).stat().st_ino


async def test_a_move_and_a_copy_move_no_bytes(
    tmp_path: Path, driver: LocalDriver, probe: DirectoryProbe, files: WatchedFiles
) -> None:
    probe.set("a", DATA)
    before = inode(tmp_path, "a")
    await driver.copy("b/copy", "a")
    await driver.compose("c/moved", ["a"], size=len(DATA))
    assert inode(tmp_path, "b/copy") == inode(tmp_path, "c/moved") == before
    assert not {"append", "write", "read"} & set(files.names())
    assert probe.names() == {"b/copy", "c/moved"}


async def test_a_join_is_copied_in_bounded_turns(
    driver: LocalDriver, probe: DirectoryProbe, files: WatchedFiles
) -> None:
    probe.set("1", DATA)
    probe.set("2", b"end")
    await driver.compose("whole", ["1", "2"], size=len(DATA) + 3)
    assert probe.get("whole") == DATA + b"end"
    assert max(call.arguments[3] for call in files.calls if call.name == "append") <= 8 * MIB


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EMLINK, errno.EPERM])
async def test_where_a_file_can_have_no_second_name_its_bytes_are_copied(
    tmp_path: Path, probe: DirectoryProbe, number: int
) -> None:
    class NoSecondName(Files):
        def link(self, source: str, path: str) -> None:
            if "/.tmp-" not in source:
                raise OSError(number, "no second name for this")
            super().link(source, path)

    driver = LocalDriver(tmp_path / "root", files=NoSecondName())
    probe.set("a", DATA)
    await driver.copy("b/copy", "a")
    assert probe.get("b/copy") == DATA
    probe.set("there", b"stays")
    await driver.copy("there", "a")
    assert probe.get("there") == b"stays"
    await driver.compose("c/moved", ["a"], size=len(DATA))
    assert probe.get("c/moved") == DATA
    assert probe.names() == {"b/copy", "c/moved", "there"}
    await driver.aclose()


async def test_another_disk_behind_a_link_is_part_of_the_tree(
    tmp_path: Path, mount: Mount, driver: LocalDriver, probe: DirectoryProbe
) -> None:
    disk = mount("disk", 32 * MIB)
    (disk / "home").mkdir()
    (tmp_path / "root/far").symlink_to(disk / "home")
    await driver.put("near/1", DATA)
    await driver.copy("far/a/copy", "near/1")
    await driver.compose("far/a/moved", ["near/1"], size=len(DATA))
    assert (disk / "home/a/copy").read_bytes() == (disk / "home/a/moved").read_bytes() == DATA
    await driver.compose("near/back", ["far/a/moved"], size=len(DATA))
    assert probe.get("near/back") == DATA
    await driver.put("far/a/small", b"x", if_absent=True)
    assert [key async for key in driver.walk("")] == ["far/a/copy", "far/a/small", "near/back"]
    await driver.delete(["far/a/copy", "far/a/small"])
    assert os.listdir(disk / "home") == []
    assert (tmp_path / "root/far").is_symlink()


async def test_a_source_that_vanishes_on_the_way_is_missing(tmp_path: Path, probe: DirectoryProbe) -> None:
    class Vanishing(Files):
        def append(self, descriptor: int, source: int, offset: int, count: int) -> int:
            (tmp_path / "root/2").unlink(missing_ok=True)
            return super().append(descriptor, source, offset, count)

        def link(self, source: str, path: str) -> None:
            if "/.tmp-" not in source:
                Path(source).unlink(missing_ok=True)
            super().link(source, path)

    driver = LocalDriver(tmp_path / "root", files=Vanishing())
    probe.set("1", b"one")
    probe.set("2", b"two")
    with pytest.raises(NotFound):
        await driver.compose("whole/key", ["1", "2"], size=6)
    assert probe.names() == {"1"}
    with pytest.raises(NotFound):
        await driver.compose("whole/key", ["1"], size=3)
    assert probe.names() == set()
    await driver.aclose()


@pytest.mark.parametrize("call", ["open", "status_of", "sync", "link"])
async def test_a_source_that_another_moves_at_any_moment_is_no_error(
    tmp_path: Path, probe: DirectoryProbe, files: WatchedFiles, call: str
) -> None:
    def moving(made: Call) -> None:
        if made.name == call and probe.get("source") is not None:
            (tmp_path / "root/whole").mkdir()
            (tmp_path / "root/source").rename(tmp_path / "root/whole/key")

    files.before = moving
    driver = LocalDriver(tmp_path / "root", files=files)
    probe.set("source", b"one")
    await driver.compose("whole/key", ["source"], size=3)
    assert probe.get("whole/key") == b"one"
    assert probe.names() == {"whole/key"}
    await driver.aclose()


async def test_a_source_that_changes_on_the_way_is_not_joined(tmp_path: Path, probe: DirectoryProbe) -> None:
    class Growing(Files):
        def append(self, descriptor: int, source: int, offset: int, count: int) -> int:
            probe.set("2", b"not two")
            return super().append(descriptor, source, offset, count)

    driver = LocalDriver(tmp_path / "root", files=Growing())
    probe.set("1", b"one")
    probe.set("2", b"two")
    with pytest.raises(Unavailable):
        await driver.compose("key", ["1", "2"], size=6)
    assert probe.names() == {"1", "2"}
    await driver.aclose()


async def test_more_sources_than_descriptors(driver: LocalDriver, probe: DirectoryProbe) -> None:
    sources = [f"parts/{number:05}" for number in range(2000)]
    for source in sources:
        probe.set(source, source.encode())
    before = len(os.listdir("/proc/self/fd"))
    await driver.compose("whole", sources, size=11 * len(sources))
    assert probe.get("whole") == "".join(sources).encode()
    assert probe.names() == {"whole"}
    assert len(os.listdir("/proc/self/fd")) <= before + 2


@pytest.mark.parametrize("size", [3, len(DATA)], ids=["short", "much"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
async def test_what_could_not_be_synced_is_never_believed(
    driver: LocalDriver, probe: DirectoryProbe, files: WatchedFiles, number: int, size: int
) -> None:
    files.before = failing_sync(number)
    probe.set("source", DATA[:size])
    with pytest.raises(OutOfSpace if number == errno.ENOSPC else Unavailable):
        await driver.compose("whole/key", ["source"], size=size)
    assert probe.names() == set()
    with pytest.raises(NotFound):
        await driver.compose("whole/key", ["source"], size=size)
    assert probe.names() == set()


@pytest.mark.parametrize("size", [3, len(DATA)], ids=["short", "much"])
async def test_nor_when_the_client_has_gone_meanwhile(
    driver: LocalDriver, probe: DirectoryProbe, files: WatchedFiles, size: int
) -> None:
    gate = Gate(0)
    failing = failing_sync(errno.EIO)

    def before(call: Call) -> None:
        if call.name == "sync":
            gate(call)
        failing(call)

    files.before = before
    probe.set("source", DATA[:size])
    moving = asyncio.ensure_future(driver.compose("whole/key", ["source"], size=size))
    assert await asyncio.to_thread(gate.reached.wait, 60)
    moving.cancel()
    await asyncio.sleep(0)
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await moving
    assert probe.names() == set()


async def test_sources_of_a_join_outlive_a_sync_that_fails(
    driver: LocalDriver, probe: DirectoryProbe, files: WatchedFiles
) -> None:
    files.before = failing_sync(errno.EIO)
    probe.set("1", b"one")
    probe.set("2", b"two")
    with pytest.raises(Unavailable):
        await driver.compose("key", ["1", "2"], size=6)
    assert probe.names() == {"1", "2"}
    # Their bytes are written anew, to another file.
    await driver.compose("key", ["1", "2"], size=6)
    assert probe.get("key") == b"onetwo"


def failing_sync(number: int) -> Callable[[Call], None]:
    """The first sync fails; as on Linux, each later one of the same file says that all is well."""
    failed: list[Call] = []

    def before(call: Call) -> None:
        if call.name == "sync" and not failed:
            failed.append(call)
            raise OSError(number, os.strerror(number))

    return before
