"""A file system that cannot keep the contract is refused, and the refusal says why."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.errors import Forbidden, StorageError
from storage.files import Files
from storage.findings import UnsuitableStore
from storage.local import LocalDriver
from tests.storage.disks import Mount, mount, remount_read_only
from tests.storage.watched import Call, WatchedFiles, failing

__all__ = ["mount"]


async def start(root: Path, files: Files, *, allow_case_folding: bool = False) -> LocalDriver:
    """Start a driver and end it again, whatever comes of it."""
    driver = LocalDriver(root, files=files, allow_case_folding=allow_case_folding)
    try:
        await driver.start()
    finally:
        await driver.aclose()
    return driver


async def test_a_root_is_made_with_what_is_missing_above_it(tmp_path: Path) -> None:
    files = WatchedFiles()
    driver = await start(tmp_path / "a/b", files)
    assert driver.root == str(tmp_path / "a/b")
    assert not driver.read_only
    assert os.listdir(tmp_path / "a/b") == []
    # Each new name is made durable.
    synced = files.given("sync_directory")
    assert synced[:2] == [str(tmp_path), str(tmp_path / "a")]


async def test_the_name_of_an_empty_root_is_made_durable_whoever_made_it(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    files = WatchedFiles()
    await start(tmp_path / "a/b", files)
    assert {str(tmp_path), str(tmp_path / "a")} <= set(files.given("sync_directory"))
    (tmp_path / "a/b/key").write_bytes(b"")
    files = WatchedFiles()
    await start(tmp_path / "a/b", files)
    assert files.given("sync_directory") == [str(tmp_path / "a/b")]


async def test_the_root_of_the_machine_is_refused() -> None:
    with pytest.raises(UnsuitableStore, match="directory of its own"):
        await start(Path("/"), Files())


async def test_a_file_is_no_root(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="Not a directory"):
        await start(tmp_path / "file", Files())


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
async def test_without_hard_links(tmp_path: Path, number: int) -> None:
    with pytest.raises(UnsuitableStore, match="no hard links"):
        await start(tmp_path, WatchedFiles(failing(number, "link")))
    assert os.listdir(tmp_path) == []


async def test_where_a_link_is_a_copy(tmp_path: Path) -> None:
    class Copying(Files):
        def link(self, source: str, path: str) -> None:
            Path(path).write_bytes(Path(source).read_bytes())

    with pytest.raises(UnsuitableStore, match="copies a file"):
        await start(tmp_path, Copying())
    assert os.listdir(tmp_path) == []


async def test_without_sync_of_directories(tmp_path: Path) -> None:
    with pytest.raises(UnsuitableStore, match="cannot sync a directory"):
        await start(tmp_path, WatchedFiles(failing(errno.EINVAL, "sync_directory")))
    assert os.listdir(tmp_path) == []


class Folding(Files):
    """Takes upper and lower case for the same."""

    def status(self, path: str) -> os.stat_result:
        """Of whatever entry has the name in any case."""
        directory, name = os.path.split(path)
        for entry in os.listdir(directory):
            if entry.lower() == name.lower():
                return os.stat(os.path.join(directory, entry))
        return os.stat(path)


async def test_case_folding_is_refused_unless_allowed(tmp_path: Path) -> None:
    with pytest.raises(UnsuitableStore, match="upper and lower case"):
        await start(tmp_path, Folding())
    assert os.listdir(tmp_path) == []
    assert not (await start(tmp_path, Folding(), allow_case_folding=True)).read_only


async def test_a_read_only_disk_is_served_for_reading(mount: Mount) -> None:
    root = mount("disk", 1 << 20)
    (root / "key").write_bytes(b"here")
    remount_read_only(root)
    await reads_and_refuses(root, Files())


def not_writing(number: int) -> Callable[[Call], None]:
    """Refuses all that would change something."""
    made = ("create", "link", "make_directory", "make_marked_directory")
    return failing(number, *made, "rename", "unlink", "remove_directory")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
async def test_a_tree_that_may_not_be_written_is_served_for_reading(tmp_path: Path, number: int) -> None:
    (tmp_path / "key").write_bytes(b"here")
    await reads_and_refuses(tmp_path, WatchedFiles(not_writing(number)))


async def reads_and_refuses(root: Path, files: Files) -> None:
    """A read-only tree with one object, `key`."""
    driver = LocalDriver(root, files=files)
    await driver.start()
    assert driver.read_only
    assert await driver.get("key", limit=9) == b"here"
    assert [key async for key in driver.walk("")] == ["key"]
    with pytest.raises(Forbidden):
        await driver.put("key", b"")
    with pytest.raises(Forbidden):
        await driver.put("a/b/c", b"")
    with pytest.raises(Forbidden):
        await driver.copy("other", "key")
    with pytest.raises(Forbidden):
        await driver.compose("other", ["key"], size=4)
    with pytest.raises(Forbidden):
        await driver.delete(["key"])
    await driver.delete(["missing"])
    assert await driver.get("key", limit=9) == b"here"
    await driver.aclose()


async def test_a_missing_root_that_may_not_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be kept in"):
        await start(tmp_path / "new", WatchedFiles(not_writing(errno.EACCES)))


async def test_a_full_disk_can_be_started_on(tmp_path: Path) -> None:
    driver = await start(tmp_path, WatchedFiles(failing(errno.ENOSPC, "create")))
    assert not driver.read_only


async def test_a_failing_disk_cannot(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Input/output error"):
        await start(tmp_path, WatchedFiles(failing(errno.EIO, "create")))
