"""The bytes of a blob in portions, each as much as a thread is given at once."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

from storage.contract import OpenObject
from storage.oserrors import read_error

_GATHERED_BYTES = 1 << 20  # in memory
_READ_BYTES = 8 << 20  # of a file: a hop to a thread costs as much as to copy a quarter of a MiB
_PIECE_BYTES = 256 << 10  # is still in the processor's cache when it is hashed and written


async def gathered(chunks: AsyncIterable[bytes]) -> AsyncIterator[Iterable[bytes]]:
    """What comes from elsewhere."""
    pieces: list[bytes] = []
    size = 0
    async for piece in chunks:
        pieces.append(piece)
        size += len(piece)
        if size >= _GATHERED_BYTES:
            yield pieces
            pieces, size = [], 0
    if pieces:
        yield pieces


async def portions_of(opened: OpenObject, key: str) -> AsyncIterator[Iterable[bytes]]:
    """What is stored: a file is read by whoever goes through the portion. Raises StorageError."""
    if opened.file is None:
        async for pieces in gathered(opened.chunks()):
            yield pieces
        return
    for start in range(opened.start, opened.end, _READ_BYTES):
        yield _read(opened, start, min(start + _READ_BYTES, opened.end), key)


def _read(opened: OpenObject, start: int, end: int, key: str) -> Iterator[bytes]:
    while start < end:
        file = opened.file  # each time: when it was closed, the number may be another's
        assert file is not None
        try:
            piece = os.pread(file, min(_PIECE_BYTES, end - start), start)
        except OSError as error:
            raise read_error(error, key) from error
        if not piece:
            return  # whoever takes it sees that it is less than there must be
        yield piece
        start += len(piece)
