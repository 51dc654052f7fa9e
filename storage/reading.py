"""Reading on the event loop while the disk is quick, in threads while it is not."""

from __future__ import annotations

import stat
from asyncio import CancelledError
from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import UTC, datetime
from os import stat_result
from types import TracebackType

from storage.contract import ObjectInfo
from storage.errors import InvalidRange, NotFound, TooLarge, Unavailable
from storage.files import Files
from storage.oserrors import read_error
from storage.patience import Patience
from storage.sharing import Share
from storage.threads import Threads

INLINE_BYTES = 64 << 10
PIECE_BYTES = 1 << 20


class Reader:
    """The blocking reads of one tree; none of them sees a directory or a device as an object."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def get(self, path: str, key: str, limit: int) -> bytes:
        """The whole of a small file."""
        descriptor, status = self.open(path, key)
        try:
            if status.st_size > limit:
                raise TooLarge(key, f"the object has {status.st_size} bytes, more than the {limit} asked for")
            return self._files.read(descriptor, status.st_size, 0)
        except OSError as error:
            raise read_error(error, key) from error
        finally:
            self._files.close(descriptor)

    def stat(self, path: str, key: str) -> ObjectInfo:
        """Size and modified time of a file."""
        try:
            status = self._files.status(path)
        except OSError as error:
            raise read_error(error, key) from error
        if not stat.S_ISREG(status.st_mode):
            raise NotFound(key)
        return _info(status)

    def open(self, path: str, key: str) -> tuple[int, stat_result]:
        """A descriptor of a file, and its status."""
        try:
            descriptor = self._files.open(path)
        except OSError as error:
            raise read_error(error, key) from error
        try:
            status = self._files.status_of(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise NotFound(key)
        except OSError as error:
            self._files.close(descriptor)
            raise read_error(error, key) from error
        except NotFound:
            self._files.close(descriptor)
            raise
        return descriptor, status

    def read(self, descriptor: int, count: int, offset: int, key: str) -> bytes:
        """Bytes of an open file."""
        try:
            return self._files.read(descriptor, count, offset)
        except OSError as error:
            raise read_error(error, key) from error

    def close(self, descriptor: int) -> None:
        """Give a descriptor back."""
        self._files.close(descriptor)


def _info(status: stat_result) -> ObjectInfo:
    return ObjectInfo(status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


class OpenFile:
    """A file held open for reading: the async context manager that `LocalDriver.open` returns."""

    def __init__(
        self,
        path: str,
        key: str,
        start: int,
        end: int | None,
        *,
        reader: Reader,
        patience: Patience,
        threads: Threads,
        share: Share,
    ) -> None:
        self._share = share
        self._path = path
        self._key = key
        self._start = start
        self._end = end
        self._reader = reader
        self._patience = patience
        self._threads = threads
        self._descriptor = -1
        self._info: ObjectInfo | None = None

    @property
    def info(self) -> ObjectInfo:
        """Of the whole object."""
        assert self._info is not None, "the object is not open"
        return self._info

    @property
    def start(self) -> int:
        """The first byte of the range."""
        return self._start

    @property
    def end(self) -> int:
        """One behind the last byte of the range."""
        assert self._end is not None, "the object is not open"
        return self._end

    @property
    def file(self) -> int | None:
        """The descriptor, for sendfile."""
        return self._descriptor

    async def __aenter__(self) -> OpenFile:
        if self._patience.exhausted:
            try:
                await self._threads.run(self._open)
            except CancelledError:
                self._close()
                raise
        else:
            began = self._patience.clock()
            try:
                self._open()
            finally:
                self._patience.took(began)
        size = self.info.size_bytes
        if not 0 <= self._start <= size:
            self._close()
            raise InvalidRange(self._key, size)
        self._end = size if self._end is None else max(self._start, min(self._end, size))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of the range: what is small at once, the rest piece by piece from a thread."""
        offset, end = self._start, self.end
        small = end - offset <= INLINE_BYTES
        with nullcontext(self._share) if small else self._share as share:
            while offset < end:
                count = min(share.bytes, end - offset)
                if small and not self._patience.exhausted:
                    began = self._patience.clock()
                    piece = self._reader.read(self._descriptor, count, offset, self._key)
                    self._patience.took(began)
                else:
                    piece = await self._threads.run(
                        self._reader.read, self._descriptor, count, offset, self._key
                    )
                if not piece:
                    raise Unavailable(self._key, f"the object ended at {offset} bytes while it was read")
                offset += len(piece)
                yield piece

    def _open(self) -> None:
        self._descriptor, status = self._reader.open(self._path, self._key)
        self._info = _info(status)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._reader.close(descriptor)
