"""File calls on a disk whose power may be cut: what was not synced is lost, each piece alone or all of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from storage.files import Files
from storage.keys import NOTES_PREFIX


@dataclass
class _File:
    descriptor: int  # kept open, so that the number of the inode is not used again
    durable: bytes = b""
    synced: bool = False
    current: bytes | None = None  # as last read; None when it has been written to since


@dataclass
class _Directory:
    descriptor: int
    durable: dict[str, int] = field(default_factory=dict)
    pending: list[tuple[str, int | None]] = field(default_factory=list)  # a name, and its inode or None


@dataclass(frozen=True)
class Moment:
    """What the disk holds, and what it holds only perhaps: names of directories, and bytes of files."""

    root: int
    names: dict[int, dict[str, int]]
    pending: dict[int, tuple[tuple[str, int | None], ...]]
    durable: dict[int, bytes]
    unsynced: dict[int, bytes]

    def outcomes(self) -> Iterator[tuple[bool, ...]]:
        """Which of the doubtful things survive: none, all, each alone, all but each."""
        count = sum(map(len, self.pending.values())) + len(self.unsynced)
        yield from {
            tuple(kept != (number == alone) for number in range(count))
            for kept in (False, True)
            for alone in range(-1, count)
        }

    def restore(self, target: Path, outcome: tuple[bool, ...]) -> None:
        """Make the tree as it is found after the cut."""
        kept = iter(outcome)
        names = {inode: dict(entries) for inode, entries in self.names.items()}
        for inode, changes in self.pending.items():
            for name, entry in changes:
                if not next(kept):
                    continue
                if entry is None:
                    names[inode].pop(name, None)
                else:
                    names[inode][name] = entry
        data = self.durable | {inode: current for inode, current in self.unsynced.items() if next(kept)}

        def make(path: Path, inode: int) -> None:
            if inode in data:
                path.write_bytes(data[inode])
                return
            path.mkdir()
            for name, entry in names[inode].items():
                make(path / name, entry)

        make(target, self.root)


class PowerCutFiles(Files):
    """The real calls on a tree that is empty at first, and a model of what of it would survive.

    The model is the harshest that POSIX allows: a name is durable when its directory was synced, and bytes
    when their file was; a rename is a removal and an addition that need not survive together.
    `moments` holds the state before each change; `moment` is the present one.
    """

    def __init__(self, root: Path) -> None:
        self._directories: dict[int, _Directory] = {}
        self._files: dict[int, _File] = {}
        self.moments: list[Moment] = []
        self._root = self._add_directory(str(root))

    def moment(self) -> Moment:
        """The present state."""
        return Moment(
            self._root,
            {inode: dict(directory.durable) for inode, directory in self._directories.items()},
            {inode: tuple(directory.pending) for inode, directory in self._directories.items()},
            {inode: file.durable for inode, file in self._files.items()},
            {inode: _content(file) for inode, file in self._files.items() if not file.synced},
        )

    def in_doubt(self, descriptor: int) -> bool:
        """Whether a sync of the file or directory would make anything durable that is not yet."""
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            directory = self._directories.get(status.st_ino)
            return directory is not None and bool(directory.pending)
        file = self._files[status.st_ino]
        return not file.synced and status.st_size > 0

    def difference(self, descriptor: int) -> tuple[frozenset[str], frozenset[str]]:
        """The names that a sync of the directory would let come or change, and those that it would let go.

        Durable bytes in the place of the same bytes are no change.
        """
        directory = self._directories[os.fstat(descriptor).st_ino]
        before, after = directory.durable, dict(directory.durable)
        _apply(directory.pending, after)
        came = [name for name, inode in after.items() if not self._is_as_good(before.get(name), inode)]
        return frozenset(came), frozenset(before.keys() - after.keys())

    def settle(self) -> None:
        """Make everything durable, as time does."""
        for descriptor in self._descriptors():
            self._settle(descriptor)
        self.moments.clear()

    def close_all(self) -> None:
        """Give back what the model holds open."""
        for descriptor in self._descriptors():
            os.close(descriptor)

    def create(self, path: str, *, private: bool = False) -> int:
        if _is_note(path):
            return super().create(path, private=private)
        self.moments.append(self.moment())
        descriptor = super().create(path, private=private)
        inode = os.fstat(descriptor).st_ino
        self._files[inode] = _File(os.open(path, os.O_RDONLY))
        self._change(path, inode)
        return descriptor

    def write(self, descriptor: int, pieces: Sequence[bytes | memoryview]) -> None:
        self._touch(descriptor)
        super().write(descriptor, pieces)

    def append(self, descriptor: int, source: int, offset: int, count: int) -> int:
        self._touch(descriptor)
        return super().append(descriptor, source, offset, count)

    def sync(self, descriptor: int) -> None:
        self.moments.append(self.moment())
        self._settle(descriptor)

    def link(self, source: str, path: str) -> None:
        self.moments.append(self.moment())
        super().link(source, path)
        self._change(path, os.stat(path).st_ino)

    def rename(self, source: str, path: str) -> None:
        self.moments.append(self.moment())
        inode = os.stat(source).st_ino
        super().rename(source, path)
        self._change(path, inode)
        if not os.path.exists(source):
            self._change(source, None)

    def unlink(self, path: str) -> None:
        if _is_note(path):
            super().unlink(path)
            return
        self.moments.append(self.moment())
        super().unlink(path)
        self._change(path, None)

    def make_directory(self, path: str) -> None:
        self.moments.append(self.moment())
        super().make_directory(path)
        self._change(path, self._add_directory(path))

    def make_marked_directory(self, path: str) -> None:
        self.moments.append(self.moment())
        super().make_marked_directory(path)
        self._change(path, self._add_directory(path))

    def remove_directory(self, path: str) -> None:
        self.moments.append(self.moment())
        super().remove_directory(path)
        self._change(path, None)

    def _descriptors(self) -> list[int]:
        files = [file.descriptor for file in self._files.values()]
        return files + [directory.descriptor for directory in self._directories.values()]

    def _add_directory(self, path: str) -> int:
        descriptor = os.open(path, os.O_RDONLY)
        inode = os.fstat(descriptor).st_ino
        self._directories[inode] = _Directory(descriptor)
        return inode

    def _change(self, path: str, entry: int | None) -> None:
        directory, name = os.path.split(path)
        self._directories[os.stat(directory).st_ino].pending.append((name, entry))

    def _touch(self, descriptor: int) -> None:
        self.moments.append(self.moment())
        file = self._files[os.fstat(descriptor).st_ino]
        file.synced, file.current = False, None

    def _is_as_good(self, before: int | None, inode: int) -> bool:
        """Whether a name that was durable for one inode may as well be durable for another."""
        if before == inode:
            return True
        old, new = self._files.get(before or 0), self._files.get(inode)
        return old is not None and new is not None and new.synced and old.durable == new.durable

    def _settle(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            directory = self._directories.get(status.st_ino)
            if directory is None:
                return  # above the root
            _apply(directory.pending, directory.durable)
            directory.pending.clear()
        else:
            file = self._files[status.st_ino]
            file.durable = _content(file)
            file.synced = True


def _apply(changes: Iterable[tuple[str, int | None]], names: dict[str, int]) -> None:
    for name, entry in changes:
        if entry is None:
            names.pop(name, None)
        else:
            names[name] = entry


def _content(file: _File) -> bytes:
    if file.current is None:
        file.current = os.pread(file.descriptor, 1 << 24, 0)
    return file.current


def _is_note(path: str) -> bool:
    """Whether a file is one of those that nothing but tidying up goes by."""
    return os.path.basename(path).startswith(NOTES_PREFIX)
