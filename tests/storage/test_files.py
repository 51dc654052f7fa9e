"""The file calls do all they are asked for, also when the system does a part at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import files as module
from storage.files import Files


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture
def descriptor(tmp_path: Path, files: Files) -> Iterator[int]:
    """A new file called `new`."""
    descriptor = files.create(str(tmp_path / "new"))
    yield descriptor
    files.close(descriptor)


def test_a_partial_write_is_gone_on_with(
    tmp_path: Path, files: Files, descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def three_bytes(descriptor: int, pieces: list[bytes]) -> int:
        return os.write(descriptor, b"".join(pieces)[:3])

    monkeypatch.setattr(os, "writev", three_bytes)
    files.write(descriptor, [b"", b"0", b"1234567", b"", b"89", b""])
    assert (tmp_path / "new").read_bytes() == b"0123456789"


def test_more_pieces_than_a_call_takes(tmp_path: Path, files: Files, descriptor: int) -> None:
    pieces = [b"%05d" % number for number in range(5000)]
    files.write(descriptor, pieces)
    assert (tmp_path / "new").read_bytes() == b"".join(pieces)


def test_a_partial_read_is_gone_on_with(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    descriptor = files.open(str(tmp_path / "a"))
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, count, offset: pread(file, min(count, 3), offset))
    assert files.read(descriptor, 8, 1) == b"12345678"
    assert files.read(descriptor, 100, 5) == b"56789"
    assert files.read(descriptor, 1, 10) == b""
    files.close(descriptor)


@pytest.mark.parametrize("number", [None, errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP])
def test_bytes_are_appended_where_the_kernel_copies_and_where_it_does_not(
    tmp_path: Path, files: Files, descriptor: int, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    data = os.urandom(3 << 20)
    (tmp_path / "source").write_bytes(data)
    if number is not None:

        def refusing(*arguments: object) -> int:
            raise OSError(number, "not here")

        monkeypatch.setattr(os, "copy_file_range", refusing)
    source = files.open(str(tmp_path / "source"))
    files.write(descriptor, [b"begin"])
    offset = 100
    while copied := files.append(descriptor, source, offset, 2 << 20):
        offset += copied
    assert offset == len(data)
    files.write(descriptor, [b"end"])
    files.close(source)
    assert (tmp_path / "new").read_bytes() == b"begin" + data[100:] + b"end"


def test_a_full_disk_while_appending_is_an_error(
    tmp_path: Path, files: Files, descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(OSError, match="full"):
        files.append(descriptor, descriptor, 0, 1)


def test_a_new_file_must_be_new(tmp_path: Path, files: Files, descriptor: int) -> None:
    with pytest.raises(FileExistsError):
        files.create(str(tmp_path / "new"))


def test_the_full_sync_of_macos_is_used_where_there_is_one(
    files: Files, descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(module, "_FULL_SYNC", 51)
    monkeypatch.setattr(fcntl, "fcntl", lambda *arguments: asked.append(arguments))
    files.sync(descriptor)
    assert asked == [(descriptor, 51)]


def test_descriptors_are_not_passed_to_programs(tmp_path: Path, files: Files, descriptor: int) -> None:
    reading = files.open(str(tmp_path / "new"))
    assert not os.get_inheritable(descriptor)
    assert not os.get_inheritable(reading)
    files.close(reading)


def test_a_directory_bears_its_mark_until_it_is_taken_off(tmp_path: Path, files: Files) -> None:
    path = str(tmp_path / "marked")
    files.make_marked_directory(path)
    assert files.is_marked(path)
    before = os.stat(path).st_mode
    descriptor = files.open_directory(path)
    files.unmark(descriptor)
    files.close(descriptor)
    assert not files.is_marked(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == stat.S_IMODE(before) & ~stat.S_ISVTX


def test_a_directory_is_marked_also_where_making_it_does_not(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.mkdir
    monkeypatch.setattr(module, "_MARKS_AT_ONCE", False)
    monkeypatch.setattr(os, "mkdir", lambda path, mode: real(path, mode & 0o777))
    files.make_marked_directory(str(tmp_path / "marked"))
    assert files.is_marked(str(tmp_path / "marked"))
