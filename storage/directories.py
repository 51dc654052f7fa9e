"""The directories of the tree: made when a key first needs them, removed with the last key in them."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Collection
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

    def settling(self, paths: Collection[str]) -> Work:
        """Have the names in the directories `paths` synced, and their own names, and those of all above them.

        Where one is gone, those above it: then it is its own removal that must last.
        """
        unsettled: list[int] = []
        try:
            while paths:
                wanted: dict[str, None] = {}
                highest = []
                for path in paths:
                    while path not in wanted:
                        wanted[path] = None
                        if path == self._root or not self._found_unsettled(path, unsettled):
                            highest.append(path)
                            break
                        path = path.rpartition("/")[0]
                yield wanted
                # Others may have removed one since, and made it anew: then that one was synced in its stead,
                # and the old one comes back with all that was in it, unless the names above are synced too.
                paths = [path for path in highest if path != self._root and self._is_unsettled(path)]
            # Opened before its name was synced: if it was removed and made anew, the new one keeps its mark.
            for descriptor in reversed(unsettled):
                with suppress(PermissionError):  # another user's, who alone may take the mark off
                    self._files.unmark(descriptor)
        finally:
            for descriptor in unsettled:
                self._files.close(descriptor)

    def sync(self, path: str) -> None:
        """Make durable the names in the directory `path`; one that is gone has none (see `settling`)."""
        with suppress(FileNotFoundError):
            self._files.sync_directory(path)

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

    def _is_unsettled(self, path: str) -> bool:
        """Whether the name of the directory is not known to be durable; one that is gone counts, too."""
        try:
            return self._files.is_marked(path)
        except FileNotFoundError:
            return True

    def _found_unsettled(self, path: str, unsettled: list[int]) -> bool:
        """The same, and a descriptor of it for who is to take the mark off."""
        if not self._is_unsettled(path):
            return False
        with suppress(FileNotFoundError):
            unsettled.append(self._files.open_directory(path))
        return True

    def _is_file(self, path: str) -> bool:
        try:
            return not stat.S_ISDIR(self._files.status(path).st_mode)
        except FileNotFoundError:
            return False
