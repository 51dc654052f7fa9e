"""The names in the tree: keys in the byte order of the contract, read a directory at a time."""

from __future__ import annotations

import errno
from collections.abc import Callable, Generator

from storage.files import Files
from storage.keys import NOTES_PREFIX, TEMPORARY_PREFIX, is_segment

TEMPORARY_SECONDS = 24 * 3600
_ENTRIES_A_TURN = 64


class Listing:
    """Listings as generators, which yield None now and then, so that none of their turns takes long.

    Names that could not be in a key are passed over; the temporary ones among them that nobody can be
    writing any more, judged by `now`, are removed.
    """

    def __init__(self, root: str, files: Files, now: float) -> None:
        self._root = root
        self._files = files
        self._oldest = now - TEMPORARY_SECONDS

    def children(self, prefix: str, after: str, limit: int | None) -> Generator[str | None, None, None]:
        """The names directly below `prefix` that are files, or directories with something in them."""
        directory = self._path(prefix)
        names = yield from self._names(directory)
        found = 0
        for name, entry in sorted((entry.rstrip("/"), entry) for entry in names):
            if limit is not None and found >= limit:
                return
            if name <= after:
                continue
            if entry != name and not self._has_objects(f"{directory}/{name}"):
                yield None
                continue
            found += 1
            yield name

    def walk(self, prefix: str, after: str) -> Generator[str | None, None, None]:
        """Every key below `prefix` greater than `after`; what lies before is not even listed."""
        start = f"{prefix}/" if prefix else ""
        # A directory is sorted with its slash: of the keys `a-b` and `a/x`, `a-b` is the first.
        names = yield from self._names(self._path(prefix))
        for name in sorted(names):
            key = start + name
            if not name.endswith("/"):
                if key > after:
                    yield key
            elif key > after or after.startswith(key):
                yield from self.walk(key[:-1], after)

    def _path(self, prefix: str) -> str:
        return f"{self._root}/{prefix}" if prefix else self._root

    def _names(self, directory: str) -> Generator[None, None, list[str]]:
        """The possible segments in a directory, those of directories with a slash at the end."""
        names = []
        old = []
        try:
            with self._files.scan(directory) as entries:
                for count, entry in enumerate(entries, start=1):
                    if count % _ENTRIES_A_TURN == 0:
                        yield None
                    name = entry.name
                    if not is_segment(name):
                        if name.startswith(TEMPORARY_PREFIX) and not name.startswith(NOTES_PREFIX):
                            old.append(entry.path)
                    elif _is(entry.is_dir):
                        names.append(f"{name}/")
                    elif _is(entry.is_file):
                        names.append(name)
        except (FileNotFoundError, NotADirectoryError):
            return []
        for path in old:
            self._remove_if_old(path)
        yield None
        return names

    def _has_objects(self, directory: str) -> bool:
        """Whether a file lies at any depth below: what a killed writer leaves are directories."""
        try:
            with self._files.scan(directory) as entries:
                return any(
                    entry.is_file() or (entry.is_dir() and self._has_objects(entry.path))
                    for entry in entries
                    if is_segment(entry.name)
                )
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _remove_if_old(self, path: str) -> None:
        try:
            if self._files.status(path).st_mtime < self._oldest:
                self._files.unlink(path)
        except OSError:
            return  # A read-only store, or another process was first: a listing is no place to fail for it.


def _is(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError as error:
        if error.errno == errno.ELOOP:  # a symbolic link that leads nowhere, as broken ones do
            return False
        raise
