"""A part of a file sent by the kernel: from its page cache to the socket, past this process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Executor

WINDOW_BYTES = 8 << 20
_STEP_BYTES = 128 << 10  # what the kernel reads ahead by default
_NO_WAIT = getattr(os, "RWF_NOWAIT", None)


class _File:
    """What `loop.sendfile` wants of a file object."""

    mode = "rb"

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor


async def send_file(
    transport: asyncio.Transport,
    descriptor: int,
    offset: int,
    count: int,
    *,
    fetchers: Executor,
    began_window: Callable[[], None],
) -> int:
    """Send `count` bytes from `offset` on and return how many there were; `began_window` tells of progress.

    The kernel waits for the disk in the middle of such a call, and with it the loop and every connection. So
    each window is looked for in memory first, and where it is not fetched by a thread, one window ahead.
    """
    loop = asyncio.get_running_loop()
    file, start, end = _File(descriptor), offset, offset + count
    fetching: asyncio.Future[None] | None = None
    try:
        while offset < end:
            stop = min(offset + WINDOW_BYTES, end)
            if fetching is not None:
                await fetching
            elif not _in_memory(descriptor, offset, stop):
                await loop.run_in_executor(fetchers, _fetch, descriptor, offset, stop)
            fetching = None
            if stop < end and not _in_memory(descriptor, stop, min(stop + WINDOW_BYTES, end)):
                fetching = loop.run_in_executor(
                    fetchers, _fetch, descriptor, stop, min(stop + WINDOW_BYTES, end)
                )
            began_window()
            sent = await loop.sendfile(transport, file, offset, stop - offset, fallback=False)  # type: ignore[arg-type]
            offset += sent
            if offset < stop:
                break
    finally:
        if fetching is not None:
            # The descriptor is the caller's, and closed when this returns.
            await _ended(fetching)
    return offset - start


async def _ended(fetching: asyncio.Future[None]) -> None:
    cancelled = False
    while not fetching.done():
        try:
            await asyncio.wait([fetching])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


def _in_memory(descriptor: int, start: int, stop: int) -> bool:
    """Whether samples of the range can be read without waiting; who cannot say is taken to say no."""
    if _NO_WAIT is None:
        return False
    byte = [bytearray(1)]
    try:
        for offset in range(start, stop, _STEP_BYTES):
            os.preadv(descriptor, byte, offset, _NO_WAIT)
        os.preadv(descriptor, byte, stop - 1, _NO_WAIT)
    except OSError:
        return False
    return True


def _fetch(descriptor: int, start: int, stop: int) -> None:
    """Wait until the range is in the page cache."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, start, stop - start, os.POSIX_FADV_WILLNEED)
    for offset in range(start, stop, _STEP_BYTES):
        os.pread(descriptor, 1, offset)
    os.pread(descriptor, 1, stop - 1)
