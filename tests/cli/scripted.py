"""A server that answers what a test has written down, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Request:
    """What came."""

    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)


class Scripted:
    """Gives the answers in turn, a connection each; an answer of None is silence until the test ends.

    One that `reads` nothing answers before it was asked.
    """

    def __init__(self, *answers: bytes | None, reads: bool = True) -> None:
        self._answers = answers
        self._reads = reads
        self.requests: list[Request] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._silent: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listening.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Scripted:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Wakes the thread if it still waits for somebody.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()
        for one in self._silent:
            one.close()

    def _serve(self) -> None:
        for answer in self._answers:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            if self._reads and (request := _read(connection)) is not None:
                self.requests.append(request)
            if answer is None:
                self._silent.append(connection)
                continue
            with connection, contextlib.suppress(OSError):
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)
                # Until the client has closed, so that no reset takes the answer with it.
                while connection.recv(65536):
                    pass


def _read(connection: socket.socket) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65536)
    return Request(first.split(" ")[1], headers, body)


def lines(*documents: object) -> bytes:
    """An answer of JSON lines."""
    body = b"".join(json.dumps(one).encode() + b"\n" for one in documents)
    return answer(200, body, "application/x-ndjson")


def answer(status: int, body: bytes, kind: str = "application/json", more: Iterable[str] = ()) -> bytes:
    """A whole answer."""
    head = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*head, "", ""]).encode() + body


def failed(status: int, document: object) -> bytes:
    """An answer with an error."""
    return answer(status, json.dumps(document).encode())
