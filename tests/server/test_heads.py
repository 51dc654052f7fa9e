"""How much memory heads take, of one client and of many."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.errors import HeadTooLarge, RegistryError, Unavailable
from registry.server.heads import HEAD_BYTES, HEADERS, OWN_BYTES, Heads, Meter
from tests.server.conftest import Server, Start, until
from tests.server.test_protocol import GET, connected, one, rest

MIB = 1 << 20
LARGE = GET[:-2] + b"X: " + b"y" * (HEAD_BYTES - 4096)
CHUNKED = b"PUT /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def resident(server: Server) -> int:
    """The bytes that the server has in memory of its own, not those that the kernel's page cache lends it."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10


@contextlib.contextmanager
def crowd(server: Server, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """So many connections, each of which has sent the same; who is refused early need not have sent all."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(count)]
        for client in clients:
            with contextlib.suppress(ConnectionError):
                client.sendall(sent)
        # Whatever was sent before this one has been read by then.
        assert server.get("/").status == 200
        yield clients


def takes_a_large_head(server: Server) -> bool:
    """Whether there is memory for one."""
    with connected(server) as client:
        client.sendall(LARGE + b"\r\n\r\n")
        return one(client)[0] == 200


@pytest.mark.e2e
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(GET[:-2] + b"a:\r\n" * 65_000, id="tiny headers"),
        pytest.param(LARGE, id="unfinished"),
        pytest.param(LARGE + b"\r\n\r\n", id="answered"),
        pytest.param(CHUNKED + b"1\r\na\r\n0\r\nX: " + b"y" * (HEAD_BYTES - 4096), id="trailers"),
    ],
)
def test_heads_of_many_clients_take_little_memory(start: Start, sent: bytes) -> None:
    server = start()
    assert server.get("/").status == 200
    before = resident(server)
    with crowd(server, 300, sent):
        assert resident(server) - before < 48 * MIB
    until(lambda: takes_a_large_head(server), "room again")


AHEAD = [
    pytest.param((GET[:-2] + b"X: " + b"y" * 12_000 + b"\r\n\r\n") * 20, id="large"),
    pytest.param((GET[:-2] + b"a:\r\n" * 30 + b"\r\n") * 32, id="many"),
]


@pytest.mark.e2e
@pytest.mark.parametrize("ahead", AHEAD)
def test_heads_that_wait_behind_an_answer_take_little_memory(start: Start, ahead: bytes) -> None:
    server = start()
    before = resident(server)
    with crowd(server, 400, GET.replace(b"/ ", b"/slow ") + ahead) as clients:
        assert resident(server) - before < 48 * MIB
        for client in clients:
            # Closed with a reset, so that the first answer finds out.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # Who reads nothing at the moment learns so that its clients have left.
    (server.directory / "go").touch()
    until(lambda: takes_a_large_head(server), "room again")


@pytest.mark.e2e
def test_what_is_refused_while_it_waits_gives_back_its_memory(start: Start) -> None:
    server = start()
    slow = GET.replace(b"/ ", b"/slow ")
    broken = CHUNKED[:-2] + LARGE[len(GET) - 2 :] + b"\r\n\r\n1\r\na\r\nno chunk\r\n"
    for _ in range(3):
        with crowd(server, 40, slow + broken) as clients:
            (server.directory / "go").touch()
            for client in clients:
                assert [one(client)[0], one(client)[0]] == [200, 400]
                assert rest(client) == b""
        (server.directory / "go").unlink()


@pytest.mark.e2e
def test_a_large_head_beyond_what_all_may_have_is_answered_503(start: Start) -> None:
    server = start()
    with crowd(server, 100, LARGE) as clients:
        with connected(server) as client:
            client.sendall(LARGE)
            status, headers, body = one(client)
            assert (status, headers["connection"], headers["retry-after"]) == (503, "close", "5")
            assert json.loads(body)["errors"][0]["code"] == "UNAVAILABLE"
            assert rest(client) == b""
        # Those that came first are served.
        clients[0].sendall(b"\r\n\r\n")
        assert one(clients[0])[0] == 200
    assert not [line for line in server.log if line["level"] in ("warning", "error")]


@pytest.mark.e2e
@pytest.mark.parametrize("trailers", [False, True])
@pytest.mark.parametrize("more", [0, 1])
def test_there_are_so_many_headers_and_no_more(start: Start, trailers: bool, more: int) -> None:
    server = start()
    with connected(server) as client:
        if trailers:
            client.sendall(CHUNKED + b"1\r\na\r\n0\r\n" + b"X: y\r\n" * (HEADERS + more) + b"\r\n")
        else:
            client.sendall(GET[:-2] + b"X: y\r\n" * (HEADERS - 1 + more) + b"\r\n")
        status, _, body = one(client)
        assert status == (431 if more else 200)
        assert not more or f"more than {HEADERS} headers" in json.loads(body)["errors"][0]["message"]


# The measure itself.


def test_what_is_given_back_can_be_held_again() -> None:
    heads = Heads(100)
    held = heads.change(0, 60)
    with pytest.raises(Unavailable):
        heads.change(0, 41)
    assert heads.change(held, 100) == 100
    assert heads.change(100, 0) == 0
    assert heads.change(0, 100) == 100


def refused(found: RegistryError | None) -> type[RegistryError] | None:
    return None if found is None else type(found)


def test_a_head_in_several_reads_counts_as_a_whole() -> None:
    heads = Heads(1 << 20)
    meter = Meter(heads)
    for _ in range(3):
        meter.read(OWN_BYTES // 2)
        assert meter.unfinished([], fresh=False) is None
    assert meter.held == OWN_BYTES // 2 * 3
    assert meter.may_be_large([])
    assert meter.whole(b"", [(b"x", b"y" * OWN_BYTES)], ahead=False) is None
    assert meter.hand_over() > OWN_BYTES
    assert meter.held == 0
    assert refused(Meter(heads).whole(b"", [(b"x", b"y" * HEAD_BYTES)], ahead=False)) is HeadTooLarge


def test_what_a_body_takes_of_a_buffer_is_no_head() -> None:
    meter = Meter(Heads(0))
    meter.read(1 << 20)
    meter.piece((1 << 20) - 1000)
    meter.piece(0)
    assert meter.unfinished([], fresh=True) is None
    assert meter.head_bytes == 1000
    meter.read(HEAD_BYTES)
    assert refused(meter.unfinished([], fresh=False)) is HeadTooLarge


def test_small_heads_take_nothing_unless_they_wait() -> None:
    meter = Meter(Heads(0))
    meter.read(500)
    head = [(b"host", b"x")]
    assert not meter.may_be_large(head)
    assert meter.whole(b"/", head, ahead=False) is None
    assert refused(meter.whole(b"/", head, ahead=True)) is Unavailable


def test_many_headers_are_large_however_short_they_are() -> None:
    meter = Meter(Heads(0))
    meter.read(HEADERS * 4)
    head = [(b"a", b"")] * HEADERS
    assert refused(meter.unfinished(head, fresh=False)) is Unavailable
    assert meter.may_be_large(head)


def test_a_trailer_counts_and_what_stands_between_chunks_does_not() -> None:
    meter = Meter(Heads(1 << 20))
    meter.read(OWN_BYTES * 2)
    assert meter.unfinished(None, fresh=False) is None
    assert meter.held == 0
    meter.trailers = 0
    assert meter.unfinished(None, fresh=False) is None
    assert meter.held == OWN_BYTES * 2
    meter.piece(1)
    assert meter.unfinished(None, fresh=False) is None
    assert meter.held == 0
