"""Counting connections, and turning one too many away."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from registry.server.application import Receive, Scope, Send
from registry.server.conditions import Conditions
from registry.server.connections import Connections, Exhaustion
from registry.server.endpoint import Endpoint
from registry.server.listeners import Listener
from registry.server.settings import TimeoutSettings
from tests.server.conftest import Server, Start, ask, until
from tests.server.test_protocol import GET, connected, one, rest
from tests.server.test_tls import make, settings, trusting


def taken(stack: contextlib.ExitStack) -> socket.socket:
    """One end of a connection."""
    ours, theirs = socket.socketpair()
    stack.callback(theirs.close)
    return stack.enter_context(ours)


def test_there_is_room_until_there_is_none_and_again_when_one_was_closed() -> None:
    connections = Connections(2)
    with contextlib.ExitStack() as stack:
        first, second, third = [connections.admit(taken(stack)) for _ in range(3)]
        assert first and second and third is None
        assert len(connections) == 2
        for _ in range(2):
            # That it was closed counts once.
            first.close()
        assert len(connections) == 1
        fourth, fifth = [connections.admit(taken(stack)) for _ in range(2)]
        assert fourth and fifth is None
        second.close()
        fourth.close()
    assert len(connections) == 0


def test_that_it_is_full_is_said_once_until_there_is_room(caplog: pytest.LogCaptureFixture) -> None:
    connections = Connections(10)
    with caplog.at_level(logging.WARNING), contextlib.ExitStack() as stack:
        admitted = [connections.admit(taken(stack)) for _ in range(15)]
        assert [record.message for record in caplog.records] == ["connections.full"]
        for one in admitted[:2]:
            assert one is not None
            one.close()
        admitted += [connections.admit(taken(stack)) for _ in range(5)]
        for one in filter(None, admitted):
            stack.callback(one.close)
    assert [record.message for record in caplog.records] == ["connections.full"] * 2


def test_the_refusal_is_an_answer_in_the_protocols_form() -> None:
    head, _, body = Connections(7, retry_after_seconds=9).refusal.partition(b"\r\n\r\n")
    status, *fields = head.split(b"\r\n")
    assert status.startswith(b"HTTP/1.1 503 ")
    assert {b"retry-after: 9", b"connection: close", b"content-length: %d" % len(body)} <= set(fields)
    assert b"content-type: application/json" in fields
    (error,) = json.loads(body)["errors"]
    assert error["code"] == "UNAVAILABLE" and "7 connections" in error["message"]


@contextlib.asynccontextmanager
async def refusing(connections: Connections) -> AsyncIterator[int]:
    """A server that refuses everybody, and its port; in the end nobody is left."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    endpoint = Endpoint(
        Listener("registry", "127.0.0.1:0", (listening,), ""),
        never,
        conditions=Conditions(TimeoutSettings(), connections),
        exhaustion=Exhaustion(100),
        tls=None,
    )
    endpoint.open()
    yield listening.getsockname()[1]
    while connections.refused:
        await asyncio.sleep(0)
    endpoint.close()


async def never(_: Scope, receive: Receive, send: Send) -> None:
    """An application that is not reached."""
    raise AssertionError(receive, send)


async def test_who_is_still_sending_reads_the_answer_too() -> None:
    connections = Connections(0)
    async with refusing(connections) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(writer):
            for _ in range(50):
                writer.write(b"x" * 65536)
                await writer.drain()
            assert await reader.read() == connections.refusal


@pytest.mark.timeout(30)
async def test_who_stays_is_cut_off() -> None:
    connections = Connections(0)
    async with refusing(connections) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(writer):
            assert await reader.readexactly(len(connections.refusal)) == connections.refusal
            with pytest.raises(ConnectionError):
                while True:
                    writer.write(b"x" * 65536)
                    await writer.drain()


async def test_only_so_many_are_read_on_from() -> None:
    connections = Connections(0)
    async with refusing(connections) as port, contextlib.AsyncExitStack() as stack:
        for number in range(100):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            assert await reader.readexactly(len(connections.refusal)) == connections.refusal, number
        assert connections.refused == 64


def test_that_none_are_left_is_said_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    exhaustion = Exhaustion(100, clock=lambda: now)
    with caplog.at_level(logging.WARNING):
        for now in (0.0, 1.0, 29.0, 31.0):  # noqa: B007 (the clock reads it)
            exhaustion.tell(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
    assert [record.message for record in caplog.records] == ["connections.delayed"] * 2


@contextlib.contextmanager
def silent(server: Server, count: int) -> Iterator[list[socket.socket]]:
    """So many clients of a TLS listener that say nothing."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connected(server)) for _ in range(count)]


@pytest.mark.e2e
def test_who_never_says_what_it_needs_for_tls_counts_until_it_is_cut(start: Start, tmp_path: Path) -> None:
    pair = make(tmp_path / "pair")
    trusted = trusting(pair)
    server = start(
        registry={"listen": "127.0.0.1:0", "tls": settings(pair), "max_connections": 3},
        timeouts={"head_seconds": 2.0},
        further={"mirror:hub": "127.0.0.1:0"},
    )
    with silent(server, 3) as clients:
        # Where clients connect they are bounded together.
        for listener in ("registry", "mirror:hub"):
            refused = server.get("/", listener, tls=trusted)
            assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        assert server.get("/", "ops").status == 200
        for client in clients:
            client.settimeout(30)
            assert rest(client) == b""
    # Those that were cut have made room, each for one.
    with contextlib.ExitStack() as stack:
        for status in (200, 200, 200, 503):
            connection = stack.enter_context(contextlib.closing(server.connect(tls=trusted)))
            assert ask(connection, "/").status == status
    until(lambda: server.get("/", tls=trusted).status == 200, "room again")
    assert server.get("/", "mirror:hub", tls=trusted).body.startswith(b"mirror:hub")
    assert server.urls["mirror:hub"].startswith("https://")
    assert server.end() == 0
    told = [line["event"] for line in server.log if line["level"] in ("warning", "error")]
    assert told == ["connections.full"] * 2


@pytest.mark.e2e
def test_handshakes_that_fail_leave_nothing_behind(start: Start, tmp_path: Path) -> None:
    pair = make(tmp_path / "pair")
    trusted = trusting(pair)
    server = start(
        registry={"listen": "127.0.0.1:0", "tls": settings(pair), "max_connections": 3},
        timeouts={"head_seconds": 3600.0},
    )
    for _ in range(10):
        with silent(server, 200) as clients:
            for number, client in enumerate(clients):
                # Some leave without a word, some speak plainly, and some stop in the middle.
                with contextlib.suppress(ConnectionError):
                    client.sendall((b"", GET, b"\x16\x03\x01\x02\x00\x01")[number % 3])
        until(lambda: server.get("/", tls=trusted).status == 200, "room again")
    with contextlib.ExitStack() as stack:
        for status in (200, 200, 200, 503):
            connection = stack.enter_context(contextlib.closing(server.connect(tls=trusted)))
            assert ask(connection, "/").status == status
    descriptors = Path(f"/proc/{server.process.pid}/fd")
    if descriptors.exists():
        until(lambda: len(list(descriptors.iterdir())) < 40, "every socket to be closed")
    assert not [line for line in server.log if line["level"] == "error"]
    assert server.end() == 0


@pytest.mark.e2e
def test_whoever_wants_to_connect_waits_in_line_while_the_server_is_busy(start: Start) -> None:
    server = start()
    # It takes nobody meanwhile: the kernel keeps them.
    server.process.send_signal(signal.SIGSTOP)
    with contextlib.ExitStack() as stack:
        stack.callback(server.process.send_signal, signal.SIGCONT)
        clients = [stack.enter_context(connected(server)) for _ in range(500)]
        for client in clients:
            client.sendall(GET)
        server.process.send_signal(signal.SIGCONT)
        assert [one(client)[0] for client in clients] == [200] * 500
