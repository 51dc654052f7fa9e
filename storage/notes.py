"""Where this process has unfinished objects, noted for whoever tidies up after it if it is killed.

Most directories of a tree are never listed, so that what a killed writer left in one would stay for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from uuid import uuid4

from storage.directories import Directories
from storage.files import Files
from storage.keys import NOTES_PREFIX, TEMPORARY_PREFIX, is_key
from storage.listing import TEMPORARY_SECONDS

_LINE_BYTES = 1024
_LINES_A_TURN = 64


class Notes:
    """One file in the root, with a line of fixed length for each object that is being written.

    A note costs one write into the page cache and no sync: `kill -9` leaves it, and a power cut leaves it
    where the object was minutes in the making. To lack one is no reason to refuse a write. The file is open
    only while something is unfinished, or nobody could mount the disk read-only.
    """

    def __init__(self, root: str, files: Files, directories: Directories) -> None:
        self._root = root
        self._files = files
        self._directories = directories
        self._path = f"{root}/{NOTES_PREFIX}{uuid4()}"
        self._lock = threading.Lock()
        self._descriptor = -1
        self._made = False
        self._free: list[int] = []
        self._lines = 0

    def take(self, path: str) -> int:
        """Note that an unfinished object will lie at `path`; the number of the line."""
        with self._lock:
            if not self._free:
                self._free.append(self._lines)
                self._lines += 1
            line = self._free.pop()
            with suppress(OSError):
                if self._descriptor < 0:
                    self._descriptor = self._open()
                text = path.removeprefix(f"{self._root}/").encode()[: _LINE_BYTES - 1]
                padded = text.ljust(_LINE_BYTES - 1) + b"\n"
                self._files.overwrite(self._descriptor, padded, line * _LINE_BYTES)
        return line

    def give_back(self, line: int) -> None:
        """Say that nothing unfinished lies there any more. What the line says is left: nothing is found."""
        with self._lock:
            self._free.append(line)
            if len(self._free) == self._lines:
                self._shut()

    def close(self) -> None:
        """Remove the file, unless something unfinished could not be."""
        with self._lock:
            self._shut()
            if self._made and len(self._free) == self._lines:
                self._made = False
                with suppress(OSError):
                    self._files.unlink(self._path)

    def sweep(self, now: float) -> Generator[None, None, None]:
        """Remove what processes that have ended left unfinished a day ago, in turns of bounded length.

        One that lives keeps its own file young by sweeping.
        """
        self._keep_young()
        oldest = now - TEMPORARY_SECONDS
        with self._files.scan(self._root) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(TEMPORARY_PREFIX)]
        for name in names:
            # Another process may be sweeping too; and a directory belongs to a crash test.
            with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
                yield from self._sweep(f"{self._root}/{name}", oldest)

    def _keep_young(self) -> None:
        with self._lock:
            if not self._made:
                return
            try:
                self._files.touch(self._path)
            except FileNotFoundError:
                # We could not sweep for a day, and were taken for dead: the next note begins a file anew.
                self._made = False
                self._shut()

    def _open(self) -> int:
        if self._made:
            with suppress(FileNotFoundError):
                return self._files.reopen(self._path)
        descriptor = self._files.create(self._path)
        self._made = True
        return descriptor

    def _shut(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                self._files.close(descriptor)

    def _sweep(self, path: str, oldest: float) -> Generator[None, None, None]:
        if path == self._path or not self._is_old(path, oldest):
            return
        all_gone = True
        if path.startswith(f"{self._root}/{NOTES_PREFIX}"):
            for count, noted in enumerate(self._noted(path), start=1):
                all_gone &= self._remove(noted, oldest)
                if count % _LINES_A_TURN == 0:
                    yield
        if all_gone:
            self._files.unlink(path)
        yield

    def _noted(self, path: str) -> Iterator[str]:
        """The paths that a file of notes names, as far as they can be those of unfinished objects."""
        descriptor = self._files.open(path)
        try:
            offset = 0
            while line := self._files.read(descriptor, _LINE_BYTES, offset):
                offset += _LINE_BYTES
                directory, _, name = line.decode(errors="replace").rstrip(" \n").rpartition("/")
                if name.startswith(TEMPORARY_PREFIX) and is_key(directory):
                    yield f"{self._root}/{directory}/{name}"
        finally:
            self._files.close(descriptor)

    def _remove(self, path: str, oldest: float) -> bool:
        """Remove an unfinished object and the directories made for it; whether it is gone."""
        with suppress(FileNotFoundError, NotADirectoryError):
            if not self._is_old(path, oldest):
                return False
            self._files.unlink(path)
        self._directories.prune(path.rpartition("/")[0])
        return True

    def _is_old(self, path: str, oldest: float) -> bool:
        return self._files.status(path).st_mtime < oldest
