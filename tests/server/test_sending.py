"""Large answers: as they were meant, and no burden when nobody reads them."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock
from urllib.parse import urlsplit

import pytest

from registry.server import sending
from storage.sharing import Share
from tests.server.conftest import Server, Start, ask
from tests.server.test_heads import MIB, resident
from tests.server.test_protocol import GET, connected, content
from tests.server.test_tls import make, settings, trusting

pytestmark = pytest.mark.e2e

both = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


@both
@pytest.mark.parametrize("path", ["/whole", "/chunked"])
@pytest.mark.parametrize("size", [(64 << 10) + 1, 5 << 20])
def test_a_large_answer_arrives_as_it_is(
    start: Start, tmp_path: Path, path: str, size: int, *, tls: bool
) -> None:
    pair = make(tmp_path / "pair") if tls else None
    server = start(registry={"listen": "127.0.0.1:0", **({"tls": settings(pair)} if pair else {})})
    data = content(server, size)
    with contextlib.closing(server.connect(tls=trusting(pair) if pair else None)) as connection:
        for _ in range(3):
            connection.request("GET", path)
            assert connection.getresponse().read() == data
        connection.request("HEAD", path)
        assert connection.getresponse().read() == b""
        assert ask(connection, "/").status == 200


def test_an_end_without_a_length_is_that_of_the_connection(start: Start) -> None:
    server = start()
    data = content(server, MIB)
    with connected(server) as client:
        client.sendall(b"GET /chunked HTTP/1.0\r\n\r\n")
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert answer.read() == data


class AtOnce(Executor):
    """Does what it is given before it returns."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(function(*arguments, **options))
        return done


@pytest.mark.parametrize("in_memory", [False, True])
async def test_of_a_file_that_is_not_in_memory_one_window_more_is_fetched_than_is_sent(
    monkeypatch: pytest.MonkeyPatch, *, in_memory: bool
) -> None:
    happened: list[tuple[str, int, int]] = []

    def fetch(_: int, begin: int, stop: int) -> None:
        happened.append(("fetch", begin, stop))

    async def send_window(*given: Any) -> int:
        begin, stop = given[3:]
        happened.append(("send", begin, stop))
        return int(stop - begin)

    async def drain() -> None:
        """There is always room."""

    monkeypatch.setattr(sending, "_in_memory", lambda *_: in_memory)
    monkeypatch.setattr(sending, "_fetch", fetch)
    monkeypatch.setattr(sending, "_send_window", send_window)
    share = Share(100, least=100, most=100)
    transport = cast(asyncio.Transport, Mock())
    sent = await sending.send_file(
        transport, drain, -1, 7, 250, windows=share, unsent=share, fetchers=AtOnce()
    )
    assert sent == 250
    sends = [("send", 7, 107), ("send", 107, 207), ("send", 207, 257)]
    fetches = [("fetch", begin, stop) for _, begin, stop in sends]
    expected = [fetches[0], fetches[1], sends[0], fetches[2], *sends[1:]]
    assert happened == (sends if in_memory else expected)


@pytest.fixture
def traced() -> Iterator[Callable[[], int]]:
    """What `sending` has allocated and not let go of, in bytes."""

    def held() -> int:
        mine = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, sending.__file__)])
        return sum(one.size for one in mine.traces)

    tracemalloc.start()
    yield held
    tracemalloc.stop()


async def test_of_a_file_nothing_is_held_for_a_client_that_reads_nothing(
    tmp_path: Path, traced: Callable[[], int]
) -> None:
    (path := tmp_path / "blob").write_bytes(data := os.urandom(4 * MIB))
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    waits = asyncio.Event()
    room = asyncio.Event()

    class Protocol(asyncio.Protocol):
        def pause_writing(self) -> None:
            room.clear()
            waits.set()

        def resume_writing(self) -> None:
            room.set()

    transport, _ = await loop.create_connection(Protocol, sock=ours)
    room.set()

    async def drain() -> None:
        await room.wait()

    with path.open("rb") as file, theirs, ThreadPoolExecutor(1) as fetchers:
        windows = Share(4 * MIB, least=MIB, most=4 * MIB)
        sending_it = asyncio.ensure_future(
            sending.send_file(
                *(transport, drain, file.fileno(), 0, len(data)),
                windows=windows,
                unsent=windows,
                fetchers=fetchers,
            )
        )
        await asyncio.wait_for(waits.wait(), 60)
        assert str(path) not in Path("/proc/self/maps").read_text()
        assert traced() < 8 << 10, "beside what the transport has to wait with"
        theirs.setblocking(False)
        received = bytearray()
        while len(received) < len(data):
            received += await asyncio.wait_for(loop.sock_recv(theirs, MIB), 60)
        assert await sending_it == len(data)
        assert received == data
        transport.close()


@both
def test_answers_that_nobody_reads_take_little_memory(start: Start, tmp_path: Path, *, tls: bool) -> None:
    pair = make(tmp_path / "pair") if tls else None
    server = start(registry={"listen": "127.0.0.1:0", **({"tls": settings(pair)} if pair else {})})
    content(server, 4 * MIB)
    context = trusting(pair) if pair else None
    assert server.get("/whole", tls=context).status == 200
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(200):
            client = stack.enter_context(connected(server, receive_bytes=4096))
            if context is not None:
                client = stack.enter_context(context.wrap_socket(client, server_hostname="127.0.0.1"))
            clients.append(client)
        # What a connection takes by itself, which of TLS is much, is not the question.
        assert server.get("/", tls=context).status == 200
        before = resident(server)
        for client in clients:
            client.sendall(GET.replace(b"/ ", b"/whole "))
        assert server.get("/", tls=context).status == 200
        assert resident(server) - before < 80 * MIB


@pytest.mark.parametrize(("path", "tls"), [(b"/file", False), (b"/bytes", False), (b"/bytes", True)])
def test_nor_does_the_kernel_keep_much_for_who_reads_nothing(
    start: Start, tmp_path: Path, path: bytes, *, tls: bool
) -> None:
    """4 MiB for each by itself, of what all connections of a machine have together."""
    pair = make(tmp_path / "pair") if tls else None
    server = start(registry={"listen": "127.0.0.1:0", **({"tls": settings(pair)} if pair else {})})
    content(server, 8 * MIB)
    context = trusting(pair) if pair else None
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            client = stack.enter_context(connected(server, receive_bytes=4096))
            if context is not None:
                client = stack.enter_context(context.wrap_socket(client, server_hostname="127.0.0.1"))
            client.sendall(GET.replace(b"/ ", path + b" "))
        # With each of these all get more that can.
        for _ in range(50):
            assert server.get("/", tls=context).status == 200
        assert 20 * MIB < unsent(server) < 300 * MIB


def unsent(server: Server) -> int:
    """The bytes that the kernel keeps for the clients of a server."""
    port = f":{urlsplit(server.urls['registry']).port:04X}"
    connections = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(int(one[4].partition(":")[0], 16) for one in connections if one[1].endswith(port))
