"""The local driver keeps the contract."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from itertools import chain
from pathlib import Path

import pytest

from storage.contract import InMemory
from storage.errors import TooLarge, Unavailable
from storage.keys import NOTES_PREFIX
from storage.local import LocalDriver
from storage.reading import INLINE_BYTES
from tests.storage.conformance import DriverConformance
from tests.storage.probing import MIB, pieces
from tests.storage.watched import WatchedFiles, slow_down


class DirectoryProbe:
    """Looks at the files below a directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, key: str) -> bytes | None:
        """The bytes of a file."""
        try:
            return (self._root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def set(self, key: str, data: bytes) -> None:
        """A file made as other programs make them; a new one, since the old may have a second name."""
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def names(self) -> frozenset[str]:
        """All files but the notes of where unfinished ones are, and the directories that are empty."""
        found = set()
        for directory, directories, files in os.walk(self._root):
            where = Path(directory).relative_to(self._root)
            found |= {str(where / name) for name in files if not name.startswith(NOTES_PREFIX)}
            if not directories and not files and directory != str(self._root):
                found.add(f"{where}/")
        return frozenset(found)


class TestLocalDriver(DriverConformance):
    """The contract, and that not even an empty directory is left."""

    @pytest.fixture
    async def driver(self, tmp_path: Path) -> AsyncIterator[LocalDriver]:
        """One on a new directory."""
        driver = LocalDriver(tmp_path / "root")
        await driver.start()
        yield driver
        await driver.aclose()

    @pytest.fixture
    def probe(self, tmp_path: Path) -> DirectoryProbe:
        """That directory."""
        return DirectoryProbe(tmp_path / "root")


async def test_of_what_is_short_only_the_syncs_leave_the_loop(tmp_path: Path) -> None:
    files = WatchedFiles()
    driver = LocalDriver(tmp_path, files=files)
    for durable in (False, True):
        for if_absent in (False, True):
            await driver.put(f"a/{if_absent}/{durable}", b"x", if_absent=if_absent, durable=durable)
        await driver.write(f"b/{durable}", pieces(b"x", b"y"), durable=durable)
        await driver.delete([f"b/{durable}"], durable=durable)
    await driver.compose("c", ["a/True/True"], size=1)
    assert await driver.children("a") == ["False", "True"]
    aside = {call.name for call in files.calls if call.thread != threading.get_ident()}
    assert aside == {"sync", "sync_directory"}
    await driver.aclose()


async def test_on_a_slow_disk_and_with_much_the_whole_work_leaves_the_loop(tmp_path: Path) -> None:
    files = WatchedFiles()
    driver = LocalDriver(tmp_path, files=files)
    await driver.write("a", pieces(b"x" * INLINE_BYTES, b"y"))
    await driver.compose("b", ["a"], size=INLINE_BYTES + 1)
    await driver.put("c", b"x" * (INLINE_BYTES + 1))
    assert threading.get_ident() not in {call.thread for call in files.calls}
    slow_down(driver)
    await driver.put("d", b"x", durable=False)
    await driver.write("e", pieces(b"x"))
    await driver.delete(["a", "b"])
    assert threading.get_ident() not in {call.thread for call in files.calls}
    await driver.aclose()


async def test_one_large_file_is_enough_for_a_delete_to_leave_the_loop(tmp_path: Path) -> None:
    files = WatchedFiles()
    driver = LocalDriver(tmp_path, files=files)
    for size, inline in ((MIB, True), (3 << 30, False)):
        await driver.put("a/small", b"x", durable=False)
        (tmp_path / "a/large").touch()
        os.truncate(tmp_path / "a/large", size)
        files.calls.clear()
        await driver.delete(["a/missing", "a/small", "a/large"], durable=False)
        assert {call.thread == threading.get_ident() for call in files.calls if call.name == "unlink"} == {
            inline
        }
        assert os.listdir(tmp_path) == []
    await driver.aclose()


async def test_pieces_are_gathered_to_about_a_mebibyte_and_never_joined(tmp_path: Path) -> None:
    files = WatchedFiles()
    driver = LocalDriver(tmp_path, files=files)
    data = [bytes([number]) * 65_536 for number in range(40)]
    await driver.write("a", pieces(*data))
    written = [call.arguments[1] for call in files.calls if call.name == "write"]
    assert [len(batch) for batch in written] == [16, 16, 8]
    assert all(piece is given for piece, given in zip(chain(*written), data, strict=True))
    await driver.aclose()


async def test_what_lies_in_memory_all_together_is_written_in_one_step_of_a_thread(tmp_path: Path) -> None:
    files = WatchedFiles()
    driver = LocalDriver(tmp_path, files=files)
    data = [bytes([number % 256]) * 65_536 for number in range(40)]
    await driver.write("a", InMemory(data), durable=False)
    written = [call for call in files.calls if call.name == "write"]
    assert [len(call.arguments[1]) for call in written] == [40]
    assert all(piece is given for piece, given in zip(written[0].arguments[1], data, strict=True))
    assert {call.thread for call in files.calls if call.name in ("create", "write", "rename")} == {
        written[0].thread
    }
    assert written[0].thread != threading.get_ident()
    await driver.aclose()


async def test_a_directory_is_not_looked_for_before_a_write_fails_without_it(tmp_path: Path) -> None:
    files = WatchedFiles()
    driver = LocalDriver(tmp_path, files=files)
    await driver.put("a/b/1", b"x", durable=False)
    files.calls.clear()
    await driver.put("a/b/2", b"x", durable=False)
    assert files.names() == ["create", "write", "rename", "close"]
    await driver.aclose()


async def test_the_root_is_resolved_once(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("one")
    driver = LocalDriver(tmp_path / "link")
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("two")
    await driver.put("key", b"x")
    assert driver.root == str(tmp_path / "one")
    assert (tmp_path / "one/key").read_bytes() == b"x"
    await driver.aclose()


async def test_links_inside_belong_to_the_operator(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").write_bytes(b"kept")
    (tmp_path / "root/link").symlink_to(tmp_path / "outside")
    (tmp_path / "root/file").symlink_to(tmp_path / "outside/kept")
    driver = LocalDriver(tmp_path / "root")
    assert await driver.get("link/kept", limit=9) == b"kept"
    await driver.put("link/new", b"new")
    assert (tmp_path / "outside/new").read_bytes() == b"new"
    await driver.put("file", b"its own")
    assert (tmp_path / "outside/kept").read_bytes() == b"kept"
    await driver.delete(["link/new", "link/kept", "file"])
    await driver.aclose()
    assert os.listdir(tmp_path / "root") == ["link"]
    assert os.listdir(tmp_path / "outside") == []


async def test_a_name_that_is_too_long_is_too_large(tmp_path: Path) -> None:
    driver = LocalDriver(tmp_path)
    for key in ("a" * 300, "/".join(["a" * 200] * 30)):
        with pytest.raises(TooLarge):
            await driver.put(key, b"")
        with pytest.raises(TooLarge):
            await driver.get(key, limit=1)
    await driver.aclose()
    assert os.listdir(tmp_path) == []


async def test_a_root_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    driver = LocalDriver(tmp_path / "root")
    await driver.start()
    (tmp_path / "root").rmdir()
    with pytest.raises(Unavailable):
        await driver.put("a/b", b"")
    assert os.listdir(tmp_path) == []
    await driver.aclose()


async def test_the_epoch_is_the_boot_where_it_is_known(tmp_path: Path) -> None:
    driver = LocalDriver(tmp_path)
    boot = Path("/proc/sys/kernel/random/boot_id")
    assert driver.epoch == (boot.read_text().strip() if boot.exists() else None)
    await driver.aclose()


async def test_closing_ends_the_threads(tmp_path: Path) -> None:
    driver = LocalDriver(tmp_path)
    await driver.put("a", b"")
    assert any(thread.name.startswith("storage") for thread in threading.enumerate())
    await driver.aclose()
    assert not any(thread.name.startswith("storage") for thread in threading.enumerate())
