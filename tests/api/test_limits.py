"""The bounds of running.md's "Limits", each through the door, and that what is below them goes on."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from tests.api.client import Answer, Connection
from tests.api.conftest import Serve
from tests.api.contents import Manifest, digest_of, image
from tests.api.registry import Repository
from tests.api.server import Server
from tests.server.test_tls import make, trusting
from tests.server.test_tls import settings as tls_settings

MIB = 1 << 20
OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def repository(serve: Serve) -> Repository:
    """A repository of a server with small bounds."""
    uploads = {"max_open": 6, "max_chunks": 5, "max_in_flight": 3}
    manifests = {"max_references": 5, "max_in_flight": "32MiB", "max_size": "32MiB"}
    return serve(settings={"uploads": uploads, "manifests": manifests}).repository("a/b")


def is_told_to_come_back(answer: Answer, status: int, code: str) -> bool:
    """Whether the answer has that status and code, and says when to try again."""
    return answer.refuses(status, code) and int(answer["Retry-After"]) > 0


def test_open_uploads(repository: Repository) -> None:
    locations = [repository.begin() for _ in range(6)]
    assert is_told_to_come_back(repository.ask("POST", "blobs/uploads/"), 429, "TOOMANYREQUESTS")
    # Those that are open go on, and whoever ends one makes room.
    assert repository.close(locations[0], digest_of(b"content"), b"content").status == 201
    assert repository.registry.ask("DELETE", locations[1]).status == 204
    for _ in range(2):
        repository.begin()
    assert is_told_to_come_back(repository.ask("POST", "blobs/uploads/"), 429, "TOOMANYREQUESTS")
    # A whole blob in one request opens none.
    answer = repository.ask("POST", f"blobs/uploads/?digest={digest_of(b'whole')}", body=b"whole")
    assert answer.status == 201


def test_open_uploads_of_several_processes(serve: Serve) -> None:
    servers: list[Server] = [serve(settings={"uploads": {"max_open": 30}}) for _ in range(3)]
    begun = [
        servers[number % 3].repository("a/b").ask("POST", "blobs/uploads/").status for number in range(120)
    ]
    # Each looks at what the others did when it comes near the bound.
    assert 30 <= begun.count(202) <= 90 and set(begun) == {202, 429} and set(begun[-3:]) == {429}


def test_pieces_of_an_upload(repository: Repository) -> None:
    location = repository.begin()
    for byte in b"12345":
        assert repository.registry.ask("PATCH", location, body=bytes([byte])).status == 202
    for _ in range(2):
        refused = repository.registry.ask("PATCH", location, body=b"6")
        assert refused.refuses(400, "BLOB_UPLOAD_INVALID")
    assert repository.registry.ask("GET", location)["Range"] == "0-4"
    assert repository.close(location, digest_of(b"123456"), b"6").status == 201


def test_bodies_at_once(repository: Repository) -> None:
    locations = [repository.begin() for _ in range(4)]
    with ExitStack() as stack:
        slow = []
        for location in locations[:3]:
            connection = stack.enter_context(repository.registry.connect())
            connection.begin("PATCH", location, {"Content-Length": "2"})
            connection.send(b"a")
            slow.append(connection)
        wait_for_bodies(repository, locations[3])
        digest = digest_of(b"whole")
        for method, target in (
            ("PATCH", locations[3]),
            ("PUT", f"{locations[3]}?digest={digest}"),
            ("POST", repository.path(f"blobs/uploads/?digest={digest}")),
        ):
            refused = repository.registry.ask(method, target, body=b"whole")
            assert is_told_to_come_back(refused, 429, "TOOMANYREQUESTS")
        for connection in slow:
            connection.send(b"b")
            assert connection.answer().status == 202
    assert repository.close(locations[3], digest_of(b"whole"), b"whole").status == 201


def wait_for_bodies(repository: Repository, location: str) -> None:
    """Return when as many bodies as there may be are being received."""
    while repository.registry.ask("PATCH", location, {"Content-Length": "0"}).status == 202:
        answer = repository.registry.ask("POST", repository.path(f"blobs/uploads/?digest={digest_of(b'')}"))
        if answer.status == 429:
            return
        assert answer.status == 201


def manifest(media_type: str, field: str, number: int) -> bytes:
    """A manifest that lists so many others, none of which there is."""
    entries = [
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest_of(b"%d" % one),
            "size": 7,
        }
        for one in range(number)
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, field: entries}).encode()


def test_references_of_a_manifest(repository: Repository) -> None:
    def put(field: str, media_type: str, number: int) -> Answer:
        return repository.ask(
            "PUT", "manifests/t", {"Content-Type": media_type}, manifest(media_type, field, number)
        )

    assert put("manifests", OCI_INDEX, 5).status == 201
    refused = put("manifests", OCI_INDEX, 6)
    assert refused.refuses(400, "MANIFEST_INVALID")


def test_manifests_in_memory(repository: Repository) -> None:
    """Four clients that hold back the end of 9 MiB are too much; one of them, and a small one, are not."""
    config = repository.push_blob(b"{}")
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
        "layers": [],
    }
    small = json.dumps(document).encode()
    large = small + b" " * (9 * MIB)
    headers = {"Content-Type": OCI_IMAGE, "Content-Length": str(len(large))}
    with ExitStack() as stack:
        slow: list[Connection] = []
        for number in range(3):
            connection = stack.enter_context(repository.registry.connect())
            connection.begin("PUT", repository.path(f"manifests/t{number}"), headers)
            connection.send(large[:-1])
            slow.append(connection)
        # Of those who send at once any might be refused.
        wait_until_read(repository)

        def large_one() -> Answer:
            return repository.ask("PUT", "manifests/large", {"Content-Type": OCI_IMAGE}, large)

        assert is_told_to_come_back(large_one(), 503, "UNAVAILABLE")
        assert repository.ask("PUT", "manifests/small", {"Content-Type": OCI_IMAGE}, small).status == 201
        for connection in slow:
            connection.send(large[-1:])
            assert connection.answer().status == 201
    assert large_one().status == 201


def wait_until_read(repository: Repository) -> None:
    """Return when the server has read all that was sent to it, by the kernel's queues of its connections."""
    port = f":{int(repository.registry.host_port.rpartition(':')[2]):04X}"
    while True:
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        queues = {row[4] for row in rows if row[1].endswith(port) or row[2].endswith(port)}
        if queues == {"00000000:00000000"}:
            # Who is answered now comes behind what was read.
            assert repository.registry.ask("GET", "/v2/").status == 200
            return


@contextlib.contextmanager
def not_reading(repository: Repository, count: int) -> Iterator[list[socket.socket]]:
    """So many clients that ask for a large manifest, and read no more than what kind of answer begins."""
    host, _, port = repository.registry.host_port.rpartition(":")
    head = (
        f"GET {repository.path('manifests/large')} HTTP/1.1\r\nHost: {repository.registry.host_port}\r\n\r\n"
    )
    with ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(60)
            client.connect((host, int(port)))
            client.sendall(head.encode())
            clients.append(client)
        yield clients


def resident(server: Server) -> int:
    """The bytes that the server has in memory of its own."""
    found = re.search(r"^RssAnon:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10


@pytest.mark.parametrize("shared", [False, True], ids=["read anew", "in memory once"])
def test_answers_that_clients_are_reading(serve: Serve, shared: bool) -> None:
    """Of 200 clients that do not read 4 MiB each 8 are all that may be, unless all of it is one."""
    cache = {} if shared else {"cache": {"manifests": "0B"}}
    server = serve(settings={"manifests": {"max_in_flight": "32MiB"}, **cache})
    repository = server.repository("a/b")
    small = image()
    repository.push(small, "small")
    large = Manifest(small.data + b" " * (4 * MIB - len(small.data)), small.media_type)
    repository.push(large, "large")
    assert repository.get("large").body == large.data
    before = resident(server)
    with not_reading(repository, 200) as clients:
        begun = [client.recv(12) for client in clients]
        taken = begun.count(b"HTTP/1.1 200")
        assert resident(server) - before < 128 * MIB
        assert (taken, begun.count(b"HTTP/1.1 503")) == ((200, 0) if shared else (8, 192))
        if not shared:
            assert is_told_to_come_back(repository.get("large"), 503, "UNAVAILABLE")
        assert repository.get("small").body == small.data
        # Those that are served get it all.
        last = clients[len(begun) - 1 - begun[::-1].index(b"HTTP/1.1 200")]
        answer = bytearray()
        while not answer.endswith(large.data[-MIB:]) or len(answer) < len(large.data):
            piece = last.recv(MIB)
            assert piece
            answer += piece
        assert answer.partition(b"\r\n\r\n")[2] == large.data
        assert repository.get("large").status == 200
    for _ in range(3):
        # All is given back.
        with not_reading(repository, 8) as clients:
            assert {client.recv(12) for client in clients} == {b"HTTP/1.1 200"}
    assert server.stop() == 0
    assert "Traceback" not in server.log


@pytest.mark.parametrize("secure", [False, True])
def test_connections(serve: Serve, tmp_path: Path, secure: bool) -> None:
    pair = make(tmp_path / "pair") if secure else None
    tls = {"tls": tls_settings(pair)} if pair else {}
    server = serve(settings={"registry": {"max_connections": 3, **tls}})
    context = trusting(pair) if pair else None
    with ExitStack() as stack:

        def connect() -> HTTPConnection:
            host_port = server.registry.host_port
            made = HTTPSConnection(host_port, context=context) if context else HTTPConnection(host_port)
            stack.callback(made.close)
            made.request("GET", "/v2/")
            return made

        served = [connect() for _ in range(3)]
        assert [one.getresponse().read() for one in served] == [b"{}"] * 3
        refused = connect().getresponse()
        assert (refused.status, refused.getheader("Connection")) == (503, "close")
        assert int(refused.getheader("Retry-After", "0")) > 0
        assert json.loads(refused.read())["errors"][0]["code"] == "UNAVAILABLE"
        # Those that are connected go on.
        for one in served:
            one.request("GET", "/v2/")
            assert one.getresponse().read() == b"{}"
        served[0].close()
        while connect().getresponse().status == 503:
            pass
