"""What an error of the file system means in terms of the storage contract."""

from __future__ import annotations

import errno
from types import TracebackType

from storage.errors import Forbidden, InvalidKey, NotFound, OutOfSpace, StorageError, TooLarge, Unavailable

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_TOO_LONG = frozenset({errno.ENAMETOOLONG, errno.EFBIG})
_NO_OBJECT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP})
_IN_THE_WAY = frozenset({errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST})


def read_error(error: OSError, key: str) -> StorageError:
    """The storage error for what went wrong while `key` was read."""
    return NotFound(key) if error.errno in _NO_OBJECT else _other(error, key)


def write_error(error: OSError, key: str) -> StorageError:
    """The storage error for what went wrong while `key` was written or removed."""
    if error.errno in _IN_THE_WAY:
        return InvalidKey(key, "the key is a path prefix of another, or another is one of it")
    return _other(error, key)


def _other(error: OSError, key: str) -> StorageError:
    reason = error.strerror or str(error)
    if error.errno in _NO_SPACE:
        return OutOfSpace(key, f"no room left on the disk ({reason})")
    if error.errno in _FORBIDDEN:
        return Forbidden(key, f"the file system refused ({reason}): see its owner, mode and mount options")
    if error.errno in _TOO_LONG:
        return TooLarge(key, f"the file system has a smaller limit ({reason})")
    return Unavailable(key, f"the file system failed ({reason})")


class Writing:
    """Turns what the file system raises inside into the storage error for writing `key`.

    Entered many times a push: as a generator it would cost four times as much.
    """

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        self._key = key

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise write_error(error, self._key) from error
