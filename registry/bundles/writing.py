"""The files of a bundle, written: to folders, or as a tar for pipes and diodes."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import IO, Protocol

from registry.bundles.carrying import carry
from registry.bundles.contents import Content, Key
from registry.bundles.format import CONTENTS, HEAD, INDEX, LAYOUT, README, SUMS, Head
from registry.bundles.media import File, batches, file_name, files_of, medium_folder
from registry.bundles.sources import Source
from registry.bundles.statement import Statement
from registry.bundles.sums import is_named_by_its_sum, sum_lines
from registry.bundles.texts import index_json, layout_json, readme
from registry.errors import RequestInvalid
from registry.model.units import format_size
from registry.store.effects import Effects

_BLOCK = tarfile.BLOCKSIZE
_LINES = 1 << 20


class Writer(Protocol):
    """Writes the files of one bundle."""

    def write(
        self, head: Head, statement: Statement, source: Source, signatures: Mapping[str, bytes]
    ) -> AsyncGenerator[int, None]:
        """Write all of them; the bytes of each manifest or blob that lies there then."""
        ...


class FolderWriter:
    """Writes a folder, or for several media one with a folder for each; it appears when it is whole."""

    def __init__(self, path: Path, effects: Effects) -> None:
        self._path = path
        self._effects = effects

    async def write(
        self, head: Head, statement: Statement, source: Source, signatures: Mapping[str, bytes]
    ) -> AsyncGenerator[int, None]:
        """Write it. Raises RequestInvalid where that cannot be."""
        aside = self._effects.aside
        if self._path.exists():
            raise RequestInvalid(f"{self._path} is there already; name another place, or remove it")
        partial = self._path.with_name(f".{self._path.name}.partial")
        try:
            await aside(_begin, partial, head.totals.carried_bytes)
            folders = [
                _Folder(partial if head.media == 1 else partial / medium_folder(number + 1))
                for number in range(head.media)
            ]
            for folder in folders:
                for name, text in _everywhere(head, signatures):
                    await aside(folder.put, name, text)
            await aside(folders[0].put, LAYOUT, layout_json())
            await aside(folders[0].put_lines, INDEX, index_json(statement))
            await aside(folders[0].put_lines, CONTENTS, statement.lines())
            for some in batches(statement.carried):
                await self._effects.together(
                    carry(key, content, source, _Cut(folders, files_of(key, content)), self._effects)
                    for key, content in some
                )
                yield sum(content.size for _, content in some)
            for medium, folder in enumerate(folders, 1):
                await aside(folder.put_lines, SUMS, sum_lines(folder.sums, statement, medium))
            await aside(_end, partial, self._path)
        except OSError as error:
            raise RequestInvalid(
                f"the bundle cannot be written to {self._path}: {error.strerror or error}"
            ) from None
        finally:
            await aside(shutil.rmtree, partial, ignore_errors=True)


class TarWriter:
    """Writes one tar, head first, to a file or a pipe."""

    def __init__(self, path: Path, effects: Effects) -> None:
        self._path = path
        self._effects = effects

    async def write(
        self, head: Head, statement: Statement, source: Source, signatures: Mapping[str, bytes]
    ) -> AsyncGenerator[int, None]:
        """Write it. Raises RequestInvalid where that cannot be."""
        aside = self._effects.aside
        if head.media != 1:
            raise RequestInvalid("a tar has no media; leave out --media, or --tar")
        sums: dict[str, str] = {}
        opened = None
        try:
            opened = await aside(self._path.open, "wb")
            for name, text in (*_everywhere(head, signatures), (LAYOUT, layout_json())):
                await aside(_entry, opened, name, [text], len(text))
                sums[name] = hashlib.sha256(text).hexdigest()
            for name, lines in ((INDEX, index_json(statement)), (CONTENTS, statement.lines())):
                await aside(_entry, opened, name, lines, head.files[name].size)
                sums[name] = head.files[name].sha256
            for key, content in statement.carried:
                await carry(key, content, source, _Entry(opened, key, content, sums), self._effects)
                yield content.size
            size = await aside(lambda: sum(map(len, sum_lines(sums, statement, 1))))
            await aside(_entry, opened, SUMS, sum_lines(sums, statement, 1), size)
            await aside(opened.write, bytes(2 * _BLOCK))
            await aside(opened.close)
        except OSError as error:
            raise RequestInvalid(
                f"the bundle cannot be written to {self._path}: {error.strerror or error}"
            ) from None
        finally:
            if opened is not None:
                with suppress(OSError):
                    await aside(opened.close)


class _Hashed:
    """A file that is hashed while it is written, unless its `sum` is known; that stands in `sums` then."""

    def __init__(self, opened: FileIO, name: str, sums: dict[str, str]) -> None:
        self._opened = opened
        self._name = name
        self._sums = sums
        self._hasher = None if is_named_by_its_sum(name) else hashlib.sha256()

    def write(self, piece: bytes | memoryview) -> None:
        """Append."""
        if self._hasher is not None:
            self._hasher.update(piece)
        left = memoryview(piece)
        while left:
            left = left[self._opened.write(left) :]  # less, where a disk is full

    def close(self) -> None:
        """End it, once."""
        if not self._opened.closed:
            self._opened.close()
            if self._hasher is not None:
                self._sums[self._name] = self._hasher.hexdigest()


class _Cut:
    """The files in which the bytes of one manifest or blob lie."""

    def __init__(self, folders: Sequence[_Folder], files: Iterator[File]) -> None:
        self._folders = folders
        self._files = files
        self._opened: _Hashed | None = None
        self._left = 0

    def write(self, piece: bytes) -> None:
        """Append, to the next file where one is full."""
        view = memoryview(piece)
        while view:
            opened = self._opened if self._opened is not None and self._left else self._next()
            some = view[: self._left]
            opened.write(some)
            self._left -= len(some)
            view = view[len(some) :]

    def finish(self) -> None:
        """End the last; there is one though it be empty."""
        if self._opened is None:
            self._next()
        self.close()

    def close(self) -> None:
        """End what is open."""
        if self._opened is not None:
            self._opened.close()

    def _next(self) -> _Hashed:
        self.close()
        file = next(self._files)
        self._opened = self._folders[file.medium - 1].open(file.name)
        self._left = file.size
        return self._opened


class _Entry:
    """The file of a tar with the bytes of one manifest or blob."""

    def __init__(self, opened: IO[bytes], key: Key, content: Content, sums: dict[str, str]) -> None:
        self._opened = opened
        self._name = file_name(key)
        self._size = content.size
        self._sums = sums
        self._hasher = None if is_named_by_its_sum(self._name) else hashlib.sha256()
        self._has_begun = False

    def write(self, piece: bytes) -> None:
        """Append."""
        self._begin()
        if self._hasher is not None:
            self._hasher.update(piece)
        self._opened.write(piece)

    def finish(self) -> None:
        """Fill the last block."""
        self._begin()
        self._opened.write(_padding(self._size))
        if self._hasher is not None:
            self._sums[self._name] = self._hasher.hexdigest()

    def close(self) -> None:
        """Nothing: the tar goes on."""

    def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._opened.write(_header(self._name, self._size))


class _Folder:
    """The folder of one medium."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.sums: dict[str, str] = {}
        self._made: set[str] = set()

    def open(self, name: str) -> _Hashed:
        """A new file."""
        parent = name.rpartition("/")[0]
        if parent not in self._made:
            (self._path / parent).mkdir(parents=True, exist_ok=True)
            self._made.add(parent)
        return _Hashed(FileIO(f"{self._path}/{name}", "x"), name, self.sums)

    def put(self, name: str, content: bytes) -> None:
        """A small file."""
        self.put_lines(name, [content])

    def put_lines(self, name: str, lines: Iterable[bytes]) -> None:
        """A file by its lines."""
        opened = self.open(name)
        for chunk in _chunks(lines):
            opened.write(chunk)
        opened.close()


def _everywhere(head: Head, signatures: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """The small files that every medium has."""
    yield HEAD, head.encode()
    yield from sorted(signatures.items())
    yield README, readme(head.stream, head.source, head.totals, head.media)


def _begin(partial: Path, size_bytes: int) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    free = shutil.disk_usage(partial).free
    if free < size_bytes:
        raise RequestInvalid(
            f"the bundle has {format_size(size_bytes)}, and where it is to go there are {format_size(free)}"
            " free; make room, or write it elsewhere and in parts (--media)"
        )


def _end(partial: Path, path: Path) -> None:
    # Media are pulled out as soon as this says that it is done.
    _sync_all(str(partial))
    partial.rename(path)
    _sync(path.parent)


def _sync_all(folder: str) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            (_sync_all if entry.is_dir() else _sync)(entry.path)
    _sync(folder)


def _sync(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _entry(opened: IO[bytes], name: str, parts: Iterable[bytes], size: int) -> None:
    opened.write(_header(name, size))
    for chunk in _chunks(parts):
        opened.write(chunk)
    opened.write(_padding(size))


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    return entry.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


def _chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    gathered = io.BytesIO()
    for line in lines:
        gathered.write(line)
        if gathered.tell() >= _LINES:
            yield gathered.getvalue()
            gathered = io.BytesIO()
    yield gathered.getvalue()
