"""Objects made of objects: joined, moved and copied without their bytes passing through the program."""

from __future__ import annotations

import errno
import stat
from collections.abc import Sequence

from storage.directories import Directories
from storage.errors import NotFound, Unavailable
from storage.files import Files
from storage.oserrors import read_error, writing
from storage.syncs import Work
from storage.unfinished import Unfinished

# Another file system behind a mount or a link, too many names already, another owner's file.
_NO_SECOND_NAME = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})

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
            except NotFound:
                if self._size(self._key, self._path) != size:
                    raise
                with writing(self._key):
                    yield from self._target.accept()
            else:
                if self._target.size_bytes != size:
                    raise Unavailable(
                        self._key, f"the sources changed while they were joined, not {size} bytes"
                    )
                yield from self._target.publish(if_absent=False)
        finally:
            self._target.discard()
        for key, path in sources:
            if path != self._path:
                with writing(key):
                    self._directories.remove(path)
                yield ()

    def copy(self, source: KeyAndPath) -> Work:
        """Give the bytes of the source a second name, or copy them where they cannot have one."""
        try:
            self._size(*source)
            yield from self._take(source)
            with writing(self._key):
                if not (yield from self._target.appear()):
                    yield from self._target.accept()
        finally:
            self._target.discard()

    def _gather(self, sources: Sequence[KeyAndPath], size: int) -> Work:
        total = 0
        for count, source in enumerate(sources, start=1):
            total += self._size(*source)
            if count % 128 == 0:
                yield ()
        if total != size:
            raise Unavailable(self._key, f"the sources have {total} bytes, not {size}")
        if len(sources) == 1:
            yield from self._take(sources[0])
        else:
            for source in sources:
                yield from self._append(source)

    def _take(self, source: KeyAndPath) -> Work:
        with writing(self._key):
            try:
                self._target.adopt(source[1])
                return
            except FileNotFoundError:
                raise NotFound(source[0]) from None
            except OSError as error:
                if error.errno not in _NO_SECOND_NAME:
                    raise
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
