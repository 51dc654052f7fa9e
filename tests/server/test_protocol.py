"""What the protocol class adds to uvicorn's, on real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from registry.server.confirmed import confirmed_bytes
from registry.server.exchange import LINGER_BYTES
from registry.server.protocol import HEAD_BYTES
from tests.server.conftest import Server, Start, ask, until
from tests.server.test_tls import make, settings, trusting

pytestmark = pytest.mark.e2e

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@contextlib.contextmanager
def connected(server: Server, receive_bytes: int | None = None) -> Iterator[socket.socket]:
    place = urlsplit(server.urls["registry"])
    with socket.socket() as client:
        if receive_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.settimeout(60)
        client.connect((place.hostname, place.port))
        yield client


def rest(client: socket.socket) -> bytes:
    """All that still comes, to the end of the connection, however it ends."""
    read = bytearray()
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(1 << 20):
            read += piece
    return bytes(read)


def one(client: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One answer with a Content-Length, and not a byte more."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        assert byte, head
        head += byte
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    body = b""
    while len(body) < int(headers.get("content-length", "0")):
        piece = client.recv(int(headers["content-length"]) - len(body))
        assert piece, head + body
        body += piece
    return int(first.split()[1]), headers, body


def content(server: Server, size: int) -> bytes:
    data = os.urandom(size)
    (server.directory / "content").write_bytes(data)
    return data


def holds(server: Server, note: str) -> None:
    server.wait_for(note)


# A file, by the kernel.


@pytest.mark.parametrize("size", [1, 65_537, (17 << 20) + 3])
def test_a_file_arrives_as_it_is_and_the_connection_lives_on(start: Start, size: int) -> None:
    server = start()
    data = content(server, size)
    with open(server.directory / "content", "rb") as file:
        # Not in memory any more, so that it has to be fetched.
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with contextlib.closing(server.connect()) as connection:
        for path in ("/file", "/bytes", "/file"):
            connection.request("GET", path)
            assert connection.getresponse().read() == data
        assert ask(connection, "/").status == 200


def test_the_head_of_a_file_has_no_body(start: Start) -> None:
    server = start()
    content(server, 100_000)
    with contextlib.closing(server.connect()) as connection:
        connection.request("HEAD", "/file")
        answer = connection.getresponse()
        assert (answer.getheader("content-length"), answer.read()) == ("100000", b"")
        assert ask(connection, "/").status == 200


def test_over_tls_no_file_goes_by_the_kernel(start: Start, tmp_path: Path) -> None:
    pair = make(tmp_path / "pair")
    server = start(registry={"listen": "127.0.0.1:0", "tls": settings(pair)})
    data = content(server, 3 << 20)
    with contextlib.closing(server.connect(tls=trusting(pair))) as connection:
        connection.request("GET", "/bytes")
        assert connection.getresponse().read() == data
        assert ask(connection, "/extensions").body == b""
    plain = start()
    assert plain.get("/extensions").body == b"http.response.zerocopysend"


def test_a_file_that_ends_too_early_ends_the_connection(start: Start) -> None:
    server = start()
    data = content(server, 3 << 20)
    (server.directory / "promise").touch()
    with connected(server) as client:
        client.sendall(GET.replace(b"/ ", b"/file "))
        head, _, body = rest(client).partition(b"\r\n\r\n")
    assert b"content-length: 67108864" in head
    assert body == data
    assert server.get("/").status == 200


def test_behind_an_answer_that_ends_the_connection_nothing_is_a_request(start: Start) -> None:
    server = start()
    with connected(server) as client:
        client.sendall(b"PUT /early HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        status, headers, _ = one(client)
        assert (status, headers["connection"]) == (403, "close")
        # The end of that body, and a request, in one buffer.
        client.sendall(b"0\r\n\r\n" + GET.replace(b"/ ", b"/stuck "))
        assert rest(client) == b""
    assert server.end() == 0
    assert "stuck began" not in server.journal
    assert not [line for line in server.log if line["level"] in ("warning", "error")]


def test_a_request_has_one_answer_also_when_its_body_turns_out_broken(start: Start) -> None:
    server = start()
    with connected(server) as client:
        client.sendall(b"PUT /early HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        assert one(client)[0] == 403
        client.sendall(b"no chunk\r\n")
        assert rest(client) == b""
    assert server.end() == 0
    assert not [line for line in server.log if line["level"] in ("warning", "error")]


def test_a_body_that_turns_out_broken_behind_another_request_is_refused_in_its_turn(start: Start) -> None:
    server = start()
    with connected(server) as client:
        broken = b"PUT /hold HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nno chunk\r\n"
        client.sendall(GET + broken)
        assert one(client)[0] == 200
        status, headers, _ = one(client)
        assert (status, headers["connection"]) == (400, "close")
        assert rest(client) == b""


def test_what_comes_over_tls_behind_a_close_is_no_mistake_of_ours(start: Start, tmp_path: Path) -> None:
    pair = make(tmp_path / "pair")
    server = start(registry={"listen": "127.0.0.1:0", "tls": settings(pair)})
    with (
        connected(server) as plain,
        trusting(pair).wrap_socket(plain, server_hostname="127.0.0.1") as client,
    ):
        client.sendall(b"PUT /early HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        assert one(client)[0] == 403
        client.sendall(b"0\r\n\r\nno request\r\n\r\n")
        assert rest(client) == b""
    assert server.end() == 0
    assert not [line for line in server.log if line["level"] in ("warning", "error")]


def test_a_file_that_is_truncated_under_its_client_harms_nobody(start: Start) -> None:
    server = start()
    data = content(server, 64 << 20)
    process = server.get("/").pid
    with connected(server, receive_bytes=4096) as client:
        client.sendall(GET.replace(b"/ ", b"/file "))
        assert client.recv(4096)
        os.truncate(server.directory / "content", 1 << 20)
        assert len(rest(client)) < len(data)
    assert server.get("/").pid == process


# A client that leaves.


@pytest.mark.parametrize("path", [b"/file", b"/bytes"])
def test_who_sends_to_a_client_that_left_is_told(start: Start, path: bytes) -> None:
    server = start()
    content(server, 32 << 20)
    with connected(server, receive_bytes=4096) as client:
        client.sendall(GET.replace(b"/ ", path + b" "))
        assert client.recv(100)
    server.wait_for("client gone")
    assert server.end() == 0
    assert not [line for line in server.log if line["level"] in ("warning", "error")]


def test_what_arrived_before_the_connection_broke_is_received(start: Start) -> None:
    server = start()
    with connected(server) as client:
        client.sendall(b"PUT /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + b"a" * 300_000)
    server.wait_for("left after 300000")


# Deadlines.


def timed(start: Start, **seconds: float) -> Server:
    patient = {f"{name}_seconds": 3600.0 for name in ("head", "idle", "body", "send")}
    return start(timeouts={**patient, **seconds})


def test_a_silent_connection_is_closed(start: Start) -> None:
    server = timed(start, head_seconds=0.2)
    with connected(server) as client:
        assert rest(client) == b""


@pytest.mark.parametrize("requests", [0, 1])
def test_a_head_that_trickles_is_answered_408_however_it_trickles(start: Start, requests: int) -> None:
    server = timed(start, head_seconds=0.5)
    with connected(server) as client:
        for _ in range(requests):
            client.sendall(GET)
            assert one(client)[0] == 200
        client.sendall(b"GET / HTTP/1.1\r\nX: ")
        # A byte every 20 ms, until the server has had enough.
        while not select.select([client], [], [], 0.02)[0]:
            client.sendall(b"a")
        status, headers, body = one(client)
        assert (status, headers["connection"]) == (408, "close")
        assert json.loads(body)["errors"][0]["code"] == "REQUEST_INVALID"
        assert rest(client) == b""


def test_an_idle_connection_is_closed_without_a_word(start: Start) -> None:
    server = timed(start, idle_seconds=0.2)
    with connected(server) as client:
        client.sendall(GET)
        assert one(client)[0] == 200
        assert rest(client) == b""


def test_a_body_that_stalls_or_trickles_ends_the_connection_and_a_slow_one_does_not(start: Start) -> None:
    server = timed(start, body_seconds=0.8)
    with connected(server) as stalling, connected(server) as trickling, connected(server) as slow:
        for client in (stalling, trickling, slow):
            client.sendall(b"PUT /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 20480\r\n\r\n")
        stalling.sendall(b"a" * 7)
        for _ in range(80):
            assert not select.select([slow], [], [], 0.02)[0]
            slow.sendall(b"b" * 256)
            with contextlib.suppress(ConnectionError):
                trickling.sendall(b"c")
        assert one(slow)[2] == b"20480"
        assert rest(stalling) == b"" == rest(trickling)
    server.wait_for("left after 7")
    assert [line["event"] for line in server.log].count("connection.cut") == 2


@pytest.mark.parametrize("size", [HEAD_BYTES // 2, HEAD_BYTES * 2])
def test_a_head_that_is_sent_ahead_has_no_more_room_than_others(start: Start, size: int) -> None:
    server = start()
    with connected(server) as client:
        client.sendall(GET.replace(b"/ ", b"/slow "))
        server.wait_for("slow began")
        client.sendall(GET[:-2] + b"X: " + b"y" * size)
        assert not select.select([client], [], [], 0.3)[0]
        (server.directory / "go").touch()
        assert one(client)[0] == 200
        if size > HEAD_BYTES:
            assert one(client)[0] == 431
        else:
            client.sendall(b"\r\n\r\n")
            assert one(client)[0] == 200


@pytest.mark.parametrize("path", [b"/file", b"/bytes"])
def test_a_client_that_stops_reading_is_cut_off(start: Start, path: bytes) -> None:
    server = timed(start, send_seconds=0.4)
    content(server, 32 << 20)
    with connected(server, receive_bytes=4096) as client:
        client.sendall(GET.replace(b"/ ", path + b" "))
        server.wait_for("client gone")
        assert len(rest(client)) < 32 << 20


@pytest.mark.parametrize("path", [b"/file", b"/bytes"])
def test_a_client_that_reads_slowly_is_not_cut_off(start: Start, path: bytes) -> None:
    server = timed(start, send_seconds=0.3)
    size = len(content(server, 32 << 20))
    with connected(server) as client:
        client.sendall(GET.replace(b"/ ", path + b" "))
        read = pauses = 0
        # Over a second in all, and never a third of one without reading.
        while read < size:
            if read >= pauses << 20:
                select.select([], [], [], 0.05)
                pauses += 1
            piece = client.recv(1 << 18)
            assert piece, f"cut off after {read} bytes"
            read += len(piece)


def test_a_shutdown_waits_for_no_deadline(start: Start) -> None:
    server = timed(start)
    with connected(server) as client:
        client.sendall(GET)
        assert one(client)[0] == 200
        assert server.end() == 0


# Heads.


def test_a_head_that_is_too_large_is_answered_431(start: Start) -> None:
    server = start()
    large = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (HEAD_BYTES - 1000) + b"\r\n\r\n"
    with connected(server) as client:
        client.sendall(large)
        assert one(client)[0] == 200
        client.sendall(large.replace(b"X: ", b"X: " + b"a" * 2000))
        status, headers, body = one(client)
        assert (status, headers["content-type"]) == (431, "application/json")
        assert "262144 bytes" in json.loads(body)["errors"][0]["message"]
        assert rest(client) == b""


@pytest.mark.parametrize(
    "trailers", [b"X: " + b"y" * HEAD_BYTES * 2, b"X: y\r\n" * HEAD_BYTES, b"1;" + b"x" * HEAD_BYTES * 2]
)
def test_trailers_have_no_more_room_than_headers(start: Start, trailers: bytes) -> None:
    server = start()
    with connected(server) as client:
        last = b"" if trailers.startswith(b"1;") else b"0\r\n"
        with contextlib.suppress(ConnectionError):
            client.sendall(
                b"PUT /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
                + last
                + trailers
            )
        assert one(client)[0] == 431


def test_a_trailer_is_no_header(start: Start) -> None:
    server = start()
    with connected(server) as client:
        client.sendall(b"PUT /late HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        client.sendall(b"0\r\nX-Late: yes\r\n\r\n")
        assert one(client)[2] == b"host transfer-encoding"


def test_so_many_headers_are_too_large_a_head_too(start: Start) -> None:
    server = start()
    with connected(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        with contextlib.suppress(ConnectionError):
            client.sendall(b"X: y\r\n" * 100_000)
        assert one(client)[0] == 431


# An early answer.


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_after_an_early_answer_a_short_rest_is_read(start: Start, framing: str) -> None:
    server = start()
    with connected(server) as client:
        if framing == "length":
            client.sendall(b"PUT /early HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n" + b"a" * 1000)
            assert one(client)[0] == 403
            client.sendall(b"b" * 499_000 + GET)
            assert one(client)[0] == 200
        else:
            client.sendall(b"PUT /early HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            status, headers, _ = one(client)
            assert (status, headers["connection"]) == (403, "close")
            client.sendall(b"5\r\naaaaa\r\n0\r\n\r\n")
            assert rest(client) == b""


def test_after_an_early_answer_a_long_rest_is_not_waited_for(start: Start) -> None:
    server = start()
    with connected(server) as client:
        client.sendall(b"PUT /early HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\n")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 64 << 20:
                client.sendall(b"a" * 65536)
                sent += 65536
        # What the kernels hold comes on top of what the server reads.
        assert sent < 32 << 20
    with connected(server) as client:
        client.sendall(b"PUT /early HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\n")
        client.sendall(b"a" * (LINGER_BYTES // 2))
        status, headers, body = one(client)
        assert (status, headers["connection"], body) == (403, "close", b"no")
        # Two seconds later at the latest.
        assert rest(client) == b""


def test_who_asks_before_sending_a_body_and_is_refused_need_not_send_it(start: Start) -> None:
    server = start()
    asking = b"PUT %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    with connected(server) as client:
        client.sendall(asking % b"/early")
        status, headers, _ = one(client)
        assert (status, headers["connection"]) == (403, "close")
        assert rest(client) == b""
    with connected(server) as client:
        client.sendall(asking % b"/hold")
        assert client.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hello")
        assert one(client)[2] == b"5"


# Pipelines.


def test_requests_sent_ahead_are_answered_in_their_order(start: Start) -> None:
    server = start()
    with connected(server) as client:
        client.sendall(
            GET.replace(b"/ ", b"/slow ")
            + b"PUT /body HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
            + GET.replace(b"/ ", b"/early ")
            + b"nonsense\r\n\r\n"
        )
        server.wait_for("slow began")
        (server.directory / "go").touch()
        answers = [one(client) for _ in range(4)]
        assert [status for status, _, _ in answers] == [200, 200, 403, 400]
        assert answers[1][2] == b"3"
        assert rest(client) == b""


def test_too_many_requests_sent_ahead_are_refused_after_those_before(start: Start) -> None:
    server = start()
    with connected(server) as client:
        client.sendall(GET.replace(b"/ ", b"/slow ") + GET * 100)
        server.wait_for("slow began")
        (server.directory / "go").touch()
        statuses = [line.split()[1] for line in rest(client).split(b"HTTP/1.1")[1:] for line in [b"x" + line]]
    assert statuses[-1] == b"400"
    assert set(statuses[:-1]) == {b"200"}
    assert len(statuses) < 100


# Errors of its own.


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/3.7\r\nHost: x\r\n\r\n",
        b"PUT /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"PUT /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PUT /hold HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    ],
)
def test_what_is_no_request_is_answered_in_json(start: Start, sent: bytes) -> None:
    server = start()
    with connected(server) as client:
        client.sendall(sent)
        status, headers, body = one(client)
        assert (status, headers["content-type"], headers["connection"]) == (400, "application/json", "close")
        assert json.loads(body)["errors"][0]["code"] == "REQUEST_INVALID"
        assert rest(client) == b""
    assert server.get("/").status == 200
    assert not [line for line in server.log if line["level"] in ("warning", "error", "critical")]


def test_a_mistake_of_the_application_is_answered_in_json(start: Start) -> None:
    server = start()
    answer = server.get("/fail")
    assert (answer.status, answer.headers["content-type"]) == (500, "application/json")
    until(lambda: server.events("request.failed"), "the log line")


# One too many.


def test_one_connection_too_many_is_answered_503_and_the_next_after_one_left_is_not(start: Start) -> None:
    server = start(registry={"listen": "127.0.0.1:0", "max_connections": 2})
    with connected(server) as first, connected(server) as second:
        for client in (first, second):
            client.sendall(GET)
            assert one(client)[0] == 200
        with connected(server) as third:
            third.sendall(GET)
            status, headers, body = one(third)
            assert (status, headers["connection"], headers["retry-after"]) == (503, "close", "5")
            assert json.loads(body)["errors"][0]["code"] == "UNAVAILABLE"
            assert rest(third) == b""
        assert server.get("/", "ops").status == 200
        first.sendall(GET)
        assert one(first)[0] == 200
    until(lambda: server.get("/").status == 200, "room again")


def test_a_kernel_tells_what_its_client_has_taken() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as client,
    ):
        server, _ = listening.accept()
        with server:
            before = confirmed_bytes(server)
            server.sendall(b"a" * 100_000)
            read = 0
            while read < 100_000:
                read += len(client.recv(65536))
            until(lambda: confirmed_bytes(server) - before == 100_000, "the client's kernel to confirm")
