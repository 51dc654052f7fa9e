"""Which files of a directory have lately been seen to hold the bytes that they should."""

from __future__ import annotations

import os
from collections.abc import Callable

_BELIEVED_SECONDS = 24 * 3600.0
_MOST = 50_000  # files that are remembered

_State = tuple[int, int]


class Soundness:
    """Remembers of each key which file was checked, and when; a file counts by its inode, size and time.

    So what others write into a file is noticed the next time, and what the disk does to it within a day.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[int, _State, float]] = {}

    def note(self, key: str, file: int) -> None:
        """The bytes of the file, an open descriptor, have just been checked."""
        if len(self._seen) >= _MOST and key not in self._seen:
            # Rarely, and what is forgotten is checked once more.
            self._seen.clear()
        inode, state = _identity(file)
        self._seen[key] = inode, state, self._clock()

    def is_suspect(self, key: str, file: int) -> bool:
        """Whether it seems to be the file that was checked, but written to since, as nobody should."""
        inode, state = _identity(file)
        seen = self._seen.get(key)
        return seen is not None and seen[0] == inode and seen[1] != state

    def is_due(self, key: str, file: int) -> bool:
        """Whether it should be checked: it is another file, or that was a day ago."""
        inode, state = _identity(file)
        seen = self._seen.get(key)
        return seen is None or seen[:2] != (inode, state) or self._clock() - seen[2] >= _BELIEVED_SECONDS


def _identity(file: int) -> tuple[int, _State]:
    status = os.fstat(file)
    return status.st_ino, (status.st_size, status.st_mtime_ns)
