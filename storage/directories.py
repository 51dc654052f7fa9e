"""The directories of the tree: made when a key first needs them, removed with the last key in them."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from storage.files import Files
from storage.syncs import Work

T = TypeVar("T")

_TRIES = 100
# Why a directory is not removed: something lies in it, or it is a mount point, a link, or another's.
_STAYS = frozenset(
    {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS}
)


class Directories:
    """Makes and removes the directories below `root`, never the root itself.

    A directory's own name is durable once its parent is synced. That costs a disk's round trip, so it is left
    to the first durable write below (`settling`), by whichever process: until then the directory bears a mark
    (see `Files`), under which nobody relies on its name. The mark goes from the top down, so a directory
    without one has none above it. A mark that a crash has left costs the next writer one sync.
    """

    def __init__(self, root: str, files: Files) -> None:
        self._root = root
        self._files = files

    def make(self, path: str) -> None:
        """Make the directory `path` and what is missing above it."""
        try:
            self._files.make_marked_directory(path)
        except FileExistsError:
            return
        except FileNotFoundError:
            above = path.rpartition("/")[0]
            if not above.startswith(self._root) or above == self._root:
                raise  # The root is never made again.
            self.make(above)
            with suppress(FileExistsError):
                self._files.make_marked_directory(path)

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

    def settling(self, path: str) -> Work:
        """Have the names in the directory `path` synced, and those of the directory and of all above it."""
        wanted = [path]
        unsettled: list[int] = []
        try:
            while path != self._root and self._files.is_marked(path):
                unsettled.append(self._files.open_directory(path))
                path = path.rpartition("/")[0]
                wanted.append(path)
            yield wanted
            # Opened before its name was synced: if it was removed and made anew, the new one keeps its mark.
            for descriptor in reversed(unsettled):
                with suppress(PermissionError):  # another user's, who alone may take the mark off
                    self._files.unmark(descriptor)
        except FileNotFoundError:
            return  # gone, with whatever was to be durable in it
        finally:
            for descriptor in unsettled:
                self._files.close(descriptor)

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
            try:
                self._files.remove_directory(path)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno in _STAYS:
                    break
                raise
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
