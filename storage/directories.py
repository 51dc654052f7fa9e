"""The directories of the tree: made when a key first needs them, removed with the last key in them."""

from __future__ import annotations

import errno
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from storage.files import Files

T = TypeVar("T")

_UNSYNCED_AT_MOST = 10_000
_TRIES = 100
# Why a directory is not removed: something lies in it, or it is a mount point, a link, or another's.
_STAYS = frozenset(
    {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS}
)


class Directories:
    """Makes and removes the directories below `root`, never the root itself.

    A directory's own name is durable once its parent is synced. That costs a disk's round trip, so it is left
    to the first durable write below (`settle`); until then the directory is remembered here. Between
    processes the file system's journal stands in: it never keeps what was made in a directory without
    the directory.
    """

    def __init__(self, root: str, files: Files) -> None:
        self._root = root
        self._files = files
        self._lock = threading.Lock()
        self._unsynced: dict[str, object] = {}

    def make(self, path: str) -> None:
        """Make the directory `path` and what is missing above it."""
        missing = []
        while path != self._root and not self._exists(path):
            missing.append(path)
            path = path.rpartition("/")[0]
        for directory in reversed(missing):
            self._remember(directory)
            with suppress(FileExistsError):
                self._files.make_directory(directory)

    def within(self, path: str, action: Callable[[], T]) -> T:
        """Do what needs the directory `path`, which is made if `action` raises FileNotFoundError."""
        for _ in range(_TRIES):
            try:
                return action()
            except FileNotFoundError:
                # Not there yet; or there, and a delete removes it as empty before anything lies in it.
                with suppress(FileNotFoundError):
                    self.make(path)
        return action()

    def settle(self, path: str) -> None:
        """Make durable the names of the existing directory `path` and of all above it."""
        while self._unsynced and path != self._root:
            if path in self._unsynced:
                self._sync_name(path)
            path = path.rpartition("/")[0]

    def sync(self, path: str) -> None:
        """Make durable the names in the directory `path`; when it is gone, so are they."""
        try:
            self._files.sync_directory(path)
        except FileNotFoundError:
            return

    def remove(self, path: str) -> str | None:
        """Remove the file at `path`, if there is one, and the directories it leaves empty.

        The directory to sync, to make this durable; None when no file can have been there.
        """
        try:
            self._files.unlink(path)
        except NotADirectoryError:
            return None
        except FileNotFoundError:
            pass  # Somebody else may have removed it a moment ago, and not have got further.
        except OSError:
            # A read-only disk refuses before it looks, and some systems forbid where it is a directory.
            if self._is_file(path):
                raise
            return None
        return self.prune(path.rpartition("/")[0])

    def prune(self, path: str) -> str:
        """Remove the directory `path` and those above it while they are empty; the first that stays."""
        while path != self._root:
            mark = self._unsynced.get(path)
            try:
                self._files.remove_directory(path)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno in _STAYS:
                    break
                raise
            self._forget(path, mark)
            path = path.rpartition("/")[0]
        return path

    def clear(self, path: str) -> bool:
        """Remove the directory `path` if nothing but empty directories lies in it; whether it is gone."""
        try:
            with self._files.scan(path) as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False) or not self.clear(entry.path):
                        return False
            self._files.remove_directory(path)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno in _STAYS:
                return False
            raise
        return True

    def _exists(self, path: str) -> bool:
        try:
            self._files.status(path)
        except FileNotFoundError:
            return False
        return True

    def _is_file(self, path: str) -> bool:
        try:
            return not stat.S_ISDIR(self._files.status(path).st_mode)
        except FileNotFoundError:
            return False

    def _remember(self, path: str) -> None:
        # Before the directory is made, so that whoever finds it there finds the mark, too.
        with self._lock:
            self._unsynced[path] = object()
            oldest = next(iter(self._unsynced)) if len(self._unsynced) > _UNSYNCED_AT_MOST else None
        if oldest is not None:
            self._sync_name(oldest)

    def _sync_name(self, path: str) -> None:
        mark = self._unsynced.get(path)
        if self._exists(path):
            self.sync(path.rpartition("/")[0])
        self._forget(path, mark)

    def _forget(self, path: str, mark: object) -> None:
        with self._lock:
            if self._unsynced.get(path) is mark:  # otherwise it was made anew meanwhile
                self._unsynced.pop(path, None)
