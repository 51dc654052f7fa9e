"""Objects made of objects: joined, moved and copied without their bytes passing through the program."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from contextlib import suppress

from storage.directories import Directories
from storage.errors import NotFound, Unavailable
from storage.files import Files
from storage.oserrors import Writing, read_error
from storage.syncs import Work
from storage.unfinished import Unfinished

KeyAndPath = tuple[str, str]


class Joining:
    """Gives one `Unfinished` object its bytes from other objects, in turns of bounded length."""

    def __init__(
        self, target: Unfinished, key: str, path: str, files: Files, directories: Directories
    ) -> None:
        self._target = target
        self._key = key
        self._path = path
        self._files = files
        self._directories = directories

    def compose(self, sources: Sequence[KeyAndPath], size: int) -> Work:
        """Join the sources, then remove them; accept what lies there if some are gone and it has `size`."""
        try:
            try:
                yield from self._gather(sources, size)
                if self._target.size_bytes != size:
                    raise Unavailable(
                        self._key, f"the sources have {self._target.size_bytes} bytes, not {size}"
                    )
                yield from self._target.publish(if_absent=False)
            except NotFound:
                # At whatever point another has moved them: then it lies there.
                if self._size(self._key, self._path) != size:
                    raise
                with Writing(self._key):
                    yield from self._target.accept()
        finally:
            if self._target.unsynced:
                self._drop(sources)
            self._target.discard()
        for key, path in sources:
            if path != self._path:
                with Writing(key):
                    self._directories.remove(path)
                yield ()

    def copy(self, source: KeyAndPath) -> Work:
        """Give the bytes of the source a second name, or copy them where they cannot have one."""
        try:
            self._target.adopt(*source)
            with Writing(self._key):
                if not (yield from self._target.appear()):
                    yield from self._target.accept()
        finally:
            self._target.discard()

    def _drop(self, sources: Sequence[KeyAndPath]) -> None:
        """Let nobody sync these files again: of bytes that it could not write Linux tells only once."""
        for _, path in sources:
            if path != self._path:
                with suppress(OSError):
                    self._directories.remove(path)

    def _gather(self, sources: Sequence[KeyAndPath], size: int) -> Work:
        if len(sources) == 1:
            self._target.adopt(*sources[0])
            return
        total = 0
        for count, source in enumerate(sources, start=1):
            total += self._size(*source)
            if count % 128 == 0:
                yield ()
        if total != size:
            raise Unavailable(self._key, f"the sources have {total} bytes, not {size}")
        for source in sources:
            yield from self._append(source)

    def _append(self, source: KeyAndPath) -> Work:
        key, path = source
        try:
            yield from self._target.append_file(path)
        except OSError as error:
            raise read_error(error, key) from error

    def _size(self, key: str, path: str) -> int:
        try:
            status = self._files.status(path)
        except OSError as error:
            raise read_error(error, key) from error
        if not stat.S_ISREG(status.st_mode):
            raise NotFound(key)
        return status.st_size
