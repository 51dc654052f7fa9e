"""An HTTP client that sends exactly what a test says, lies and half requests included."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPResponse
from types import TracebackType
from typing import Any

TIMEOUT_SECONDS = 60.0

Headers = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, its body read to the end."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def get(self, name: str) -> str | None:
        """A header, its repeated lines joined; None when it is absent."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(found) if found else None

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        assert value is not None, f"no {name} in {self}"
        return value

    def json(self) -> Any:
        """The body, which says of itself that it is JSON."""
        assert self["Content-Type"].startswith("application/") and "json" in self["Content-Type"], self
        return json.loads(self.body)

    @property
    def codes(self) -> list[str]:
        """The codes of the specification's error document, of which there is at least one."""
        document = self.json()
        assert set(document) == {"errors"} and document["errors"], self
        return [entry["code"] for entry in document["errors"]]

    def refuses(self, status: int, code: str) -> bool:
        """Whether the answer has this status and, first in its document, this code."""
        assert (self.status, self.codes[0]) == (status, code), self
        return True


class Connection:
    """One connection to a registry."""

    def __init__(self, host_port: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        host, _, port = host_port.rpartition(":")
        self._host_port = host_port
        self._socket = socket.create_connection((host, int(port)), timeout_seconds)
        self._method = "GET"

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def begin(self, method: str, target: str, headers: Headers = ()) -> None:
        """Send a head: the target as it stands, the headers as they stand, `Host` unless given."""
        self._method = method
        fields = list(headers.items() if isinstance(headers, Mapping) else headers)
        if not any(name.lower() == "host" for name, _ in fields):
            fields.insert(0, ("Host", self._host_port))
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def send_chunk(self, data: bytes) -> None:
        """Send a piece of a chunked body; an empty one ends it."""
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def receive(self, most_bytes: int) -> bytes:
        """Some of what has arrived, as it stands; nothing when the other side has ended."""
        return self._socket.recv(most_bytes)

    def answer(self) -> Answer:
        """Read one response to its end."""
        response = HTTPResponse(self._socket, method=self._method)
        try:
            response.begin()
            body = response.read()
        finally:
            response.close()
        return Answer(response.status, tuple(response.getheaders()), body)

    def hang_up(self) -> None:
        """Send no more, and go on listening."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection, as a machine that loses its network does."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


def ask(
    host_port: str,
    method: str,
    target: str,
    headers: Headers = (),
    body: bytes | Iterable[bytes] | None = None,
) -> Answer:
    """One request on a connection of its own; a body in pieces is sent chunked, without a length."""
    fields = list(headers.items() if isinstance(headers, Mapping) else headers)
    if isinstance(body, bytes):
        fields.append(("Content-Length", str(len(body))))
    elif body is not None:
        fields.append(("Transfer-Encoding", "chunked"))
    elif method in ("POST", "PUT", "PATCH") and not _has(fields, "content-length"):
        fields.append(("Content-Length", "0"))
    with Connection(host_port) as connection:
        connection.begin(method, target, [*fields, ("Connection", "close")])
        try:
            if isinstance(body, bytes):
                connection.send(body)
            elif body is not None:
                for piece in body:
                    connection.send_chunk(piece)
                connection.send_chunk(b"")
        except (BrokenPipeError, ConnectionResetError):
            # The server has answered early and closed; its answer waits to be read.
            pass
        return connection.answer()


def _has(fields: list[tuple[str, str]], name: str) -> bool:
    return any(key.lower() == name for key, _ in fields)
