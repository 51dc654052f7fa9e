"""What a file says, read anew when it changes; while it says nothing good, what it said before counts."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from registry.access.errors import Unfit
from registry.logs import event
from registry.settings import Problem, Source, in_order

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Unusable(Unfit):
    """What was written down cannot be used; `problems` has all that is wrong with it."""

    def __init__(self, what: str, problems: Sequence[Problem]) -> None:
        self.problems = in_order(problems)
        super().__init__(f"{what} cannot be used:" + "".join(f"\n  {one}" for one in self.problems))

    @property
    def reason(self) -> str:
        """The problems on one line."""
        return "; ".join(str(problem) for problem in self.problems)


class Watched(Generic[T]):
    """The newest good state of a file; `value` may be asked for at any time, from any thread.

    `read` reads the file or raises Unusable, which the constructor lets pass. `what` is its name in the log.
    """

    def __init__(self, path: Path, read: Callable[[Path], T], what: str) -> None:
        self._path = path
        self._read = read
        self._what = what
        # Before it is read: what changes meanwhile is seen at the first look.
        self._seen = _signature(path)
        self.value = read(path)

    def look(self) -> bool:
        """Read the file if it has changed, and say whether something new counts from now on.

        Blocks for as long as reading does. A file that is no good is reported once.
        """
        found = _signature(self._path)
        if found == self._seen:
            return False
        try:
            if found == _NO_FILE:
                # To open a pipe would mean to wait for whoever writes into it.
                raise Unusable(self._what, [Problem("", _NO_FILE, Source.file(str(self._path)))])
            value, reason = self._read(self._path), None
        except Unusable as error:
            value, reason = self.value, error.reason
        if _signature(self._path) != found:
            # Replaced while it was read: what was read may be half of either state; the next look judges.
            return False
        self._seen = found
        file = str(self._path)
        if reason is not None:
            event(logger, logging.ERROR, "access.refused", what=self._what, file=file, reason=reason)
            return False
        self.value = value
        event(logger, logging.INFO, "access.reloaded", what=self._what, file=file)
        return True


_NO_FILE = "it is no regular file"


def contents(path: str | os.PathLike[str], most: int) -> bytes:
    """What a regular file holds, up to one byte more than `most`. Raises OSError.

    Nothing else is read: to open a pipe would mean to wait for whoever writes into it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, _NO_FILE)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(most + 1)
    finally:
        os.close(descriptor)


def _signature(path: Path) -> object:
    # Following links: Kubernetes swaps a link to the directory in which the file lies.
    try:
        info = os.stat(path)
    except OSError as error:
        return error.errno
    if not stat.S_ISREG(info.st_mode):
        return _NO_FILE
    return info.st_dev, info.st_ino, info.st_mtime_ns, info.st_size
