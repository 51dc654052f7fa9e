"""Objects as files of a directory tree, on a local disk or a network file system."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Sequence
from contextlib import aclosing, suppress
from uuid import uuid4

from storage.contract import Check, Driver, InMemory, ObjectInfo
from storage.directories import Directories
from storage.errors import Forbidden, OutOfSpace, StorageError
from storage.files import Files
from storage.findings import Finding
from storage.joining import Joining, KeyAndPath
from storage.keys import validate, validate_prefix
from storage.listing import Listing
from storage.notes import Notes
from storage.oserrors import Writing, read_error, write_error
from storage.patience import Patience
from storage.reading import INLINE_BYTES, PIECE_BYTES, OpenFile, Reader
from storage.sharing import Share
from storage.suitability import make_root, try_out
from storage.syncs import Work
from storage.threads import Threads
from storage.unfinished import Unfinished
from storage.works import Works

# What the bodies that a process receives and sends may take of its memory here; the fewer, the larger pieces.
_GATHERED_BYTES = 16 << 20
_READ_BYTES = 16 << 20
_LEAST_BYTES = 16 << 10
_GATHERED_PIECES = 512
_NAMES_A_STEP = 1024
_DELETES_A_STEP = 128
_DELETES_INLINE = 16
_UNLINKED_INLINE_BYTES = 1 << 20  # giving back the room of a large file takes a file system 0.1 s per GiB
_THREADS = 32
# A listing begins on the event loop; what takes longer goes on in a thread.
_LISTED_INLINE_SECONDS = 0.001


class LocalDriver(Driver):
    """Keeps each object in a file of its own below `root`; any number of processes may share the tree.

    What the page cache answers (small reads, small writes but for their syncs, short listings) runs on the
    event loop while the disk is quick (see `Patience`), by `clock`; everything else in at most
    `threads` threads. `now` is the wall clock, for the age of what a crash left. What lies below the prefix
    `private` only the owner of the files may read.
    Call `start` before the first use and `aclose` after the last.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        threads: int = _THREADS,
        files: Files | None = None,
        clock: Callable[[], float] = time.perf_counter,
        now: Callable[[], float] = time.time,
        allow_case_folding: bool = False,
        private: str | None = None,
    ) -> None:
        self._root = os.path.realpath(root)
        self._start_of_path = self._root.rstrip("/") + "/"
        self._files = Files() if files is None else files
        self._directories = Directories(self._root, self._files)
        self._notes = Notes(self._root, self._files, self._directories)
        self._own, self._names = str(uuid4()), itertools.count()
        self._threads = Threads(threads)
        self._works = Works(self._threads, self._sync, clock)
        self._reader = Reader(self._files)
        self._patience = Patience(clock)
        self._gathering = Share(_GATHERED_BYTES, least=_LEAST_BYTES, most=PIECE_BYTES)
        self._reading = Share(_READ_BYTES, least=_LEAST_BYTES, most=PIECE_BYTES)
        self._now = now
        self._allow_case_folding = allow_case_folding
        self._private = None if private is None else f"{private}/"
        self._epoch = _boot_id()
        self.read_only = False

    @property
    def root(self) -> str:
        """The directory of the tree, symbolic links resolved."""
        return self._root

    @property
    def epoch(self) -> str | None:
        """The boot of the machine: what a write without sync survives."""
        return self._epoch

    @property
    def slow_reads(self) -> int:
        """How many reads on the event loop took over 5 ms so far."""
        return self._patience.slow

    @property
    def reading_aside(self) -> bool:
        """Whether small reads go to threads now, since the disk has lately been slow."""
        return self._patience.exhausted

    def place(self, prefix: str) -> str | None:
        """What tells the directory `prefix` from any copy of it; None where there is no such directory."""
        try:
            return str(self._files.status(self._path(prefix)).st_ino)
        except FileNotFoundError:
            return None

    async def start(self) -> None:
        """Make the root and try out its file system.

        A tree that may not be written is served for reading, and `read_only` says so. On a full disk nothing
        can be tried out; it is served too, so that room can be made.

        Raises UnsuitableStore, naming what the file system lacks; Unavailable.
        """
        try:
            await self._threads.run(self._start)
        except OSError as error:
            refusal = write_error(error, "")
            if isinstance(refusal, OutOfSpace) and os.path.isdir(self._root):
                return
            if isinstance(refusal, Forbidden) and os.path.isdir(self._root):
                self.read_only = True
                return
            raise StorageError("", f"the store cannot be kept in {self._root}: {error.strerror}") from error

    async def try_out(self) -> list[Finding]:
        """Nothing: what a file system must be able to do is found out at the start."""
        return []

    async def aclose(self) -> None:
        """Wait for the work under way and end the threads."""
        await self._works.close()
        await self._threads.run_always(self._notes.close)
        await self._threads.close()

    async def sweep(self) -> None:
        """Remove what writers that were killed a day ago have left unfinished; to be called now and then."""
        await self._threads.finish(self._notes.sweep(self._now()))

    async def get(self, key: str, *, limit: int) -> bytes:
        """The whole of a small object."""
        path = self._path(key)
        if self._patience.exhausted:
            return await self._threads.run(self._reader.get, path, key, limit)
        began = self._patience.clock()
        try:
            return self._reader.get(path, key, limit)
        finally:
            self._patience.took(began)

    async def stat(self, key: str) -> ObjectInfo:
        """Size and modified time."""
        path = self._path(key)
        if self._patience.exhausted:
            return await self._threads.run(self._reader.stat, path, key)
        began = self._patience.clock()
        try:
            return self._reader.stat(path, key)
        finally:
            self._patience.took(began)

    def open(self, key: str, start: int = 0, end: int | None = None) -> OpenFile:
        """Open an object for reading a range; `file` is its descriptor."""
        return OpenFile(
            self._path(key),
            key,
            start,
            end,
            reader=self._reader,
            patience=self._patience,
            threads=self._threads,
            share=self._reading,
        )

    async def put(self, key: str, data: bytes, *, if_absent: bool = False, durable: bool = True) -> None:
        """Put a small object, in one step."""
        unfinished = self._unfinished(key, durable, noted=durable)
        work = _put(unfinished, data, if_absent)
        await self._works.do(work, unfinished.abandon, short=len(data) <= INLINE_BYTES)

    async def write(
        self,
        key: str,
        chunks: AsyncIterable[bytes],
        *,
        check: Check | None = None,
        if_absent: bool = False,
        durable: bool = True,
    ) -> int:
        """Stream an object to disk; see the contract."""
        unfinished = self._unfinished(key, durable, noted=True)
        in_memory = isinstance(chunks, InMemory)
        pieces: list[bytes] = []
        gathered = 0
        try:
            with self._gathering as share:
                async for piece in chunks:
                    pieces.append(piece)
                    gathered += len(piece)
                    if not in_memory and (gathered >= share.bytes or len(pieces) >= _GATHERED_PIECES):
                        await self._threads.run(unfinished.append, pieces, check)
                        pieces = []
                        gathered = 0
            work = _finish(unfinished, pieces, check, if_absent)
            short = unfinished.size_bytes + gathered <= INLINE_BYTES
            await self._works.do(work, unfinished.abandon, short=short)
        except BaseException:
            await self._threads.run_always(unfinished.discard)
            raise
        return unfinished.size_bytes

    async def compose(self, key: str, sources: Sequence[str], *, size: int) -> None:
        """Join objects: a single one gets another name, several are copied within the kernel where it can."""
        paths = [(source, self._path(source)) for source in sources]
        short = size <= INLINE_BYTES and len(sources) <= 1
        await self._join(key, lambda joining: joining.compose(paths, size), short=short)

    async def copy(self, key: str, source: str) -> None:
        """A second name of the same file, or a copy where it cannot have one."""
        path = self._path(source)
        await self._join(key, lambda joining: joining.copy((source, path)), short=False)

    async def children(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """The immediate names below `prefix`, in byte order."""
        validate_prefix(prefix)
        names = Listing(self._root, self._files, self._now()).children(prefix, after, limit)
        found: list[str] = []
        if not self._patience.exhausted:
            found, ended = self._first(names, prefix)
            if ended:
                return found
        return [*found, *[name async for name in self._listed(names, prefix)]]

    async def walk(self, prefix: str, *, after: str = "") -> AsyncGenerator[str, None]:
        """Every key below `prefix` greater than `after`, in byte order; those before an error, too."""
        validate_prefix(prefix)
        errors: list[OSError] = []
        keys = _until_error(Listing(self._root, self._files, self._now()).walk(prefix, after), errors)
        ended = False
        if not self._patience.exhausted:
            found, ended = self._first(keys, prefix)
            for key in found:
                yield key
        if not ended:
            async with aclosing(self._listed(keys, prefix)) as listed:
                async for key in listed:
                    yield key
        for error in errors:
            raise read_error(error, self._place(error) or prefix) from error

    async def leading_out(self) -> AsyncGenerator[tuple[str, str], None]:
        """The symbolic links below the root that lead out of it, each with where to; they are followed."""
        links = Listing(self._root, self._files, self._now()).leading_out()
        async with aclosing(self._threads.items(links, _NAMES_A_STEP)) as found:
            async for one in found:
                yield one

    async def delete(self, keys: Sequence[str], *, durable: bool = True) -> None:
        """Remove files, and the directories that they leave empty; each that changed is synced once."""
        paths = [(key, self._path(key)) for key in keys]
        inline = len(paths) <= _DELETES_INLINE and not self._works.patience.exhausted
        await self._works.do(self._remove(paths, durable), short=inline and not self._is_any_large(paths))

    def _path(self, key: str) -> str:
        validate(key)
        return self._start_of_path + key

    def _place(self, error: OSError) -> str:
        """Where in the tree it went wrong, as a key; empty where that is not known."""
        path = error.filename if isinstance(error.filename, str) else ""
        return path.removeprefix(self._start_of_path) if path.startswith(self._start_of_path) else ""

    def _unfinished(self, key: str, durable: bool, *, noted: bool) -> Unfinished:
        """A new object; of those that are not `noted` a kill leaves some hundred bytes, and some for ever."""
        name = f"{self._own}-{next(self._names)}"
        notes = self._notes if noted else None
        private = self._private is not None and key.startswith(self._private)
        return Unfinished(
            key, self._path(key), name, durable, self._files, self._directories, notes, private=private
        )

    def _start(self) -> None:
        make_root(self._root, self._files)
        try_out(self._root, self._files, allow_case_folding=self._allow_case_folding)

    async def _join(self, key: str, join: Callable[[Joining], Work], *, short: bool) -> None:
        target = self._unfinished(key, durable=True, noted=True)
        joining = Joining(target, key, self._path(key), self._files, self._directories)
        await self._works.do(join(joining), target.abandon, short=short)

    def _remove(self, paths: Sequence[KeyAndPath], durable: bool) -> Work:
        changed: dict[str, None] = {}
        for count, (key, path) in enumerate(paths, start=1):
            with Writing(key):
                directory = self._directories.remove(path)
            if directory is not None:
                changed[directory] = None
            if count % _DELETES_A_STEP == 0:
                yield ()
        if durable:
            directories = list(changed)
            with Writing(paths[0][0] if paths else ""):
                for first in range(0, len(directories), _DELETES_A_STEP):
                    yield from self._directories.settling(directories[first : first + _DELETES_A_STEP])

    def _is_any_large(self, paths: Sequence[KeyAndPath]) -> bool:
        for _, path in paths:
            with suppress(OSError):  # what is wrong with it, if anything, the removal says
                if self._files.status(path).st_size > _UNLINKED_INLINE_BYTES:
                    return True
        return False

    def _sync(self, one: int | str) -> None:
        if isinstance(one, int):
            self._files.sync(one)
        else:
            self._directories.sync(one)

    async def _listed(
        self, names: Generator[str | None, None, None], prefix: str
    ) -> AsyncGenerator[str, None]:
        try:
            async with aclosing(self._threads.items(names, _NAMES_A_STEP)) as listed:
                async for name in listed:
                    yield name
        except OSError as error:
            raise read_error(error, self._place(error) or prefix) from error

    def _first(self, names: Generator[str | None, None, None], prefix: str) -> tuple[list[str], bool]:
        """What a listing gives within a moment, and whether that is all."""
        clock = self._patience.clock
        found: list[str] = []
        began = clock()
        try:
            for name in names:
                if name is not None:
                    found.append(name)
                if clock() - began > _LISTED_INLINE_SECONDS or len(found) >= _NAMES_A_STEP:
                    return found, False
        except OSError as error:
            raise read_error(error, self._place(error) or prefix) from error
        finally:
            self._patience.took(began)
        return found, True


def _until_error(
    names: Generator[str | None, None, None], errors: list[OSError]
) -> Generator[str | None, None, None]:
    """The names, and into `errors` what ended them."""
    try:
        yield from names
    except OSError as error:
        errors.append(error)


def _put(unfinished: Unfinished, data: bytes, if_absent: bool) -> Work:
    try:
        unfinished.append([data])
        yield from unfinished.publish(if_absent)
    finally:
        unfinished.discard()


def _finish(unfinished: Unfinished, pieces: Sequence[bytes], check: Check | None, if_absent: bool) -> Work:
    unfinished.append(pieces, check)
    if check is not None:
        check.finish()
    yield from unfinished.publish(if_absent)


def _boot_id() -> str | None:
    """What Linux calls this boot of the machine; None elsewhere."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip() or None
    except OSError:
        return None
