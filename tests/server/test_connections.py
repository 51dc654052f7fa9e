"""Counting connections, and turning one too many away."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import socket
from collections.abc import AsyncIterator

import pytest

from registry.server.connections import Connections, Exhaustion


def test_there_is_room_until_there_is_none_and_again_when_one_has_ended() -> None:
    connections = Connections(2)
    assert [connections.admit() for _ in range(3)] == [True, True, False]
    assert len(connections) == 2
    connections.release()
    assert [connections.admit() for _ in range(2)] == [True, False]


def test_that_it_is_full_is_said_once_until_there_is_room(caplog: pytest.LogCaptureFixture) -> None:
    connections = Connections(10)
    with caplog.at_level(logging.WARNING):
        for _ in range(15):
            connections.admit()
        assert [record.message for record in caplog.records] == ["connections.full"]
        for _ in range(2):
            connections.release()
        for _ in range(5):
            connections.admit()
    assert [record.message for record in caplog.records] == ["connections.full"] * 2


def test_the_refusal_is_an_answer_in_the_protocols_form() -> None:
    head, _, body = Connections(7, retry_after_seconds=9).refusal.partition(b"\r\n\r\n")
    status, *fields = head.split(b"\r\n")
    assert status.startswith(b"HTTP/1.1 503 ")
    assert {b"retry-after: 9", b"connection: close", b"content-length: %d" % len(body)} <= set(fields)
    assert b"content-type: application/json" in fields
    (error,) = json.loads(body)["errors"]
    assert error["code"] == "UNAVAILABLE" and "7 connections" in error["message"]


class Made(asyncio.Protocol):
    """What a server makes for each connection; it knows only how to refuse it."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._connections.refuse(transport)

    def data_received(self, data: bytes) -> None:
        raise AssertionError("a refused connection has another protocol")

    def connection_lost(self, exc: Exception | None) -> None:
        raise AssertionError("a refused connection has another protocol")


@contextlib.asynccontextmanager
async def refusing(connections: Connections) -> AsyncIterator[int]:
    """A server that refuses everybody, and its port."""
    server = await asyncio.get_running_loop().create_server(lambda: Made(connections), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        while connections._turned_away:
            await asyncio.sleep(0)


async def test_who_is_still_sending_reads_the_answer_too() -> None:
    connections = Connections(1)
    async with refusing(connections) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(writer):
            for _ in range(50):
                writer.write(b"x" * 65536)
                await writer.drain()
            assert await reader.read() == connections.refusal


@pytest.mark.timeout(30)
async def test_who_stays_is_cut_off() -> None:
    connections = Connections(1)
    async with refusing(connections) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(writer):
            assert await reader.readexactly(len(connections.refusal)) == connections.refusal
            with pytest.raises(ConnectionError):
                while True:
                    writer.write(b"x" * 65536)
                    await writer.drain()


async def test_only_so_many_are_read_on_from() -> None:
    connections = Connections(1)
    async with refusing(connections) as port, contextlib.AsyncExitStack() as stack:
        for number in range(100):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            assert await reader.readexactly(len(connections.refusal)) == connections.refusal, number
        assert len(connections._turned_away) <= 65


def test_that_none_are_left_is_said_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    handler = Exhaustion(100, clock=lambda: now)
    loop = asyncio.new_event_loop()
    full = {
        "message": "accept",
        "exception": OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
        "socket": None,
    }
    with caplog.at_level(logging.WARNING):
        for now in (0.0, 1.0, 29.0, 31.0):  # noqa: B007 (the clock reads it)
            handler(loop, full)
    assert [record.message for record in caplog.records] == ["connections.delayed"] * 2
    loop.close()


async def test_an_end_within_the_second_of_waiting_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(Exhaustion(100))
    with socket.socket() as listening:
        listening.setblocking(False)
    # What asyncio does when it tries again.
    loop.call_later(0, loop._start_serving, asyncio.Protocol, listening)  # type: ignore[attr-defined]
    tried = asyncio.Event()
    loop.call_later(0.01, tried.set)
    with caplog.at_level(logging.DEBUG):
        await tried.wait()
    assert [record.levelname for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_anything_else_is_an_error_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.new_event_loop()
    with caplog.at_level(logging.WARNING):
        Exhaustion(100)(loop, {"message": "something broke", "exception": ZeroDivisionError("a mistake")})
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    loop.close()
