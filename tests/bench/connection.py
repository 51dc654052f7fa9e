"""A light HTTP client on raw sockets, so that the load leaves the processors to the servers."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.bench.content import Body

# What Go's client writes for each buffer that it copies from a body of unknown length.
CHUNK_BYTES = 32 << 10
CHUNKS_A_CALL = 32
RECEIVE_BYTES = 1 << 20
TIMEOUT_SECONDS = 60


class Refused(Exception):
    """A server answered otherwise than the workload needs."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response's head, and its body where that was asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """One connection to host:port, one request at a time; without `keep`, one connection a request."""

    def __init__(self, host_port: str, *, keep: bool = True, tls: bool = False) -> None:
        self._host_port = host_port
        self._keep = keep
        self._tls = trusting_all() if tls else None
        self._socket: socket.socket | None = None
        self._buffer = memoryview(bytearray(RECEIVE_BYTES))

    def ask(
        self,
        method: str,
        path: str,
        wanted: int,
        headers: str = "",
        body: Body = (),
        *,
        chunked: bool = False,
    ) -> Answer:
        """Send a request, read the answer; `Refused` unless its status is the one that is wanted."""
        connection = self._send(method, path, headers, body, chunked=chunked)
        answer = self._answer(connection, method)
        if not self._keep:
            self.close()
        if answer.status != wanted:
            raise Refused(f"{method} {path}: {answer.status}, not {wanted}: {answer.body[:500]!r}")
        return answer

    def pieces(self, path: str, wanted: int, headers: str = "") -> Iterator[memoryview]:
        """The body of a GET as it comes, each piece good until the next is asked for; see `ask`."""
        connection = self._send("GET", path, headers)
        status, told, begun = self._head(connection, "GET")
        if status != wanted:
            raise Refused(f"GET {path}: {status}, not {wanted}")
        left = int(told["content-length"]) - len(begun)
        if begun:
            yield memoryview(begun)
        while left:
            received_bytes = self._received(connection, left)
            left -= received_bytes
            yield self._buffer[:received_bytes]

    def detach(self) -> socket.socket:
        """The socket itself, which stays open and is the caller's now."""
        connection, self._socket = self._socket, None
        if connection is None:
            raise Refused("nothing has been asked on this connection")
        return connection

    def close(self) -> None:
        """Close it; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self) -> socket.socket:
        host, _, port = self._host_port.rpartition(":")
        connection = socket.create_connection((host, int(port)), TIMEOUT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._tls.wrap_socket(connection) if self._tls else connection

    def _send(
        self, method: str, path: str, headers: str, body: Body = (), *, chunked: bool = False
    ) -> socket.socket:
        """Send a request, on a connection that was opened for it if there was none."""
        if self._socket is None:
            self._socket = self._connect()
        size = sum(map(len, body))
        if chunked:
            headers += "Transfer-Encoding: chunked\r\n"
        elif body or method not in ("GET", "HEAD"):
            headers += f"Content-Length: {size}\r\n"
        if not self._keep:
            headers += "Connection: close\r\n"
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host_port}\r\nUser-Agent: bench/1\r\n{headers}\r\n"
        if chunked:
            self._socket.sendall(head.encode())
            _send_chunks(self._socket, body)
        elif size < CHUNK_BYTES:
            self._socket.sendall(b"".join((head.encode(), *body)))
        else:
            for piece in (head.encode(), *body):
                self._socket.sendall(piece)
        return self._socket

    def _head(self, connection: socket.socket, method: str) -> tuple[int, dict[str, str], bytes]:
        """The status and the headers of an answer, and what came of its body with them."""
        seen = bytearray()
        while (end := seen.find(b"\r\n\r\n")) < 0:
            received = connection.recv(65536)
            if not received:
                raise Refused(f"{self._host_port} closed the connection before it answered a {method}")
            seen += received
        first, *lines = seen[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split(" ", 2)[1]), headers, bytes(seen[end + 4 :])

    def _answer(self, connection: socket.socket, method: str) -> Answer:
        """Read one answer; of a large body only the length is looked at, and none of it is kept."""
        status, headers, body = self._head(connection, method)
        size = 0 if method == "HEAD" or status in (204, 304) else int(headers["content-length"])
        left = size - len(body)
        small = size <= 65536
        while left > 0:
            received_bytes = self._received(connection, left)
            if small:
                body += self._buffer[:received_bytes]
            left -= received_bytes
        return Answer(status, headers, body)

    def _received(self, connection: socket.socket, left: int) -> int:
        """How many bytes have come into the buffer, at least one."""
        received_bytes = connection.recv_into(self._buffer)
        if not received_bytes:
            raise Refused(f"{self._host_port} closed the connection {left} bytes early")
        return received_bytes


def trusting_all() -> ssl.SSLContext:
    """TLS with whoever listens there: what is measured is the work, not the trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _send_chunks(connection: socket.socket, body: Body) -> None:
    for piece in (memoryview(one) for one in body):
        for start in range(0, len(piece), CHUNK_BYTES * CHUNKS_A_CALL):
            _send_all(connection, list(_chunks(piece[start : start + CHUNK_BYTES * CHUNKS_A_CALL])))
    connection.sendall(b"0\r\n\r\n")


def _chunks(body: memoryview) -> Iterator[bytes | memoryview]:
    for start in range(0, len(body), CHUNK_BYTES):
        piece = body[start : start + CHUNK_BYTES]
        yield b"%x\r\n" % len(piece)
        yield piece
        yield b"\r\n"


def _send_all(connection: socket.socket, pieces: list[bytes | memoryview]) -> None:
    while pieces:
        sent = connection.sendmsg(pieces)
        while pieces and sent >= len(pieces[0]):
            sent -= len(pieces.pop(0))
        if pieces and sent:
            pieces[0] = memoryview(pieces[0])[sent:]
