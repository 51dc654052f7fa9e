"""A tap between client and server: it relays bytes untouched, notes the requests, breaks or holds answers."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

import httptools

PIECE_BYTES = 1 << 18


@dataclass(slots=True)
class Request:
    """One request as the client sent it."""

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body_bytes: int = 0

    def __str__(self) -> str:
        return f"{self.method} {self.target} ({self.body_bytes} bytes)"


class _Parser:
    """Follows one connection's requests; the answers are not looked at."""

    def __init__(self, requests: list[Request]) -> None:
        self._requests = requests
        self._parser = httptools.HttpRequestParser(self)
        self.received_since_head = 0

    def feed(self, piece: bytes) -> None:
        # A TLS attempt of a client that tries that first is no request: nothing is noted.
        with contextlib.suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._parser.feed_data(piece)

    def on_message_begin(self) -> None:
        self._current = Request("", "")
        self.received_since_head = 0

    def on_url(self, url: bytes) -> None:
        self._current.target += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._current.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._current.method = self._parser.get_method().decode()
        self._requests.append(self._current)

    def on_body(self, body: bytes) -> None:
        self._current.body_bytes += len(body)


class Tap:
    """Listens on a port of its own and hands the connections on to the upstreams (host:port) in turn.

    With `spread`, every request becomes a connection of its own, so that each may go to another upstream.
    """

    def __init__(self, *upstreams: str, spread: bool = False) -> None:
        self._spread = spread
        places = (upstream.rpartition(":") for upstream in upstreams)
        self._upstreams = itertools.cycle([(host, int(port)) for host, _, port in places])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host_port = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[Request] = []
        self.cuts = 0
        self._cut_after: int | None = None
        self._cuts_left = 0
        self._hold_after: int | None = None
        # Set when an answer is held, and when it may go on; and the port of who waits for it.
        self.held, self._released = threading.Event(), threading.Event()
        self.held_port = 0
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, name="tap")
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def watch(self) -> Iterator[list[Request]]:
        """Within it, the list fills with the requests that begin."""
        seen: list[Request] = []
        before = len(self.requests)
        try:
            yield seen
        finally:
            seen += self.requests[before:]

    @contextlib.contextmanager
    def cutting(self, after_bytes: int, times: int = 1) -> Iterator[None]:
        """Within it, `times` connections end once an answer has brought so many bytes."""
        self.cuts, self._cut_after, self._cuts_left = 0, after_bytes, times
        try:
            yield
        finally:
            self._cut_after = None

    @contextlib.contextmanager
    def holding(self, after_bytes: int) -> Iterator[Callable[[], None]]:
        """Within it, answers stop once they have brought so many bytes, until what is yielded is called."""
        self.held.clear()
        self._released.clear()
        self._hold_after = after_bytes
        try:
            yield self._released.set
        finally:
            self._hold_after = None
            self._released.set()

    def close(self) -> None:
        """Stop listening and end every connection."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._released.set()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            serve = partial(self._serve, client, next(self._upstreams))
            thread = threading.Thread(target=serve, name="tap connection")
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket, upstream: tuple[str, int]) -> None:
        with client:
            try:
                server = socket.create_connection(upstream)
            except OSError:
                return
            with server:
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open |= {client, server}
                parser = _Parser(self.requests)
                back = threading.Thread(target=self._answer, args=(server, client, parser), name="tap answer")
                back.start()
                with contextlib.suppress(OSError):
                    if self._spread:
                        server.sendall(closing(client, parser))
                    while piece := client.recv(PIECE_BYTES):
                        parser.feed(piece)
                        server.sendall(piece)
                    server.shutdown(socket.SHUT_WR)
                back.join()
                self._open -= {client, server}

    def _answer(self, server: socket.socket, client: socket.socket, parser: _Parser) -> None:
        with contextlib.suppress(OSError):
            while piece := server.recv(PIECE_BYTES):
                parser.received_since_head += len(piece)
                if self._wants_cut(parser.received_since_head):
                    # An orderly end in the middle of a body: what a restarted proxy looks like to a client.
                    client.shutdown(socket.SHUT_RDWR)
                    server.shutdown(socket.SHUT_RDWR)
                    return
                if self._hold_after is not None and parser.received_since_head > self._hold_after:
                    self.held_port = client.getpeername()[1]
                    self.held.set()
                    self._released.wait()
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)

    def _wants_cut(self, received: int) -> bool:
        if self._cut_after is None or received <= self._cut_after or self._cuts_left == 0:
            return False
        self._cuts_left -= 1
        self.cuts += 1
        return True


def closing(client: socket.socket, parser: _Parser) -> bytes:
    """What a client first sends, with the wish added that the server close after its answer."""
    sent = b""
    while b"\r\n" not in sent:
        piece = client.recv(PIECE_BYTES)
        if not piece:
            return sent
        sent += piece
    parser.feed(sent)
    return sent.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
