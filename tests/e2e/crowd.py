"""Many clients that pull one blob at once, and compare each byte with what it should be."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable

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
