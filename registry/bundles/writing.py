"""The files of a bundle, written: to folders, or as a tar for pipes and diodes."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from registry.bundles.format import CONTENTS, HEAD, INDEX, LAYOUT, README, SUMS, Head
from registry.bundles.media import file_name, files_of, medium_folder
from registry.bundles.sources import Source
from registry.bundles.statement import Content, Key, Statement, digest_of
from registry.bundles.texts import index_json, layout_json, readme
from registry.errors import RegistryError, RequestInvalid, StorageDamaged
from registry.model.digests import DigestCheck
from registry.model.names import RepositoryName
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
            await aside(folders[0].put_lines, INDEX, _index(statement))
            await aside(folders[0].put_lines, CONTENTS, statement.lines())
            for key, content in statement.carried:
                async for _ in self._blob(key, content, source, folders):
                    pass
                yield content.size
            for folder in folders:
                await aside(folder.put, SUMS, folder.sums())
            await aside(_end, partial, self._path)
        except OSError as error:
            raise RequestInvalid(
                f"the bundle cannot be written to {self._path}: {error.strerror or error}"
            ) from None
        finally:
            await aside(shutil.rmtree, partial, ignore_errors=True)

    async def _blob(
        self, key: Key, content: Content, source: Source, folders: list[_Folder]
    ) -> AsyncIterator[None]:
        files = files_of(key, content)
        file = next(files)
        opened = await self._effects.aside(folders[file.medium - 1].open, file.name)
        left = file.size
        try:
            async for piece in blob_chunks(key, content, source, self._effects):
                view = memoryview(piece)
                while len(view) > left:
                    await self._effects.aside(opened.write, view[:left])
                    await self._effects.aside(opened.close)
                    view = view[left:]
                    file = next(files)
                    opened = await self._effects.aside(folders[file.medium - 1].open, file.name)
                    left = file.size
                await self._effects.aside(opened.write, view)
                left -= len(view)
                yield
        finally:
            await self._effects.aside(opened.close)


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
        sums = _Sums()
        opened = None
        try:
            opened = await aside(self._path.open, "wb")
            for name, text in (*_everywhere(head, signatures), (LAYOUT, layout_json())):
                await aside(_entry, opened, name, [text], len(text))
                sums.add(name, hashlib.sha256(text).hexdigest())
            index = head.files[INDEX]
            await aside(_entry, opened, INDEX, _index(statement), index.size)
            sums.add(INDEX, index.sha256)
            contents = head.files[CONTENTS]
            await aside(_entry, opened, CONTENTS, statement.lines(), contents.size)
            sums.add(CONTENTS, contents.sha256)
            for key, content in statement.carried:
                name = file_name(key)
                await aside(opened.write, _header(name, content.size))
                hasher = hashlib.sha256()
                async for piece in blob_chunks(key, content, source, self._effects):
                    await aside(_both, opened, hasher if len(key) != 32 else None, piece)
                await aside(opened.write, _padding(content.size))
                sums.add(name, key.hex() if len(key) == 32 else hasher.hexdigest())
                yield content.size
            lines = sums.text()
            await aside(_entry, opened, SUMS, [lines], len(lines))
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


async def blob_chunks(key: Key, content: Content, source: Source, effects: Effects) -> AsyncIterator[bytes]:
    """The bytes of a manifest or blob of a source, seen to have its digest. Raises StorageDamaged."""
    digest, name = digest_of(key), RepositoryName(content.repositories[0])
    if content.media_type:
        stored = await source.manifest(name, digest)
        if stored is None:
            raise _gone(f"the manifest {digest}", name)
        yield stored.content
        return
    check = DigestCheck(digest)
    try:
        async with source.blob(name, digest) as chunks:
            async for piece in chunks:
                await effects.aside(check.update, piece)
                yield piece
            check.finish()
    except RegistryError as error:
        if isinstance(error, StorageDamaged):
            raise
        raise StorageDamaged(
            f"the blob {digest} of {name} cannot be carried: {error.message}; run `moorage scrub run`, and"
            " push it again"
        ) from None
    if check.size_bytes != content.size:
        raise _gone(f"the blob {digest}", name)


class _Sums:
    """The lines of SHA256SUMS."""

    def __init__(self) -> None:
        self._lines: list[tuple[str, str]] = []

    def add(self, name: str, sha256: str) -> None:
        """A file that is no signature."""
        if not name.startswith(f"{HEAD}."):
            self._lines.append((name, sha256))

    def text(self) -> bytes:
        """The file."""
        return "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(self._lines)).encode()


class _Hashed:
    """A file that is hashed while it is written."""

    def __init__(self, opened: IO[bytes], name: str, sums: _Sums) -> None:
        self._opened = opened
        self._name = name
        self._sums = sums
        # The digest is in the name of a whole sha256 file; it was seen to be right.
        _, _, encoded = name.rpartition("/")
        self._known = encoded if name.startswith("blobs/sha256/") and len(encoded) == 64 else None
        self._hasher = hashlib.sha256()

    def write(self, piece: bytes | memoryview) -> None:
        """Append."""
        self._opened.write(piece)
        if self._known is None:
            self._hasher.update(piece)

    def close(self) -> None:
        """End it, once."""
        if not self._opened.closed:
            self._opened.close()
            self._sums.add(self._name, self._known or self._hasher.hexdigest())


class _Folder:
    """The folder of one medium."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sums = _Sums()
        self._made: set[Path] = set()

    def open(self, name: str) -> _Hashed:
        """A new file."""
        path = self._path / name
        if path.parent not in self._made:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(path.parent)
        return _Hashed(path.open("xb", buffering=0), name, self._sums)

    def put(self, name: str, content: bytes) -> None:
        """A small file."""
        self.put_lines(name, [content])

    def put_lines(self, name: str, lines: Iterable[bytes]) -> None:
        """A file by its lines."""
        opened = self.open(name)
        for chunk in _chunks(lines):
            opened.write(chunk)
        opened.close()

    def sums(self) -> bytes:
        """SHA256SUMS of what was written."""
        return self._sums.text()


def _everywhere(head: Head, signatures: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """The small files that every medium has."""
    yield HEAD, head.encode()
    yield from sorted(signatures.items())
    yield README, readme(head.stream, head.source, head.totals, head.media)


def _index(statement: Statement) -> Iterator[bytes]:
    return index_json(statement, {key for key, _ in statement.carried})


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
    for root, _, names in os.walk(partial):
        for name in (*names, ""):
            _sync(os.path.join(root, name))
    partial.rename(path)
    _sync(path.parent)


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


def _both(opened: IO[bytes], hasher: hashlib._Hash | None, piece: bytes) -> None:
    opened.write(piece)
    if hasher is not None:
        hasher.update(piece)


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


def _gone(what: str, name: RepositoryName) -> StorageDamaged:
    return StorageDamaged(f"{what} of {name} went while the bundle was written; write it again")
