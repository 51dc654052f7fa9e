"""Each error of the file system becomes the storage error that says what to do."""

from __future__ import annotations

import errno
import os

import pytest

from storage.errors import Forbidden, InvalidKey, NotFound, OutOfSpace, StorageError, TooLarge, Unavailable
from storage.oserrors import Writing, read_error, write_error

BOTH: list[tuple[int, type[StorageError]]] = [
    (errno.ENOSPC, OutOfSpace),
    (errno.EDQUOT, OutOfSpace),
    (errno.EROFS, Forbidden),
    (errno.EACCES, Forbidden),
    (errno.EPERM, Forbidden),
    (errno.ENAMETOOLONG, TooLarge),
    (errno.EFBIG, TooLarge),
    (errno.EIO, Unavailable),
    (errno.ESTALE, Unavailable),
    (errno.EMFILE, Unavailable),
    (errno.ETIMEDOUT, Unavailable),
]


@pytest.mark.parametrize(("number", "kind"), BOTH)
def test_what_is_the_same_for_reads_and_writes(number: int, kind: type[StorageError]) -> None:
    for translate in (read_error, write_error):
        error = translate(OSError(number, os.strerror(number)), "a/b")
        assert type(error) is kind
        assert error.key == "a/b"
        assert os.strerror(number) in str(error)


@pytest.mark.parametrize("number", [errno.ENOTDIR, errno.EISDIR])
def test_a_directory_is_no_object_and_no_place_for_one(number: int) -> None:
    assert type(read_error(OSError(number, ""), "a")) is NotFound
    assert type(write_error(OSError(number, ""), "a")) is InvalidKey


def test_a_missing_file_is_not_found_by_a_read_and_a_failure_of_a_write() -> None:
    assert type(read_error(FileNotFoundError(errno.ENOENT, ""), "a")) is NotFound
    assert type(write_error(FileNotFoundError(errno.ENOENT, ""), "a")) is Unavailable


def test_inside_writing_the_cause_is_kept() -> None:
    cause = OSError(errno.ENOSPC, "full")
    with pytest.raises(OutOfSpace) as caught, Writing("a"):
        raise cause
    assert caught.value.__cause__ is cause
