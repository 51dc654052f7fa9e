"""An object that is being written: it lies under a temporary name until it appears whole under its key."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Sequence
from contextlib import suppress

from storage.contract import Check
from storage.directories import Directories
from storage.errors import AlreadyExists, NotFound
from storage.files import Files
from storage.keys import TEMPORARY_PREFIX
from storage.notes import Notes
from storage.oserrors import Writing, read_error
from storage.syncs import Wanted, Work

# Another file system behind a mount or a link, too many names already, another owner's file.
_NO_SECOND_NAME = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
_COPIED_A_TURN = 8 << 20
_COMPARED_A_TURN = 4 << 20


class Abandoned(Exception):
    """The writer was cancelled before the object became visible."""


class Unfinished:
    """One new object for the key that lies at `path`; its methods block, and run one by one.

    Its temporary name, which ends in a `name` that nothing else has, lies in the directory of the object
    itself, since another disk may be mounted or linked anywhere in the tree, and names can be exchanged
    within one file system only. What is generated comes in turns of bounded length.
    """

    def __init__(
        self,
        key: str,
        path: str,
        name: str,
        durable: bool,
        files: Files,
        directories: Directories,
        notes: Notes | None,
        *,
        private: bool = False,
    ) -> None:
        self._key = key
        self._path = path
        self._durable = durable
        self._files = files
        self._directories = directories
        self._notes = notes
        self._private = private
        self._note = -1
        self._directory = path.rpartition("/")[0]
        self._temporary = f"{self._directory}/{TEMPORARY_PREFIX}{name}"
        self._entered = False  # whether the directory may have been made for this
        self._named = False  # whether the temporary name may be there
        self._origin: tuple[str, str] | None = None  # key and path of the file that this is to be a name of
        self._descriptor = -1
        self._abandoned = False
        self.size_bytes = 0
        self.unsynced = False
        """Whether the file that this was to be a name of could not be synced: nobody may use it any more."""

    def abandon(self) -> None:
        """Say, from any thread, that the object must not become visible any more if it has not yet."""
        self._abandoned = True

    def append(self, pieces: Sequence[bytes], check: Check | None = None) -> None:
        """Show the pieces to `check` and write them."""
        if check is not None:
            for piece in pieces:
                check.update(piece)
        with Writing(self._key):
            self._create()
            self._files.write(self._descriptor, pieces)
        self.size_bytes += sum(map(len, pieces))

    def append_file(self, path: str) -> Work:
        """Append all of a file; FileNotFoundError if it is gone."""
        source = self._files.open(path)
        try:
            with Writing(self._key):
                self._create()
                offset = 0
                while copied := self._files.append(self._descriptor, source, offset, _COPIED_A_TURN):
                    offset += copied
                    self.size_bytes += copied
                    yield ()
        finally:
            self._files.close(source)

    def adopt(self, key: str, path: str) -> None:
        """Be a second name of a file, or a copy where it cannot have one. Raises NotFound for `key`."""
        self._origin = key, path
        try:
            self._descriptor = self._files.open(path)
            status = self._files.status_of(self._descriptor)
        except OSError as error:
            raise read_error(error, key) from error
        if not stat.S_ISREG(status.st_mode):
            raise NotFound(key)
        self.size_bytes = status.st_size

    def publish(self, if_absent: bool) -> Work:
        """Appear under the key; with `if_absent`, equal bytes there are as good, others AlreadyExists."""
        with Writing(self._key):
            if not if_absent:
                yield from self.replace()
                return
            while not (yield from self.appear()):
                same = yield from self._lies_there()
                if same is not None:
                    self.discard()
                    if not same:
                        raise AlreadyExists(self._key)
                    return

    def replace(self) -> Work:
        """Appear under the key, over what lies there."""
        yield from self._make_ready()
        if self._origin is None or not (yield from self._link()):
            # Renaming does nothing where both names belong to one file, as they may then.
            adopted = self._origin is not None
            if adopted:
                self._enter()
                self._link_origin(self._temporary)
                self._named = True
            try:
                self._files.rename(self._temporary, self._path)
            except IsADirectoryError:
                if not self._directories.clear(self._path):
                    raise
                self._files.rename(self._temporary, self._path)
            self._named = adopted
        yield from self._appeared()

    def appear(self) -> Generator[Wanted, None, bool]:
        """Appear under the key if nothing lies there; whether it did."""
        yield from self._make_ready()
        if not (yield from self._link()) and not (self._cleared_the_way() and (yield from self._link())):
            return False
        yield from self._appeared()
        return True

    def accept(self) -> Work:
        """Make durable what lies under the key already; FileNotFoundError if nothing does."""
        descriptor = self._files.open(self._path)
        try:
            yield [descriptor]
        finally:
            self._files.close(descriptor)
        yield from self._settled_names()

    def discard(self) -> None:
        """Leave nothing of an object that did not appear, nor of the directories made for it."""
        with Writing(self._key):
            self._drop_name()
            if self._entered:
                self._directories.prune(self._directory)

    def _appeared(self) -> Work:
        self._entered = False
        self._drop_name()
        yield from self._settled_names()

    def _enter(self) -> None:
        """Before anything of this lies there."""
        self._entered = True
        if self._notes is not None and self._note < 0:
            self._note = self._notes.take(self._temporary)

    def _drop_name(self) -> None:
        """Give up the descriptor and the temporary name."""
        descriptor, self._descriptor = self._descriptor, -1
        named, self._named = self._named, False
        try:
            if descriptor >= 0:
                self._files.close(descriptor)
        finally:
            if named:
                with suppress(FileNotFoundError):
                    self._files.unlink(self._temporary)
        note, self._note = self._note, -1
        if self._notes is not None and note >= 0:
            self._notes.give_back(note)

    def _create(self) -> None:
        if self._descriptor < 0:
            self._enter()
            self._descriptor = self._directories.within(
                self._directory, lambda: self._files.create(self._temporary, private=self._private)
            )
            self._named = True

    def _link(self) -> Generator[Wanted, None, bool]:
        """Give the object its name, if nothing has that; whether it has it."""
        try:
            if self._origin is None:
                self._files.link(self._temporary, self._path)
                return True
            self._entered = True
            self._link_origin(self._path)
        except FileExistsError:
            return False
        except OSError as error:
            if self._origin is None or error.errno not in _NO_SECOND_NAME:
                raise
            yield from self._copy_origin(*self._origin)
            return (yield from self._link())
        return True

    def _link_origin(self, target: str) -> None:
        assert self._origin is not None
        key, path = self._origin

        def link() -> None:
            if self._abandoned:
                raise Abandoned
            try:
                self._files.link(path, target)
            except FileNotFoundError:
                try:
                    self._files.status(path)
                except FileNotFoundError:
                    raise NotFound(key) from None
                raise

        self._directories.within(self._directory, link)

    def _copy_origin(self, key: str, path: str) -> Work:
        self._origin = None
        descriptor, self._descriptor = self._descriptor, -1
        self._files.close(descriptor)
        self.size_bytes = 0
        try:
            yield from self.append_file(path)
        except OSError as error:
            raise read_error(error, key) from error
        yield from self._make_ready()

    def _make_ready(self) -> Work:
        self._create()
        if self._durable:
            try:
                yield [self._descriptor]
            except OSError:
                self.unsynced = self._origin is not None
                raise
        if self._abandoned:
            raise Abandoned

    def _cleared_the_way(self) -> bool:
        """Whether a directory lay under the key, and is gone, since only a crash can have left it: empty."""
        with suppress(FileNotFoundError):
            if not stat.S_ISDIR(self._files.status(self._path).st_mode):
                return False
            if not self._directories.clear(self._path):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        return True

    def _lies_there(self) -> Generator[Wanted, None, bool | None]:
        """Whether the same bytes, synced then, lie under the key; None when nothing does any more."""
        try:
            other = self._files.open(self._path)
        except FileNotFoundError:
            return None
        try:
            if self._files.status_of(other).st_size != self.size_bytes:
                return False
            for offset in range(0, self.size_bytes, _COMPARED_A_TURN):
                mine = self._files.read(self._descriptor, _COMPARED_A_TURN, offset)
                if mine != self._files.read(other, _COMPARED_A_TURN, offset):
                    return False
                yield ()
            if self._durable:
                yield [other]
        finally:
            self._files.close(other)
        yield from self._settled_names()
        return True

    def _settled_names(self) -> Work:
        if self._durable:
            yield from self._directories.settling([self._directory])
