"""A crowd of slow clients pulls from a real store, through us: nobody else notices."""

from __future__ import annotations

import os
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.api.contents import digest_of, image
from tests.api.registry import Repository
from tests.e2e.buckets import files_and_threads, serve
from tests.e2e.ceph import Ceph
from tests.storage.buckets import Bucket, client_of

MIB = 1 << 20
RATE = 10_000  # bytes per second and client
_ROUND_SECONDS = 0.2


class SlowClients(threading.Thread):
    """Each pulls the same blob on a connection of its own, with next to no room in its kernel."""

    def __init__(self, repository: Repository, digest: str, count: int) -> None:
        super().__init__()
        host, _, port = repository.registry.host_port.rpartition(":")
        self._request = f"GET {repository.path(f'blobs/{digest}')} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self._place = (host, int(port))
        self._sockets = [self._begin() for _ in range(count)]
        self.received = [0] * count
        self.broken = 0
        self._over = threading.Event()

    def _begin(self) -> socket.socket:
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(self._place)
        one.sendall(self._request)
        one.setblocking(False)
        return one

    def run(self) -> None:
        """Take a little of each, again and again."""
        while not self._over.wait(_ROUND_SECONDS):
            for number, one in enumerate(self._sockets):
                try:
                    piece = one.recv(int(RATE * _ROUND_SECONDS))
                except BlockingIOError:
                    continue
                except ConnectionError:
                    piece = b""
                if not self.received[number]:
                    assert piece.startswith(b"HTTP/1.1 200 "), piece
                self.received[number] += len(piece)
                self.broken += not piece

    def end(self) -> None:
        """Hang up."""
        self._over.set()
        self.join()
        for one in self._sockets:
            one.close()


@contextmanager
def slow_clients(repository: Repository, digest: str, count: int) -> Iterator[SlowClients]:
    """So many, each of which has got some bytes."""
    clients = SlowClients(repository, digest, count)
    clients.start()
    try:
        until = monotonic() + 60
        while not all(clients.received):
            assert monotonic() < until and clients.is_alive(), sum(map(bool, clients.received))
            sleep(_ROUND_SECONDS)
        yield clients
        assert clients.is_alive() and not clients.broken
    finally:
        clients.end()


@pytest.fixture
def bucket(ceph: Ceph) -> Bucket:
    return Bucket(client_of(ceph.endpoint), "registries/slow")


def test_five_hundred_slow_pulls_delay_no_manifest(
    bucket: Bucket, scratch: Path, repository: str, descriptors: None
) -> None:
    server = serve(bucket, scratch)
    try:
        mine = server.repository(repository)
        manifest = mine.push(image([os.urandom(8 * MIB)]), "v1")
        small = mine.push_blob(os.urandom(MIB))
        alone = times(mine, 20)
        with slow_clients(mine, digest_of(manifest.blobs[1]), 500) as clients:
            before = list(clients.received)
            files, threads = files_and_threads(server)
            assert files > 1000, "each has a connection to us, and one to the store"
            assert threads < 100, "and no thread"
            among = times(mine, 60)
            assert mine.ask("GET", f"blobs/{small}").status == 200
            assert mine.tags() == ["v1"]
            assert mine.push_blob(os.urandom(6 * MIB))
            goes_on(clients, before)
            assert not [one for one in clients.received if one > 8 * MIB], "none has got all of it"
        print(f"p50 and p99 of a manifest GET: alone {alone}, among 500 slow pulls {among}")
        assert among[0] < 2 * alone[0] + 0.5, (alone, among)
    finally:
        server.stop()


def test_slow_pulls_beyond_the_connections_keep_nobody_out(
    bucket: Bucket, scratch: Path, repository: str
) -> None:
    server = serve(bucket, scratch, {"storage": {"s3": {"max_connections": 4}}})
    try:
        mine = server.repository(repository)
        data = os.urandom(8 * MIB)
        digest, small = mine.push_blob(data), mine.push_blob(os.urandom(MIB))
        with slow_clients(mine, digest, 12) as clients:
            before = list(clients.received)
            for _ in range(5):
                assert mine.ask("GET", f"blobs/{small}").status == 200
            assert mine.ask("GET", f"blobs/{digest}").body == data
            goes_on(clients, before)
    finally:
        server.stop()


def times(repository: Repository, count: int) -> tuple[float, float]:
    """The median and the 99th percentile of the seconds that a manifest takes."""
    found = []
    for _ in range(count):
        began = monotonic()
        assert repository.get("v1").status == 200
        found.append(round(monotonic() - began, 4))
    found.sort()
    return found[count // 2], found[count * 99 // 100]


def goes_on(clients: SlowClients, before: list[int]) -> None:
    """Wait until each has got more than it had."""
    until = monotonic() + 60
    while not all(now > then for now, then in zip(clients.received, before, strict=True)):
        assert monotonic() < until
        sleep(_ROUND_SECONDS)


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Enough of them for the clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
