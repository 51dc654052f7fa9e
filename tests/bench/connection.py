"""A light HTTP client on raw sockets, so that the load leaves the processors to the servers."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

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

    def __init__(self, host_port: str, *, keep: bool = True) -> None:
        self._host_port = host_port
        self._keep = keep
        self._socket: socket.socket | None = None
        self._buffer = memoryview(bytearray(RECEIVE_BYTES))

    def ask(
        self,
        method: str,
        path: str,
        wanted: int,
        headers: str = "",
        body: bytes | memoryview = b"",
        *,
        chunked: bool = False,
    ) -> Answer:
        """Send a request, read the answer; `Refused` unless its status is the one that is wanted."""
        if self._socket is None:
            host, _, port = self._host_port.rpartition(":")
            self._socket = socket.create_connection((host, int(port)), TIMEOUT_SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if chunked:
            headers += "Transfer-Encoding: chunked\r\n"
        elif body or method not in ("GET", "HEAD"):
            headers += f"Content-Length: {len(body)}\r\n"
        if not self._keep:
            headers += "Connection: close\r\n"
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host_port}\r\nUser-Agent: bench/1\r\n{headers}\r\n"
        if chunked:
            self._socket.sendall(head.encode())
            self._send_chunks(self._socket, memoryview(body))
        elif len(body) < CHUNK_BYTES:
            self._socket.sendall(head.encode() + bytes(body))
        else:
            self._socket.sendall(head.encode())
            self._socket.sendall(body)
        answer = self._answer(self._socket, method)
        if not self._keep:
            self.close()
        if answer.status != wanted:
            raise Refused(f"{method} {path}: {answer.status}, not {wanted}: {answer.body[:500]!r}")
        return answer

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

    @staticmethod
    def _send_chunks(connection: socket.socket, body: memoryview) -> None:
        step = CHUNK_BYTES * CHUNKS_A_CALL
        for start in range(0, len(body), step):
            _send_all(connection, list(_chunks(body[start : start + step])))
        connection.sendall(b"0\r\n\r\n")

    def _answer(self, connection: socket.socket, method: str) -> Answer:
        """Read one answer; of a large body only the length is looked at, and none of it is kept."""
        seen = bytearray()
        while (end := seen.find(b"\r\n\r\n")) < 0:
            received = connection.recv(65536)
            if not received:
                raise Refused(f"{self._host_port} closed the connection before it answered")
            seen += received
        first, *lines = seen[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(first.split(" ", 2)[1])
        size = 0 if method == "HEAD" or status in (204, 304) else int(headers["content-length"])
        body = bytes(seen[end + 4 :])
        left = size - len(body)
        small = size <= 65536
        while left > 0:
            received_bytes = connection.recv_into(self._buffer)
            if not received_bytes:
                raise Refused(f"{self._host_port} closed the connection {left} bytes early")
            if small:
                body += self._buffer[:received_bytes]
            left -= received_bytes
        return Answer(status, headers, body)


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
