"""The names in the tree: keys in the byte order of the contract, read a directory at a time."""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Generator
from itertools import islice

from storage.files import Files
from storage.keys import NOTES_PREFIX, TEMPORARY_PREFIX, is_segment

TEMPORARY_SECONDS = 24 * 3600
_ENTRIES_A_TURN = 64
_DEEPEST = 200  # levels; a name of a repository has 128 at most


class Listing:
    """Listings as generators, which yield None now and then, so that none of their turns takes long.

    Names that could not be in a key are passed over; the temporary ones among them that nobody can be
    writing any more, judged by `now`, are removed. So are links passed over that lead back to where they lie.
    """

    def __init__(self, root: str, files: Files, now: float) -> None:
        self._root = root
        self._files = files
        self._oldest = now - TEMPORARY_SECONDS
        self._likely = ""

    def children(self, prefix: str, after: str, limit: int | None) -> Generator[str | None, None, None]:
        """The names directly below `prefix` that are files, or directories with an object in them."""
        directory = self._path(prefix)
        entries = yield from self._entries(directory)
        found = 0
        for entry in islice(entries, bisect_right(entries, after, key=_name), None):
            if limit is not None and found >= limit:
                return
            name = entry.name
            if not is_segment(name):
                continue
            if _is(entry.is_dir):
                there = not self._leads_back(entry) and self._has_objects(f"{directory}/{name}")
            else:
                there = _is(entry.is_file)
            found += there
            yield name if there else None

    def walk(self, prefix: str, after: str) -> Generator[str | None, None, None]:
        """Every key below `prefix` greater than `after`; what lies before is not even listed."""
        # A directory is sorted with its slash: of the keys `a-b` and `a/x`, `a-b` is the first.
        names = yield from self._names(self._path(prefix))
        # Not by recursion: how deep directories are nested is for those to say who made them.
        levels = [(f"{prefix}/" if prefix else "", iter(sorted(names)))]
        while levels:
            start, left = levels[-1]
            name = next(left, None)
            if name is None:
                levels.pop()
                continue
            key = start + name
            if not name.endswith("/"):
                if key > after:
                    yield key
            elif key > after or after.startswith(key):
                names = yield from self._names(self._path(key[:-1]))
                levels.append((key, iter(sorted(names))))

    def leading_out(self) -> Generator[tuple[str, str] | None, None, None]:
        """The symbolic links by which something of elsewhere is content here: where each lies, and leads to.

        What may not be read is passed over. Those inside of what lies elsewhere are not told.
        """
        within = self._root.rstrip("/") + "/"
        left = [""]
        while left:
            prefix = left.pop()
            try:
                entries = yield from self._entries(self._path(prefix))
            except OSError:
                continue
            below = []
            for entry in entries:
                if not is_segment(entry.name):
                    continue
                key = f"{prefix}/{entry.name}" if prefix else entry.name
                if entry.is_symlink():
                    there = os.path.realpath(entry.path)
                    yield (key, there) if not f"{there}/".startswith(within) else None
                elif entry.is_dir(follow_symlinks=False):
                    below.append(key)
            left += reversed(below)
            yield None

    def _path(self, prefix: str) -> str:
        return f"{self._root}/{prefix}" if prefix else self._root

    def _names(self, directory: str) -> Generator[None, None, list[str]]:
        """The possible segments in a directory, those of directories with a slash at the end."""
        names = []
        for entry in (yield from self._entries(directory)):
            if not is_segment(entry.name):
                continue
            if _is(entry.is_dir):
                if not self._leads_back(entry):
                    names.append(f"{entry.name}/")
            elif _is(entry.is_file):
                names.append(entry.name)
        yield None
        return names

    def _entries(self, directory: str) -> Generator[None, None, list[os.DirEntry[str]]]:
        """What lies in a directory, by name, tidied on the way."""
        found: list[os.DirEntry[str]] = []
        try:
            with self._files.scan(directory) as entries:
                while some := list(islice(entries, _ENTRIES_A_TURN)):
                    found += some
                    if len(some) == _ENTRIES_A_TURN:
                        yield None
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # nested so deep that no key leads there
                return []
            raise
        found.sort(key=_name)
        for entry in islice(found, bisect_left(found, TEMPORARY_PREFIX, key=_name), None):
            if not entry.name.startswith(TEMPORARY_PREFIX):
                break
            if not entry.name.startswith(NOTES_PREFIX):
                self._remove_if_old(entry.path)
        return found

    def _has_objects(self, directory: str) -> bool:
        """Whether a file lies at any depth below: what a killed writer leaves are directories.

        Neighbours are mostly alike (all tags have `current/link`): so that is looked for first which the last
        one had, with one call instead of a search.
        """
        if self._likely and self._is_file(f"{directory}/{self._likely}"):
            return True
        found = self._search(directory, _DEEPEST)
        self._likely = found or self._likely
        return bool(found)

    def _is_file(self, path: str) -> bool:
        try:
            return stat.S_ISREG(self._files.status(path).st_mode)
        except OSError:
            return False

    def _search(self, directory: str, levels: int) -> str:
        """The path of a file somewhere below; empty when there is none.

        What lies more than so many levels below is taken for one: each that is looked at takes a descriptor.
        """
        if not levels:
            return "."
        try:
            with self._files.scan(directory) as entries:
                for entry in entries:
                    if not is_segment(entry.name):
                        continue
                    if entry.is_file():
                        return entry.name
                    if (
                        entry.is_dir()
                        and not self._leads_back(entry)
                        and (below := self._search(entry.path, levels - 1))
                    ):
                        return f"{entry.name}/{below}"
        except (FileNotFoundError, NotADirectoryError):
            pass
        return ""

    def _leads_back(self, entry: os.DirEntry[str]) -> bool:
        """Whether a directory is a symbolic link to one that it lies in.

        Followed, it has all that is there some forty times over, and of two there is no end.
        """
        if not entry.is_symlink():
            return False
        above = entry.path.rpartition("/")[0]
        try:
            there = self._files.status(entry.path)
            while len(above) >= len(self._root):
                if os.path.samestat(self._files.status(above), there):
                    return True
                above = above.rpartition("/")[0]
        except OSError:
            pass  # gone meanwhile: whoever lists it finds nothing
        return False

    def _remove_if_old(self, path: str) -> None:
        try:
            if self._files.status(path).st_mtime < self._oldest:
                self._files.unlink(path)
        except OSError:
            return  # A read-only store, or another process was first: a listing is no place to fail for it.


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _is(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError as error:
        if error.errno == errno.ELOOP:  # a symbolic link that leads nowhere, as broken ones do
            return False
        raise
