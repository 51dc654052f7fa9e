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
from registry.server.heads import HEAD_BYTES
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


def in_parts(server: Server, client: socket.socket, data: bytes, parts: int) -> None:
    """Send it so that the server reads each part before the next is sent."""
    size = -(-len(data) // parts)
    for at in range(0, len(data), size):
        client.sendall(data[at : at + size])
        assert server.get("/").status == 200


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


# A client that sends no more, and reads on.


@pytest.mark.parametrize("path", [b"/", b"/slow", b"/file", b"/bytes"])
def test_who_has_asked_may_close_its_sending_side_and_gets_its_answer(start: Start, path: bytes) -> None:
    server = start()
    data = content(server, 32 << 20)
    with connected(server, receive_bytes=4096) as client:
        client.sendall(GET.replace(b"/ ", path + b" "))
        client.shutdown(socket.SHUT_WR)
        if path == b"/slow":
            server.wait_for("slow began")
            (server.directory / "go").touch()
        head, _, body = rest(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert path in (b"/", b"/slow") or body == data


def test_so_do_requests_that_were_sent_ahead(start: Start) -> None:
    server = start()
    with connected(server) as client:
        put = b"PUT /body HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        client.sendall(GET.replace(b"/ ", b"/slow ") + put + GET)
        client.shutdown(socket.SHUT_WR)
        server.wait_for("slow began")
        (server.directory / "go").touch()
        assert [one(client)[0] for _ in range(3)] == [200, 200, 200]
        assert rest(client) == b""


@pytest.mark.parametrize("framing", [b"Content-Length: 900000", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("sent", [0, 300_000])
def test_a_body_that_its_client_leaves_unfinished_is_answered(
    start: Start, framing: bytes, sent: int
) -> None:
    server = start()
    with connected(server) as client:
        client.sendall(b"PUT /hold HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n")
        if sent:
            client.sendall((b"%x\r\n" % 900_000 if b"chunked" in framing else b"") + b"a" * sent)
        client.shutdown(socket.SHUT_WR)
        status, headers, body = one(client)
        assert (status, headers["connection"], body) == (400, "close", b"left after %d" % sent)
        assert rest(client) == b""
    assert not [line for line in server.log if line["level"] in ("warning", "error")]


@pytest.mark.parametrize("sent", [b"", GET, b"GET / HTTP/1.1\r\nHo", GET + b"GET / HT"])
def test_who_waits_for_nothing_and_closes_its_sending_side_is_let_go(start: Start, sent: bytes) -> None:
    server = timed(start)
    with connected(server) as client:
        client.sendall(sent)
        if sent.startswith(GET):
            assert one(client)[0] == 200
        client.shutdown(socket.SHUT_WR)
        # No deadline ends it: they are an hour.
        assert rest(client) == b""


def test_who_sends_no_more_and_reads_nothing_is_cut_off_all_the_same(start: Start) -> None:
    server = timed(start, send_seconds=0.4)
    content(server, 32 << 20)
    with connected(server, receive_bytes=4096) as client:
        client.sendall(GET.replace(b"/ ", b"/bytes "))
        client.shutdown(socket.SHUT_WR)
        server.wait_for("client gone")


def test_while_an_answer_is_awaited_no_deadline_of_the_body_runs(start: Start) -> None:
    server = timed(start, body_seconds=0.2)
    with connected(server) as client:
        # The application does not look at the body before it is let go.
        client.sendall(b"PUT /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\na")
        client.shutdown(socket.SHUT_WR)
        server.wait_for("slow began")
        assert not select.select([client], [], [], 0.6)[0]
        (server.directory / "go").touch()
        assert one(client)[0] == 200
        assert rest(client) == b""


def test_over_tls_a_client_that_closes_its_side_closes_the_connection(start: Start, tmp_path: Path) -> None:
    """asyncio knows no half of a TLS connection; nobody else is to notice, nor the log."""
    pair = make(tmp_path / "pair")
    server = start(registry={"listen": "127.0.0.1:0", "tls": settings(pair)})
    for sent in (
        b"",
        GET.replace(b"/ ", b"/slow "),
        b"PUT /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na",
    ):
        with (
            connected(server) as plain,
            trusting(pair).wrap_socket(plain, server_hostname="127.0.0.1") as client,
        ):
            client.sendall(sent)
            if sent:
                server.wait_for("slow began" if b"/slow" in sent else "hold began")
            with contextlib.suppress(OSError):
                client.unwrap()
            assert rest(client) == b""
    (server.directory / "go").touch()
    assert server.get("/", tls=trusting(pair)).status == 200
    assert server.end() == 0
    assert not [line for line in server.log if line["level"] in ("warning", "error")]


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


@pytest.mark.parametrize("path", [b"/file", b"/whole"])
def test_who_takes_a_little_at_a_time_is_not_cut_off_while_nothing_more_fits(
    start: Start, path: bytes
) -> None:
    server = timed(start, send_seconds=0.4)
    size = len(content(server, 16 << 20))
    with connected(server, receive_bytes=4096) as client:
        client.sendall(GET.replace(b"/ ", path + b" "))
        read = 0
        # Two seconds, in which what the kernels hold is not nearly taken: the server sees no room.
        for _ in range(40):
            select.select([], [], [], 0.05)
            read += len(client.recv(4096))
        assert read < 1 << 20
        while read < size:
            piece = client.recv(1 << 20)
            assert piece, f"cut off after {read} bytes"
            read += len(piece)


def test_a_body_that_nobody_takes_is_not_read(start: Start) -> None:
    server = start()
    with connected(server) as client:
        client.sendall(b"PUT /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\n")
        server.wait_for("slow began")
        client.setblocking(False)
        sent = 0
        # What the kernels hold comes on top of the mebibyte that may wait here.
        while select.select([], [client], [], 0.5)[1]:
            sent += client.send(bytes(1 << 20))
            assert sent < 64 << 20
        client.setblocking(True)
        (server.directory / "go").touch()
        assert one(client)[0] == 200


def test_a_shutdown_waits_for_no_deadline(start: Start) -> None:
    server = timed(start)
    with connected(server) as client:
        client.sendall(GET)
        assert one(client)[0] == 200
        assert server.end() == 0


# Heads.


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_a_head_that_is_too_large_is_answered_431(start: Start, parts: int) -> None:
    server = start()
    large = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (HEAD_BYTES - 1000) + b"\r\n\r\n"
    with connected(server) as client:
        in_parts(server, client, large, parts)
        assert one(client)[0] == 200
        in_parts(server, client, large.replace(b"X: ", b"X: " + b"a" * 2000), parts)
        status, headers, body = one(client)
        assert (status, headers["content-type"]) == (431, "application/json")
        assert "262144 bytes" in json.loads(body)["errors"][0]["message"]
        assert rest(client) == b""


def test_a_head_that_is_too_large_is_refused_also_where_its_end_comes_in_one_piece(start: Start) -> None:
    server = start()
    with connected(server) as client:
        in_parts(server, client, GET[:-2] + b"X: " + b"a" * (HEAD_BYTES * 19 // 10) + b"\r\n\r\n", 2)
        assert one(client)[0] == 431


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


def test_after_an_early_answer_a_rest_that_trickles_is_read_for_a_moment_only(start: Start) -> None:
    server = timed(start)
    with connected(server) as client:
        client.sendall(b"PUT /early HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\n")
        assert one(client)[0] == 403
        with pytest.raises(ConnectionError):
            for _ in range(600):
                client.sendall(b"a")
                select.select([], [], [], 0.05)


def test_who_is_refused_and_is_still_sending_gets_to_read_the_answer(start: Start) -> None:
    server = start()
    with connected(server) as client:
        client.sendall(b"nonsense\r\n\r\n")
        assert select.select([client], [], [], 60)[0]
        for _ in range(10):
            # None of it finds the connection closed.
            client.sendall(b"a" * 10_000)
            select.select([], [], [], 0.02)
        assert_refused(client, 400)


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


PUT = b"PUT /hold HTTP/1.1\r\nHost: x\r\n"
CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"
NO_HOSTS = (b"a b", b"a/b", b"a,b", b"x@y", b"a:b:c", b"a:b", b"::1", b"[::1", b"<x>", b"\xc3\xa4")
NO_REQUESTS = {
    400: (
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/11.1\r\nHost: x\r\n\r\n",
        # RFC 9112, 3.2: exactly one Host, that can be one.
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n",
        *(b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % host for host in NO_HOSTS),
        # 6.1 and 6.3: one length, or chunks, which HTTP/1.0 does not have, and which must be the last coding.
        PUT + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        PUT + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        PUT + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        PUT + b"Content-Length: 5\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        PUT.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
        PUT + b"Transfer-Encoding: gzip\r\n\r\n" + CHUNKS,
        PUT + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + CHUNKS,
        PUT + b"Transfer-Encoding: identity\r\n\r\n" + CHUNKS,
        PUT + b"Transfer-Encoding:\r\n\r\n" + CHUNKS,
    ),
    501: (
        PUT + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
        PUT + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
        PUT + b"Transfer-Encoding: , Chunked\r\n\r\n" + CHUNKS,
    ),
    505: (
        *(b"GET / HTTP/%s\r\nHost: x\r\n\r\n" % one for one in (b"2.0", b"1.2", b"0.9", b"3.0", b"1.9")),
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET /\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ),
}


def assert_refused(client: socket.socket, status: int) -> None:
    """That this is the answer, in the protocol's form, and the last."""
    found, headers, body = one(client)
    assert (found, headers["content-type"], headers["connection"]) == (status, "application/json", "close")
    assert json.loads(body)["errors"][0]["code"] == "REQUEST_INVALID"
    assert rest(client) == b""


@pytest.mark.parametrize("status", NO_REQUESTS)
@pytest.mark.parametrize("before", [b"", GET], ids=["first", "second"])
def test_what_is_no_request_is_answered_in_json(start: Start, status: int, before: bytes) -> None:
    server = start()
    for sent in NO_REQUESTS[status]:
        with connected(server) as client:
            client.sendall(before + sent + GET)
            assert not before or one(client)[0] == 200, sent
            assert_refused(client, status)
    assert server.get("/").status == 200
    assert "hold began" not in server.journal
    assert not [line for line in server.log if line["level"] in ("warning", "error", "critical")]


def test_chunks_that_turn_out_broken_are_answered_in_json(start: Start) -> None:
    server = start()
    with connected(server) as client:
        client.sendall(PUT + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n")
        assert_refused(client, 400)
    assert not [line for line in server.log if line["level"] in ("warning", "error", "critical")]


def test_whatever_can_be_a_host_is_one(start: Start) -> None:
    server = start()
    with connected(server) as client:
        for host in (
            b"x",
            b"x:5000",
            b"[::1]:5000",
            b"[fe80::1%25eth0]",
            b"a_b.example.",
            b"127.0.0.1:",
            b"",
        ):
            client.sendall(b"GET / HTTP/1.1\r\nHOST: %s\r\n\r\n" % host)
            assert one(client)[0] == 200, host
        # What is said of one request is not said of the next.
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert one(client)[0] == 400


def test_http_1_0_needs_no_host_and_knows_no_asking_for_a_body(start: Start) -> None:
    server = start()
    with connected(server) as client:
        client.sendall(b"PUT /body HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        client.sendall(b"hello")
        assert one(client)[2] == b"5"


def test_a_mistake_of_the_application_is_answered_in_json(start: Start) -> None:
    server = start()
    answer = server.get("/fail")
    assert (answer.status, answer.headers["content-type"]) == (500, "application/json")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
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
