"""A way to a server for a library that blocks: it speaks in the clear to one end of a pair of sockets here.

We connect, encrypt and carry the bytes ourselves. So the name in a certificate is checked as everywhere else,
what went wrong can be told, and closing the pair ends whatever the library waits for: its own time-outs do
not hold against a server that stops in the middle of a handshake or of an answer.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from registry.access.directory.settings import LdapSettings

_PIECE_BYTES = 64 << 10
# Nobody is in so many groups.
_MOST_BYTES = 16 << 20

# RFC 4511, 4.14: the extended request for TLS, as message 1; its answer, which begins with the result, 0.
_START_TLS = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"
_MESSAGE, _NUMBER, _EXTENDED, _RESULT = 0x30, 0x02, 0x78, 0x0A
_MOST_ANSWERED = 4096


class NoWay(Exception):
    """The server cannot be reached, or not encrypted as it must be; the text says why."""


@asynccontextmanager
async def tunnel(settings: LdapSettings, context: ssl.SSLContext | None) -> AsyncIterator[socket.socket]:
    """Our end of a pair, on which the server is spoken to; encrypted outside with `context`. Raises NoWay.

    Whoever leaves without an error has closed it before, and what was said last is still delivered.
    """
    async with AsyncExitStack() as closing:
        try:
            far_reader, far_writer = await _reach(settings, context)
        except ssl.SSLCertVerificationError as error:
            raise NoWay(f"its certificate is not good: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise NoWay(f"no TLS: {error.reason or error}") from error
        except OSError as error:
            raise NoWay(f"no connection: {_reason(error)}") from error
        closing.callback(far_writer.transport.abort)
        ours, theirs = socket.socketpair()
        closing.callback(theirs.close)
        near_reader, near_writer = await asyncio.open_connection(sock=ours)
        closing.callback(near_writer.transport.abort)
        outgoing = asyncio.create_task(_carry(near_reader, far_writer))
        incoming = asyncio.create_task(_carry(far_reader, near_writer, is_theirs=True))
        try:
            yield theirs
            await outgoing
        finally:
            outgoing.cancel()
            incoming.cancel()
            await asyncio.gather(outgoing, incoming, return_exceptions=True)


async def _reach(
    settings: LdapSettings, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    connected = await _connect(settings)
    try:
        if settings.start_tls:
            await _start_tls(connected)
        name = settings.host if context is not None else None
        return await asyncio.open_connection(sock=connected, ssl=context, server_hostname=name)
    except BaseException:
        connected.close()
        raise


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if error.errno is None or isinstance(error, socket.gaierror):
        # A resolver has numbers of its own.
        return error.strerror or str(error)
    return os.strerror(error.errno)


async def _connect(settings: LdapSettings) -> socket.socket:
    """A connection to the first of the host's addresses that takes one, each having its share of the time."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
    problem: OSError = OSError("the host has no address")
    for family, kind, protocol, _, address in found:
        attempt = socket.socket(family, kind, protocol)
        try:
            attempt.setblocking(False)
            async with asyncio.timeout(settings.timeout_seconds / len(found)):
                await loop.sock_connect(attempt, address)
        except OSError as error:  # a TimeoutError too
            attempt.close()
            problem = error
        except BaseException:
            attempt.close()
            raise
        else:
            return attempt
    raise problem


async def _start_tls(connected: socket.socket) -> None:
    """Agree with the server that TLS comes next.

    Not a byte more is taken than the answer: what somebody on the way put behind it would otherwise count as
    said under TLS.
    """
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connected, _START_TLS)
    answer = b""
    while (message := _element(answer)) is None:
        piece = await loop.sock_recv(connected, _MOST_ANSWERED)
        answer += piece
        if not piece or len(answer) > _MOST_ANSWERED:
            raise NoWay("the server gave no answer when asked for TLS (start_tls)")
    kind, content, behind = message
    number = _element(content)
    answered = _element(number[2]) if number is not None else None
    result = _element(answered[1]) if answered is not None else None
    if behind or number is None or answered is None or result is None:
        raise NoWay("the server answered nonsense when asked for TLS (start_tls)")
    if (kind, number[:2], answered[0]) != (_MESSAGE, (_NUMBER, b"\x01"), _EXTENDED):
        raise NoWay("the server answered nonsense when asked for TLS (start_tls)")
    if result[:2] != (_RESULT, b"\x00"):
        raise NoWay("the server does not want to speak TLS (start_tls)")


def _element(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Kind and content of the first element (BER), and what is behind it; None as long as it is not whole."""
    if len(data) < 2:
        return None
    size, begins = data[1], 2
    if size & 0x80:
        # The length has a length itself.
        begins += size & 0x7F
        size = int.from_bytes(data[2:begins], "big")
    ends = begins + size
    return None if len(data) < max(begins, ends) else (data[0], data[begins:ends], data[ends:])


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_theirs: bool = False
) -> None:
    left = _MOST_BYTES
    try:
        while left > 0 and (piece := await reader.read(_PIECE_BYTES)):
            left -= len(piece)
            writer.write(piece)
            await writer.drain()
    except OSError:
        # A connection that broke, or TLS that did.
        pass
    finally:
        if is_theirs:
            # Whoever reads there learns that no more comes.
            writer.write_eof()
