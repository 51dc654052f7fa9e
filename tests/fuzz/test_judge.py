"""The judge sees what it is there to see."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.campaign import made, run
from tests.fuzz.exchange import Exchange, Heard, converse
from tests.fuzz.judge import problems
from tests.fuzz.malformed import malformed, mutated
from tests.fuzz.smuggling import smuggling
from tests.fuzz.sound import pipelined

# On real sockets.
pytestmark = pytest.mark.e2e

ERROR = b'{"errors":[{"code":"X","message":"smuggled-1 one two"}]}'
GET = Exchange("get", (b"GET / HTTP/1.1\r\n\r\n",))


def answer(status: int = 404, body: bytes = ERROR, kind: str = "application/json", more: str = "") -> bytes:
    """A response."""
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def told(data: bytes, exchange: Exchange = GET, *, after_end: bool = False, hung: bool = False) -> str:
    """What is wrong with these bytes."""
    return "\n".join(problems(exchange, Heard(data, after_end, hung)))


@pytest.mark.parametrize(
    "data",
    [
        *(b"", answer(), answer(501), answer(505), answer(507), answer(503, more="Retry-After: 5\r\n")),
        *(
            answer() * 3,
            b"HTTP/1.1 100 Continue\r\n\r\n" + answer(),
            answer(200, b"\x00\x01", "application/x"),
        ),
        *(b"HTTP/1.1 204 \r\n\r\n" + answer(), answer(more="Connection: close\r\n")),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n" + answer(),
    ],
)
def test_what_is_right_is_right(data: bytes) -> None:
    assert told(data) == ""


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (answer(500), "status 500"),
        (answer(502), "status 502"),
        (answer(503), "without Retry-After"),
        (answer(400, b"no", "text/plain; charset=utf-8"), "of type text/plain"),
        (answer(400, b"no"), "not the specification's document"),
        (answer(400, b'{"errors":[]}{'), "not the specification's document"),
        (answer(400, b'{"errors":[{"code":"","message":"x"}]}'), "without code or message"),
        (answer(more="Connection: close\r\n") + answer(), "behind one that said"),
        (answer()[:-1], "not whole"),
        (answer() + b"x", "garbled"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "no status line"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "no length"),
        (b"HTTP/1.1 200 OK\r\nA: x\x00\r\n\r\n", "no header"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", "chunk"),
        (b"HTTP/1.1 200 OK\r\nContent-L", "no head"),
    ],
)
def test_what_is_wrong_is_seen(data: bytes, wrong: str) -> None:
    assert wrong in told(data)


def test_silence_that_lasts_is_seen() -> None:
    assert "neither answered nor closed" in told(b"", hung=True)


def test_who_said_the_end_may_lose_the_rest() -> None:
    assert told(answer()[:-1], after_end=True) == ""


def test_a_smuggled_request_is_seen() -> None:
    assert "smuggled-1 was answered" in told(answer() * 2, Exchange("x", (b"",), forbidden="smuggled-1"))


@pytest.mark.parametrize(
    ("words", "wrong"),
    [(("one", "two"), ""), (("one",), "2 answers"), (("one", "six"), "not the one to 'six'")],
)
def test_answers_have_an_order(words: tuple[str, ...], wrong: str) -> None:
    found = told(answer() * 2, Exchange("x", (b"",), expected=words))
    assert wrong in found and bool(wrong) == bool(found)


def test_to_head_there_is_no_body() -> None:
    asked = Exchange("x", (b"",), ("HEAD",))
    assert told(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + answer(), asked) == ""
    assert "garbled" in told(answer(200), asked)


@contextlib.contextmanager
def naive_server() -> Iterator[str]:
    """It takes every head for a request of its own, whatever came before, and does so on every connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                data = b""
                while piece := connection.recv(65536):
                    data += piece
                    *heads, data = data.split(b"\r\n\r\n")
                    for head in heads:
                        connection.sendall(
                            answer(body=b'{"errors":[{"code":"X","message":"%s"}]}' % path(head))
                        )

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def path(head: bytes) -> bytes:
    """The path in a head, if it has one."""
    words = head.split(b"\r\n")[0].split(b" ")
    return words[1].replace(b'"', b"").decode("ascii", "replace").encode() if len(words) == 3 else b"none"


def test_a_naive_server_is_found_out(tmp_path: Path) -> None:
    with naive_server() as host_port:
        failures = run(host_port, [smuggling], 1, 60, ("/v2/",), tmp_path)
    found = [one for one in failures if any("smuggled" in problem for problem in one.problems)]
    assert {one.exchange.kind for one in found} >= {"lengths", "both", "ignored_body", "chunk_size"}
    (kept, *_) = [one for one in tmp_path.iterdir() if one.name == f"1-{found[0].number}.bytes"]
    assert kept.read_bytes() == found[0].exchange.sent
    assert repr(found[0].exchange.sent)[:300] in str(found[0]) and "SEED=1" in str(found[0])


def test_an_exchange_is_made_of_its_seed_and_number_alone() -> None:
    makers = [smuggling, malformed, mutated, pipelined]
    for number in range(50):
        assert made(makers, 7, number, ("/v2/", "/")) == made(makers, 7, number, ("/v2/", "/"))
    assert len({made(makers, 7, number, ("/v2/",)).sent for number in range(50)}) > 45


def test_a_server_that_never_closes_is_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.exchange.HANG_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        heard = converse(f"127.0.0.1:{listening.getsockname()[1]}", GET)
    assert heard.hung and heard.after_end


def test_pieces_are_sent_whole() -> None:
    chance = random.Random(1)
    for number in range(100):
        one = malformed(chance, ("/",), str(number))
        assert one.sent == b"".join(one.pieces)
