"""Large answers: a part of a file sent as the kernel has it, past this process; or bytes, by and by."""

from __future__ import annotations

import asyncio
import errno
import mmap
import os
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from functools import cache

from storage.sharing import Share

_STEP_BYTES = 128 << 10  # what the kernel reads ahead by default
_WAITING_BYTES = 8 << 10
_NO_WAIT = getattr(os, "RWF_NOWAIT", None)
_UNSENT = getattr(socket, "TCP_NOTSENT_LOWAT", None)


async def send_file(
    transport: asyncio.Transport,
    drain: Callable[[], Awaitable[None]],
    descriptor: int,
    offset: int,
    count: int,
    *,
    windows: Share,
    unsent: Share,
    fetchers: Executor,
) -> int:
    """Send `count` bytes of a file from `offset` on, and return how many there were.

    Window by window the file is mapped and written to the socket as it is: the kernel copies it from its page
    cache, once. When the socket is full, the transport gets a little to wait with, and `drain` returns when
    that is sent; it raises what ends the sending. The mapping is never read here: where the file has been
    truncated meanwhile, that would be a signal's end to this process, while to the kernel it is an error.

    For a page that is not in memory the kernel waits for the disk, and with it the loop and all connections.
    So each window is looked for first, and where it is not in memory a thread fetches it, one window ahead.
    And who is near takes all of a window in one call: the more clients, the smaller the windows, and so what
    the kernel takes for those who are not near.
    """
    loop = asyncio.get_running_loop()
    start, end = offset, offset + count
    fetched = offset  # up to here it is in memory
    fetching: asyncio.Future[None] | None = None

    def fetch(stop: int) -> asyncio.Future[None] | None:
        nonlocal fetched
        begin, fetched = fetched, max(fetched, stop)
        if begin >= stop or _in_memory(descriptor, begin, stop):
            return None
        return loop.run_in_executor(fetchers, _fetch, descriptor, begin, stop)

    transport.set_write_buffer_limits(high=0)
    with windows as window, unsent:
        try:
            while offset < end:
                _bound(transport, unsent)
                stop = min(offset + window.bytes, end)
                for waited_for in (fetching, fetch(stop)):
                    if waited_for is not None:
                        fetching = waited_for
                        await waited_for
                fetching = fetch(min(stop + window.bytes, end))
                sent = await _send_window(transport, drain, descriptor, offset, stop)
                offset += sent
                if sent == 0:
                    break
                await asyncio.sleep(0)
        finally:
            transport.set_write_buffer_limits()
            if fetching is not None:
                # The descriptor is the caller's, and closed when this returns.
                await _ended(fetching)
    return offset - start


async def send_bytes(
    transport: asyncio.Transport,
    drain: Callable[[], Awaitable[None]],
    data: bytes,
    *,
    unsent: Share,
    slices: Share | None,
) -> None:
    """Send bytes of this process; `drain` and `unsent` are those of `send_file`.

    A transport keeps whatever it is given until the client has taken it, so it gets only a little at a time:
    on a plain connection beside what its socket takes at once, and where it has to be encrypted, a slice.
    """
    with unsent:
        _bound(transport, unsent)
        if slices is None:
            await _send_plain(transport, drain, memoryview(data))
        else:
            with slices:
                await _send_slices(transport, drain, memoryview(data), slices)


async def _send_slices(
    transport: asyncio.Transport, drain: Callable[[], Awaitable[None]], view: memoryview, slices: Share
) -> None:
    # By default half a MiB waits here, besides what waits encrypted. With 0 it would wait for ever.
    transport.set_write_buffer_limits(high=1)
    at = 0
    while at < len(view):
        stop = at + slices.bytes
        transport.write(view[at:stop])
        at = stop
        await drain()


async def _send_plain(
    transport: asyncio.Transport, drain: Callable[[], Awaitable[None]], view: memoryview
) -> None:
    transport.set_write_buffer_limits(high=0)
    at = 0
    try:
        while at < len(view):
            if not transport.get_write_buffer_size():
                at += _write(transport, view[at:])
            if at < len(view):
                transport.write(view[at : at + _WAITING_BYTES])
                at += _WAITING_BYTES
                await drain()
    finally:
        transport.set_write_buffer_limits()


async def _send_window(
    transport: asyncio.Transport,
    drain: Callable[[], Awaitable[None]],
    descriptor: int,
    offset: int,
    stop: int,
) -> int:
    """Send a part of a file, and return how much of it there was; 0 behind the end of the file."""
    await drain()
    at = offset
    while at < stop:
        if not transport.get_write_buffer_size():
            # Mapped no longer than that takes: what slow clients wait for would count as memory of ours.
            base = at - at % mmap.ALLOCATIONGRANULARITY
            with _mapped(descriptor, base, stop) as view:
                if view:
                    at += _write(transport, view[at - base :])
        if at < stop:
            piece = os.pread(descriptor, min(_WAITING_BYTES, stop - at), at)
            if not piece:
                break
            transport.write(piece)
            at += len(piece)
            del piece  # the transport has copied it, and who waits is to hold it once
            await drain()
    return at - offset


def _mapped(descriptor: int, start: int, stop: int) -> memoryview:
    """A part of a file as memory; nothing of it where the file system, or its end, does not let us."""
    try:
        mapped = mmap.mmap(descriptor, stop - start, prot=mmap.PROT_READ, offset=start)
    except (OSError, ValueError):
        return memoryview(b"")
    # The mapping goes with the last view of it.
    return memoryview(mapped)


def _bound(transport: asyncio.Transport, unsent: Share) -> None:
    """Have the kernel keep no more than a share for a client that does not take it, where many are sent to.

    By itself it keeps 4 MiB for each, of the memory that all connections of a machine share.
    """
    if _UNSENT is not None:
        few = unsent.bytes == unsent.most
        with suppress(OSError):
            transport.get_extra_info("socket").setsockopt(
                socket.IPPROTO_TCP, _UNSENT, 0 if few else unsent.bytes
            )


def _write(transport: asyncio.Transport, view: memoryview) -> int:
    """How much the socket takes of it now; an error of the connection is left for the transport to find."""
    with view, suppress(BlockingIOError, ConnectionError):
        try:
            return os.write(transport.get_extra_info("socket").fileno(), view)
        except OSError as error:
            if error.errno != errno.EFAULT:
                raise
            # A hole where the file was truncated, which reading will find.
    return 0


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
    except OSError as error:
        return error.errno == errno.EOPNOTSUPP and _is_memory(os.fstat(descriptor).st_dev)
    return True


@cache
def _is_memory(device: int) -> bool:
    """Whether the file system of that number is memory itself (tmpfs), by the kernel's list of mounts."""
    name = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            fields = [line.split() for line in mounts]
    except OSError:
        return False
    return any(one[2] == name and one[one.index("-") + 1] == "tmpfs" for one in fields)


def _fetch(descriptor: int, start: int, stop: int) -> None:
    """Wait until the range is in the page cache."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, start, stop - start, os.POSIX_FADV_WILLNEED)
    for offset in range(start, stop, _STEP_BYTES):
        os.pread(descriptor, 1, offset)
    os.pread(descriptor, 1, stop - 1)
