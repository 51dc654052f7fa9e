"""The store goes away in the middle of things, and comes back: clients are told, and nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from http.client import IncompleteRead
from pathlib import Path
from time import monotonic

import pytest

from tests.api.client import Connection
from tests.api.contents import digest_of, image
from tests.api.server import Server
from tests.e2e.buckets import files_and_threads, serve, told_to_come_back
from tests.e2e.ceph import Ceph
from tests.storage.buckets import Bucket, client_of

MIB = 1 << 20


@pytest.fixture(scope="module")
def server(ceph: Ceph, session_folder: Path) -> Iterator[Server]:
    """One for all: Ceph takes half a minute to make a bucket after its gateway was killed."""
    started = serve(Bucket(client_of(ceph.endpoint), "registries/outages"), session_folder)
    yield started
    started.stop()


def test_a_store_that_is_away_is_told_and_what_was_there_is_there_again(ceph: Ceph, server: Server) -> None:
    repository = server.repository("team/app")
    manifest = repository.push(image([os.urandom(MIB)]), "v1")
    digest = digest_of(manifest.blobs[1])
    # The same once with a store, so that what is opened once for good is open.
    assert repository.ask("GET", f"blobs/{digest}").body == manifest.blobs[1]
    with ceph.gateway_down():
        assert told_to_come_back(repository.ask("GET", f"blobs/{digest}"))
        assert repository.ask("HEAD", f"blobs/{digest}").status == 503
        assert told_to_come_back(repository.get("v1"))
        assert told_to_come_back(repository.ask("GET", "tags/list"))
        assert told_to_come_back(server.registry.ask("GET", "/v2/_catalog"))
        assert told_to_come_back(repository.ask("POST", "blobs/uploads/"))
        assert told_to_come_back(repository.put(manifest, "v2"))
        assert told_to_come_back(repository.ask("DELETE", "manifests/v1"))
        assert server.registry.ask("GET", "/livez").status == 200
        before = files_and_threads(server)
    assert repository.get("v1").body == manifest.data, "nothing had to be started anew"
    assert repository.ask("GET", f"blobs/{digest}").body == manifest.blobs[1]
    assert repository.put(manifest, "v2").status == 201
    assert repository.tags() == ["v1", "v2"]
    for _ in range(3):
        with ceph.gateway_down():
            assert told_to_come_back(repository.get("v1"))
        assert repository.get("v1").status == 200
    files, threads = files_and_threads(server)
    assert files <= before[0] + 8 and threads <= before[1] + 2, (before, files, threads)


def test_an_upload_goes_on_where_the_store_broke_it(ceph: Ceph, server: Server) -> None:
    repository = server.repository("team/pieces")
    data = os.urandom(24 * MIB)
    location = repository.begin()
    # The first piece is there; the second is under way when nobody takes it any more.
    first = server.registry.ask("PATCH", location, (), data[: 8 * MIB])
    assert first.status == 202, first
    with server.registry.connect() as connection:
        connection.begin("PATCH", location, {"Content-Length": str(16 * MIB)})
        connection.send(data[8 * MIB : 12 * MIB])
        # Answered in the middle of its body, and so it may break before the answer is read.
        with ceph.gateway_down(), suppress(ConnectionError):
            connection.send(data[12 * MIB :])
            assert told_to_come_back(connection.answer())
    status = server.registry.ask("GET", location)
    assert status.status == 204, status
    there = int(status["Range"].partition("-")[2]) + 1
    assert there >= 8 * MIB
    if there < len(data):
        rest = server.registry.ask("PATCH", location, (), data[there:])
        assert rest.status == 202, rest
    digest = digest_of(data)
    assert repository.close(location, digest).status == 201
    assert repository.ask("GET", f"blobs/{digest}").body == data


def test_a_pull_breaks_off_rather_than_end_with_other_bytes(ceph: Ceph, server: Server) -> None:
    repository = server.repository("team/large")
    data = os.urandom(48 * MIB)
    digest = repository.push_blob(data)
    with server.registry.connect() as connection:
        connection.begin("GET", repository.path(f"blobs/{digest}"))
        head = first_bytes(connection)
        with ceph.gateway_down(), pytest.raises((IncompleteRead, ConnectionError)):
            rest(connection, len(data), head)
    assert repository.ask("GET", f"blobs/{digest}").body == data


def first_bytes(connection: Connection) -> bytes:
    """The head of an answer, and what came with it; the rest waits for us to read."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.receive(MIB)
    assert received.startswith(b"HTTP/1.1 200 ")
    return received.partition(b"\r\n\r\n")[2]


def rest(connection: Connection, size_bytes: int, received: bytes) -> None:
    """Read on, to the end of the body or of the connection."""
    count = len(received)
    end = monotonic() + 120
    while count < size_bytes:
        assert monotonic() < end, "the connection hangs"
        piece = connection.receive(MIB)
        if not piece:
            raise IncompleteRead(b"", size_bytes - count)
        count += len(piece)
