"""What goes over one connection, and what came back: sent as it stands, read strictly."""

from __future__ import annotations

import json
import re
import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

HANG_SECONDS = 30.0
# After so long without a byte the client says that it will send no more, and nothing is judged by it; except
# that who is owed answers waits for them.
_QUIET_SECONDS = 0.3
_PATIENT_SECONDS = 20.0
# Between two pieces, so that the server most likely reads them apart.
_PAUSE_SECONDS = 0.005
_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9])(?: [\t -~]*)?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")


@dataclass(frozen=True, slots=True)
class Exchange:
    """Bytes for one connection.

    `methods` are those of the requests in it, in order; what stands behind them counts as GET. A request
    whose path has `forbidden` in it must never be answered, since by any right reading it is none. With
    `expected` the answers are known: the words that each has in its body, in order.
    """

    kind: str
    pieces: tuple[bytes, ...]
    methods: tuple[str, ...] = ("GET",)
    forbidden: str | None = None
    expected: tuple[str, ...] | None = None
    cut: bool = False

    @property
    def sent(self) -> bytes:
        """All of it."""
        return b"".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Response:
    """One response; `whole` says whether its body came to its end."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    whole: bool

    def get(self, name: str) -> str | None:
        """A header; None when it is absent."""
        found = [value for key, value in self.fields if key == name]
        return ", ".join(found) if found else None

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back; whether the client had said its end before, and whether it waited in vain."""

    data: bytes
    after_end: bool
    hung: bool


class Garbled(Exception):
    """What came back is not a sequence of responses."""


def converse(host_port: str, exchange: Exchange, tls: ssl.SSLContext | None = None) -> Heard:
    """Send the pieces while reading what comes, then say the end, and read until the server closes."""
    host, _, port = host_port.rpartition(":")
    connection = socket.create_connection((host, int(port)), HANG_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with tls.wrap_socket(connection, server_hostname=host) if tls else connection as wrapped:
        wrapped.setblocking(False)
        return _converse(wrapped, exchange)


def _converse(connection: socket.socket, exchange: Exchange) -> Heard:
    unsent = [memoryview(piece) for piece in exchange.pieces if piece]
    heard = bytearray()
    ended = False
    resume = 0.0
    quiet = _QUIET_SECONDS if exchange.expected is None else _PATIENT_SECONDS
    deadline = time.monotonic() + HANG_SECONDS
    while time.monotonic() < deadline:
        wait = quiet if not ended else deadline - time.monotonic()
        paused = bool(unsent) and time.monotonic() < resume
        writing = [connection] if unsent and not paused else []
        wait = _PAUSE_SECONDS if paused else max(wait, 0)
        readable, writable, _ = select.select([connection], writing, [], wait)
        try:
            if writable:
                taken = connection.send(unsent[0])
                unsent[0] = unsent[0][taken:]
                if not unsent[0]:
                    unsent.pop(0)
                    resume = time.monotonic() + _PAUSE_SECONDS
            while readable:
                piece = connection.recv(65536)
                if not piece:
                    return Heard(bytes(heard), ended, hung=False)
                heard += piece
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            continue
        except (ConnectionError, ssl.SSLError):
            # The server has closed early: what it has said before that is still there to be read, or is lost.
            if not unsent:
                return Heard(bytes(heard), after_end=True, hung=False)
            unsent.clear()
        if exchange.cut and not unsent:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return Heard(bytes(heard), after_end=True, hung=False)
        if not readable and not writable and not unsent and not ended:
            ended = True
            try:
                # Of the socket alone: what comes is still to be decrypted.
                socket.socket.shutdown(connection, socket.SHUT_WR)
            except OSError:
                return Heard(bytes(heard), ended, hung=False)
    return Heard(bytes(heard), ended, hung=True)


def responses(data: bytes, methods: Sequence[str]) -> list[Response]:
    """The final responses in the data, to requests of these methods and then to GETs. Raises Garbled."""
    found: list[Response] = []
    asked = iter(methods)
    for response, rest in _each(data, asked):
        if response.status >= 200:
            found.append(response)
        if not response.whole and rest:
            raise Garbled("bytes behind a response that did not end")
    return found


def _each(data: bytes, methods: Iterator[str]) -> Iterator[tuple[Response, bytes]]:
    method = next(methods, "GET")
    while data:
        head, separator, rest = data.partition(b"\r\n\r\n")
        if not separator:
            raise Garbled(f"no head of a response: {data[:200]!r}")
        status, *lines = head.split(b"\r\n")
        told = _STATUS.fullmatch(status)
        if told is None:
            raise Garbled(f"no status line: {status[:200]!r}")
        matches = [_FIELD.fullmatch(line) for line in lines]
        if None in matches:
            raise Garbled(f"no header: {lines[matches.index(None)][:200]!r}")
        fields = tuple((one[1].decode().lower(), one[2].decode("latin-1")) for one in matches if one)
        body, rest, whole = _body(int(told[1]), method, dict(fields), rest)
        yield Response(int(told[1]), fields, body, whole), rest
        data = rest
        if int(told[1]) >= 200:
            method = next(methods, "GET")


def _body(status: int, method: str, fields: dict[str, str], rest: bytes) -> tuple[bytes, bytes, bool]:
    if status < 200 or status in (204, 304):
        return b"", rest, True
    # Of a head that cannot be read nobody knows that it was a HEAD; the connection ends behind the answer.
    if method == "HEAD" and not (status >= 400 and rest and fields.get("connection") == "close"):
        return b"", rest, True
    if "transfer-encoding" in fields:
        return _chunked(rest)
    if "content-length" not in fields:
        raise Garbled(f"a response of {status} with no length")
    length = int(fields["content-length"])
    return rest[:length], rest[length:], len(rest) >= length


def _chunked(rest: bytes) -> tuple[bytes, bytes, bool]:
    body = b""
    while True:
        line, separator, rest = rest.partition(b"\r\n")
        if not separator:
            return body, b"", False
        size = int(line, 16)
        body += rest[:size]
        if len(rest) < size + 2:
            return body, b"", False
        if rest[size : size + 2] != b"\r\n":
            raise Garbled("a chunk that does not end where it should")
        rest = rest[size + 2 :]
        if size == 0:
            return body, rest, True
