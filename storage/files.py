"""Every call of the local driver on the file system, one method each.

A test double that records or drops what was not yet synced takes the place of this one class.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from collections.abc import Sequence

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # non-blocking, so that a FIFO in the tree cannot stop us
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: fsync alone stops at the drive's cache
_MARK = stat.S_ISVTX  # on a directory it only says who may remove what, and here all belongs to one user
_MARKS_AT_ONCE = sys.platform == "linux"  # elsewhere `mkdir` leaves that bit out
_PIECES_A_CALL = 512
_COPY_BYTES = 1 << 20
_NO_COPY_IN_KERNEL = frozenset({errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})


class Files:
    """The file calls, each of which does one thing or raises OSError."""

    def open(self, path: str) -> int:
        """A descriptor for reading an existing file."""
        return os.open(path, _READ)

    def create(self, path: str, *, private: bool = False) -> int:
        """A descriptor for writing a file that must not have existed; `private`: for its owner alone."""
        return os.open(path, _CREATE, 0o600 if private else 0o666)

    def reopen(self, path: str) -> int:
        """A descriptor for writing a file that `create` has made."""
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC)

    def close(self, descriptor: int) -> None:
        """Give a descriptor back."""
        os.close(descriptor)

    def read(self, descriptor: int, count: int, offset: int) -> bytes:
        """At most `count` bytes from `offset`; fewer only at the end of the file."""
        data = os.pread(descriptor, count, offset)
        if len(data) == count or not data:
            return data
        pieces = [data]
        read = len(data)
        while read < count and (data := os.pread(descriptor, count - read, offset + read)):
            pieces.append(data)
            read += len(data)
        return b"".join(pieces)

    def write(self, descriptor: int, pieces: Sequence[bytes | memoryview]) -> None:
        """Append all of `pieces` to a file made by `create`."""
        for first in range(0, len(pieces), _PIECES_A_CALL):
            rest = list(pieces[first : first + _PIECES_A_CALL])
            while rest:
                written = os.writev(descriptor, rest)
                while rest and written >= len(rest[0]):
                    written -= len(rest.pop(0))
                if rest:
                    rest[0] = memoryview(rest[0])[written:]

    def overwrite(self, descriptor: int, data: bytes, offset: int) -> None:
        """Put a few bytes at a place of a file made by `create`."""
        os.pwrite(descriptor, data, offset)

    def append(self, descriptor: int, source: int, offset: int, count: int) -> int:
        """Append at most `count` bytes of the file `source` from `offset`; how many, 0 at its end."""
        if hasattr(os, "copy_file_range"):
            try:
                return os.copy_file_range(source, descriptor, count, offset)
            except OSError as error:
                if error.errno not in _NO_COPY_IN_KERNEL:
                    raise
        data = os.pread(source, min(count, _COPY_BYTES), offset)
        self.write(descriptor, [data])
        return len(data)

    def sync(self, descriptor: int) -> None:
        """Return when the bytes of the file would survive a power cut."""
        if _FULL_SYNC is not None:
            fcntl.fcntl(descriptor, _FULL_SYNC)
        else:
            os.fsync(descriptor)

    def sync_directory(self, path: str) -> None:
        """Return when the names in the directory would survive a power cut."""
        descriptor = os.open(path, _DIRECTORY)
        try:
            self.sync(descriptor)
        finally:
            os.close(descriptor)

    def link(self, source: str, path: str) -> None:
        """A second name for a file; FileExistsError where `path` exists."""
        os.link(source, path)

    def rename(self, source: str, path: str) -> None:
        """Move a file over whatever file lies at `path`; does nothing when both name the same file."""
        os.rename(source, path)

    def unlink(self, path: str) -> None:
        """Take a file's name away."""
        os.unlink(path)

    def touch(self, path: str) -> None:
        """Let a file count as written just now."""
        os.utime(path)

    def make_directory(self, path: str) -> None:
        """Make one directory in an existing one."""
        os.mkdir(path)

    def make_marked_directory(self, path: str) -> None:
        """Make one directory that bears the mark from the moment at which it can be seen."""
        os.mkdir(path, 0o777 | _MARK)
        if not _MARKS_AT_ONCE:
            os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) | _MARK)

    def open_directory(self, path: str) -> int:
        """A descriptor of an existing directory."""
        return os.open(path, _DIRECTORY)

    def is_marked(self, path: str) -> bool:
        """Whether the directory bears the mark."""
        return bool(os.stat(path).st_mode & _MARK)

    def unmark(self, descriptor: int) -> None:
        """Take the mark off an open directory."""
        os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) & ~_MARK)

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        os.rmdir(path)

    def status(self, path: str) -> os.stat_result:
        """What the file system knows of a path, symbolic links followed."""
        return os.stat(path)

    def status_of(self, descriptor: int) -> os.stat_result:
        """What the file system knows of an open file."""
        return os.fstat(descriptor)

    def scan(self, path: str) -> os._ScandirIterator[str]:
        """The entries of a directory, in no order; a context manager."""
        return os.scandir(path)
