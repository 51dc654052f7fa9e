"""What is set of uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from urllib.parse import urlsplit

import pytest

from registry.server.conditions import Conditions
from registry.server.connections import Connections, Exhaustion
from registry.server.endpoint import Endpoint
from registry.server.listeners import Listener
from registry.server.settings import TimeoutSettings
from tests.server.conftest import Start, ask
from tests.server.test_connections import never

# Real sockets, and real time-outs.
pytestmark = pytest.mark.e2e


def test_an_idle_connection_is_closed_after_its_time(start: Start) -> None:
    server = start(timeouts={"idle_seconds": 0.5})
    with contextlib.closing(server.connect()) as connection:
        assert ask(connection, "/").status == 200
        assert ask(connection, "/").status == 200
        assert connection.sock is not None
        assert connection.sock.recv(1) == b""


def test_forwarded_headers_of_a_client_change_nothing(start: Start) -> None:
    server = start()
    with contextlib.closing(server.connect()) as connection:
        connection.request("GET", "/", headers={"X-Forwarded-Proto": "https"})
        assert connection.getresponse().read().split()[2] == b"http"


def test_no_web_socket_is_opened(start: Start) -> None:
    server = start()
    place = urlsplit(server.urls["registry"])
    with socket.create_connection((place.hostname, place.port), timeout=60) as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_body_arrives_whole(start: Start) -> None:
    server = start()
    with contextlib.closing(server.connect()) as connection:
        connection.request("PUT", "/body", body=b"a" * 1_000_000)
        assert connection.getresponse().read() == b"1000000"
        # Chunked, and on the same connection.
        connection.request("PUT", "/body", body=iter([b"b" * 70_000, b"c" * 5]), encode_chunked=True)
        assert connection.getresponse().read() == b"70005"


@pytest.mark.parametrize("framing", ["Content-Length: 40", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("parts", [1, 2])
def test_what_follows_a_refused_upgrade_is_never_a_request(start: Start, framing: str, parts: int) -> None:
    server = start()
    place = urlsplit(server.urls["registry"])
    head = f"PUT /body HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n{framing}\r\n\r\n"
    smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n    "
    with socket.create_connection((place.hostname, place.port), timeout=60) as client:
        client.sendall(head.encode() if parts == 2 else (head + smuggled).encode())
        answer = client.recv(65536)
        if parts == 2:
            with contextlib.suppress(OSError):
                client.sendall(smuggled.encode())
        with contextlib.suppress(ConnectionResetError):
            while more := client.recv(65536):
                answer += more
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert b"connection: close" in answer
    assert b"REQUEST_INVALID" in answer


def test_after_an_upgrade_that_is_not_taken_the_connection_ends(start: Start) -> None:
    server = start()
    with contextlib.closing(server.connect()) as connection:
        connection.request("GET", "/", headers={"Connection": "Upgrade", "Upgrade": "h2c"})
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Connection")) == (200, "close")
        answer.read()


def test_a_tunnel_is_not_opened(start: Start) -> None:
    server = start()
    place = urlsplit(server.urls["registry"])
    with socket.create_connection((place.hostname, place.port), timeout=60) as client:
        client.sendall(b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while more := client.recv(65536):
                answer += more
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_docker_that_tries_tls_first_leaves_no_warning(start: Start) -> None:
    server = start()
    place = urlsplit(server.urls["registry"])
    with socket.create_connection((place.hostname, place.port), timeout=60) as client:
        client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 400 ")
    for name in ("output", "errors", "log"):
        if (server.directory / name).exists():
            assert "Invalid HTTP" not in (server.directory / name).read_text()


async def test_where_no_descriptor_is_left_one_attempt_is_made_and_not_thousands(
    caplog: pytest.LogCaptureFixture,
) -> None:
    attempts = 0

    class Exhausted(socket.socket):
        """A socket of a process that has no descriptor left."""

        def accept(self) -> tuple[socket.socket, object]:
            nonlocal attempts
            attempts += 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with Exhausted(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        endpoint = Endpoint(
            Listener("registry", "127.0.0.1:0", (listening,), ""),
            never,
            conditions=Conditions(TimeoutSettings(), Connections(10)),
            exhaustion=Exhaustion(100),
            tls=None,
        )
        endpoint.open()
        with socket.create_connection(listening.getsockname()), caplog.at_level(logging.WARNING):
            while not attempts:
                await asyncio.sleep(0)
            for _ in range(100):
                await asyncio.sleep(0)
            assert attempts == 1
            assert [record.message for record in caplog.records] == ["connections.delayed"]
            # And one more a second later.
            while attempts < 2:
                await asyncio.sleep(0.01)
        endpoint.stop_listening(leave_queue=True)
