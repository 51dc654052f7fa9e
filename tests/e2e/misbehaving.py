"""A proxy before an upstream that does to chosen answers what bad upstreams do."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import re
import socket
import ssl
import struct
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Self

PIECE_BYTES = 1 << 16
_HOP = ("connection", "keep-alive", "transfer-encoding")


@dataclass(slots=True)
class Reply:
    """What the upstream has answered to a request, to be changed and sent; names are in lower case."""

    method: str
    target: str
    asked: dict[str, str]
    status: int
    headers: dict[str, str]
    body: bytes
    proxy: Misbehaving
    connection: socket.socket

    def head(self) -> None:
        """Send the status and the headers alone."""
        lines = [
            f"HTTP/1.1 {self.status} Whatever",
            *(f"{name}: {told}" for name, told in self.headers.items()),
        ]
        self.write("\r\n".join([*lines, "connection: close", "", ""]).encode("latin-1"))

    def send(self) -> None:
        """Send all of it as it is now, the length as it is told in the headers."""
        self.head()
        if self.method != "HEAD":
            self.write(self.body)

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.connection.sendall(data)

    def reset(self) -> None:
        """Break the connection, as soon as the other side's kernel has what was sent."""
        left = bytearray(4)
        while not self.proxy.over.is_set() and fcntl.ioctl(self.connection, termios.TIOCOUTQ, left) == 0:
            if int.from_bytes(left, sys.byteorder) == 0:
                break
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Fault = Callable[[Reply], None]
"""Answers a request, rightly or not; then the connection ends."""


@dataclass(slots=True)
class Rule:
    """What happens to the next `times` requests of a method ("": any) whose target matches."""

    method: str
    pattern: re.Pattern[str]
    fault: Fault
    times: int


class Misbehaving:
    """Listens on a port of its own, with TLS if there is a context, before an upstream (host:port)."""

    def __init__(self, upstream: str, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.upstream = upstream
        self.rules: list[Rule] = []
        self.requests: list[tuple[str, str]] = []
        # From where on more was asked for.
        self.ranges: list[int] = []
        self.over = threading.Event()
        self.tls = tls
        self._turn = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.host_port = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, name="misbehaving")]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    @contextlib.contextmanager
    def doing(
        self, fault: Fault, pattern: str, method: str = "GET", times: int = 1_000_000
    ) -> Iterator[None]:
        """Within it, so many requests to targets that match are answered so."""
        rule = Rule(method, re.compile(pattern), fault, times)
        self.rules.append(rule)
        try:
            yield
        finally:
            assert rule.times < times, f"nobody asked for {pattern}: {self.requests}"
            self.rules.remove(rule)

    def asked(self, pattern: str, method: str = "GET") -> int:
        """How many requests of a method there were to targets that match."""
        return sum(one == method and re.search(pattern, target) is not None for one, target in self.requests)

    def fault(self, method: str, target: str) -> Fault:
        """What is to happen to a request."""
        with self._turn:
            self.requests.append((method, target))
            for rule in self.rules:
                if rule.times and rule.method in ("", method) and rule.pattern.search(target):
                    rule.times -= 1
                    return rule.fault
        return Reply.send

    def _accept(self) -> None:
        while True:
            try:
                connection, address = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection, address), name="misbehaving")
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, address: Any) -> None:
        # Who is cut off, or does not trust us, breaks the connection.
        with contextlib.suppress(OSError):
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection:
                _Handler(connection, address, self)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    """One request: `server` is the proxy."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
        """Nothing."""

    def do(self) -> None:
        proxy: Misbehaving = self.server  # type: ignore[assignment]
        fault = proxy.fault(self.command, self.path)
        asked = {name.lower(): told for name, told in self.headers.items()}
        proxy.ranges += [int(place) for place in re.findall(r"bytes=([0-9]+)-", asked.get("range", ""))]
        upstream = http.client.HTTPConnection(proxy.upstream, timeout=30)
        try:
            upstream.request(self.command, self.path, headers={**asked, "host": proxy.upstream})
            answer = upstream.getresponse()
            headers = {name.lower(): told for name, told in answer.getheaders() if name.lower() not in _HOP}
            body = answer.read()
        finally:
            upstream.close()
        reply = Reply(self.command, self.path, asked, answer.status, headers, body, proxy, self.connection)
        self.close_connection = True
        fault(reply)

    do_GET = do_HEAD = do  # noqa: N815 - as the base class has them


def truncated(share: float) -> Fault:
    """So much of the body, behind a head that promises all of it; then the connection ends in order."""

    def fault(reply: Reply) -> None:
        reply.body = reply.body[: int(len(reply.body) * share)]
        reply.send()

    return fault


def reset_at(place: int) -> Fault:
    """The body up to a place in the whole of which it may be the rest, and then the connection breaks."""

    def fault(reply: Reply) -> None:
        start = int(re.findall("[0-9]+", reply.asked.get("range", "0"))[0])
        reply.head()
        reply.write(reply.body[: place - start])
        reply.reset()

    return fault


def shortened(share: float) -> Fault:
    """So much of the body, as if that were all there is."""

    def fault(reply: Reply) -> None:
        reply.body = reply.body[: int(len(reply.body) * share)]
        reply.headers["content-length"] = str(len(reply.body))
        reply.send()

    return fault


def longer(length: int) -> Fault:
    """All of the body, and more is promised than that."""

    def fault(reply: Reply) -> None:
        reply.headers["content-length"] = str(len(reply.body) + length)
        reply.send()

    return fault


def flipped(reply: Reply) -> None:
    """Another last byte."""
    reply.body = reply.body[:-1] + bytes([reply.body[-1] ^ 1])
    reply.send()


def told(**headers: str) -> Fault:
    """Other headers: `content_type` is Content-Type."""

    def fault(reply: Reply) -> None:
        reply.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        reply.send()

    return fault


def answering(status: int, body: bytes = b"", **headers: str) -> Fault:
    """Another answer altogether."""

    def fault(reply: Reply) -> None:
        reply.status = status
        reply.body = body
        reply.headers = {"content-length": str(len(body))}
        told(**headers)(reply)

    return fault


def redirecting(location: str) -> Fault:
    """Elsewhere."""
    return answering(307, location=location)


def endless(length: int | None) -> Fault:
    """Bytes that never end, of as many as are announced, or chunked."""

    def fault(reply: Reply) -> None:
        reply.headers.pop("content-length", None)
        reply.headers.update(
            {"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}
        )
        reply.head()
        chunk = bytes(PIECE_BYTES)
        while not reply.proxy.over.is_set():
            reply.write(chunk if length is not None else b"%x\r\n%s\r\n" % (len(chunk), chunk))

    return fault


def trickling(reply: Reply) -> None:
    """The body, a byte now and then: often enough for nobody to be sure that there will be no more."""
    reply.head()
    for byte in reply.body:
        reply.write(bytes([byte]))
        if reply.proxy.over.wait(0.3):
            return


def silent(reply: Reply) -> None:
    """Nothing at all, for as long as the other side waits."""
    reply.connection.recv(1)
