"""Many clients that pull one blob at once, and compare each byte with what it should be."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.api.registry import Registry
from tests.api.server import Server, merged
from tests.e2e.images import digest_of
from tests.e2e.mirrors import NAMESPACE, NOTHING, Upstream, namespace
from tests.e2e.tap import Request, Tap
from tests.folders import files_below

REPOSITORY = "library/crowd"
_PIECE_BYTES = 256 << 10
_PATIENCE_SECONDS = 120.0


class Client(threading.Thread):
    """Pulls what `expected` are the bytes of; when its server is gone, goes on at the next of `places`.

    When it has got some, it waits until it may `go_on`.
    """

    def __init__(self, places: Iterable[str], path: str, expected: bytes) -> None:
        super().__init__(daemon=True)
        self._places = list(places)
        self._path = path
        self._expected = expected
        self._begun, self.go_on = threading.Event(), threading.Event()
        self.got = 0
        self.asked = 0
        self.problem: str | None = None

    def run(self) -> None:
        """Until all is there, or nobody is left to ask."""
        for place in self._places:
            self.asked += 1
            try:
                self._pull(place)
            except (OSError, AssertionError) as error:
                self.problem = f"{place} after {self.got} bytes: {error!r}"
            if self.got == len(self._expected):
                self.problem = None
                return

    def wait(self) -> None:
        """Until it has got some."""
        assert self._begun.wait(_PATIENCE_SECONDS), self.problem

    def _pull(self, place: str) -> None:
        host, _, port = place.rpartition(":")
        with socket.create_connection((host, int(port)), _PATIENCE_SECONDS) as connection:
            head = [f"GET {self._path} HTTP/1.1", f"Host: {place}", "Connection: close"]
            if self.got:
                head.append(f"Range: bytes={self.got}-")
            connection.sendall("\r\n".join([*head, "", ""]).encode())
            self._read(connection)

    def _read(self, connection: socket.socket) -> None:
        buffer = memoryview(bytearray(_PIECE_BYTES))
        count = 0
        while b"\r\n\r\n" not in bytes(buffer[:count]):
            more = connection.recv_into(buffer[count:])
            assert more, "no whole head came"
            count += more
        head, _, begin = bytes(buffer[:count]).partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        assert lines[0].split()[1] == (b"206" if self.got else b"200"), head
        assert b"content-length: %d" % (len(self._expected) - self.got) in lines, head
        self._compare(begin)
        while count := connection.recv_into(buffer):
            self._compare(buffer[:count])

    def _compare(self, piece: bytes | memoryview) -> None:
        # Where the bytes lie, without another copy of them.
        assert self._expected.startswith(piece, self.got), "these are others"
        self.got += len(piece)
        if self.got:
            self._begun.set()
            self.go_on.wait()


def crowd(make: Callable[[int], Client], count: int) -> list[Client]:
    """So many clients, each of which has got some bytes."""
    clients = [make(number) for number in range(count)]
    for client in clients:
        client.start()
    for client in clients:
        client.wait()
    return clients


def ended(clients: list[Client]) -> list[Client]:
    """The clients, when each has got all of it."""
    for client in clients:
        client.go_on.set()
    for client in clients:
        client.join()
    assert [client.problem for client in clients if client.problem] == []
    return clients


Serve = Callable[..., Server]


class Wanted:
    """A blob that an upstream has, and the tap in front of that."""

    def __init__(self, tap: Tap, content: bytes) -> None:
        self.tap = tap
        self.content = content
        self.path = f"{REPOSITORY}/blobs/{digest_of(content)}"

    @property
    def half(self) -> int:
        """Half of its bytes."""
        return len(self.content) // 2

    def puller(self, *servers: Server) -> Client:
        """Somebody who asks these servers in turn."""
        return Client(
            [server.registry.host_port for server in servers], f"/v2/{NAMESPACE}/{self.path}", self.content
        )

    def requests(self) -> list[Request]:
        """When the upstream was asked for its bytes."""
        target = f"/v2/{self.path}"
        return [one for one in self.tap.requests if (one.method, one.target) == ("GET", target)]

    def hold(self, names: Callable[[], Iterable[str]]) -> None:
        """Wait until the tap holds it and more than a quarter lies in the store, of which these are keys."""
        assert self.tap.held.wait(_PATIENCE_SECONDS)
        digest = digest_of(self.content).partition(":")[2]
        segment = re.compile(rf".*/transfers/.*{digest}/[0-9]+-([0-9]+)-.*")
        end = time.monotonic() + _PATIENCE_SECONDS
        while not any(
            int(found[1]) > len(self.content) // 4 for found in map(segment.match, names()) if found
        ):
            assert time.monotonic() < end, "it is not stored as it comes"

    def was_resumed(self) -> bool:
        """Whether the upstream was asked for all, and then only for what was not stored yet."""
        first, second = self.requests()
        start = int(second.headers["range"].removeprefix("bytes=").removesuffix("-"))
        return "range" not in first.headers and len(self.content) // 4 < start <= self.half


@pytest.fixture
def wanted(upstream: Callable[[str], Upstream]) -> Iterator[Callable[[int], Wanted]]:
    """Puts blobs of so many bytes at an upstream."""
    above = upstream("distribution3")
    with Tap(above.wire.host_port) as tap:

        def make(size_bytes: int) -> Wanted:
            content = os.urandom(size_bytes)
            Registry(above.wire.host_port).repository(REPOSITORY).push_blob(content)
            return Wanted(tap, content)

        yield make


@pytest.fixture
def serve_wanted(scratch: Path) -> Iterator[Serve]:
    """Starts servers with the namespace, on one directory unless they are told otherwise."""
    started: list[Server] = []

    def start(wanted: Wanted, more: Mapping[str, Any] = NOTHING) -> Server:
        settings = merged(namespace({"url": f"http://{wanted.tap.host_port}"}), more)
        started.append(Server(scratch / "data", scratch, settings))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def on_disk(server: Server) -> Iterator[str]:
    """The files in a server's directory."""
    return map(str, files_below(server.root))
