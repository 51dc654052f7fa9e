"""The requests in flight: who may be cancelled, and what is answered then."""

from __future__ import annotations

import asyncio
import json

import pytest

from registry.server.application import ASGIApp, Message, Receive, Scope, Send
from registry.server.requests import Requests


class Exchange:
    """One request as uvicorn would run it, in a task of its own."""

    def __init__(self, app: ASGIApp, *body: bytes) -> None:
        self.sent: list[Message] = []
        self.received = 0
        self._body = list(body)
        self.task = asyncio.ensure_future(app({"type": "http", "path": "/"}, self._receive, self._send))

    async def _receive(self) -> Message:
        self.received += 1
        piece = self._body.pop(0) if self._body else b""
        return {"type": "http.request", "body": piece, "more_body": bool(self._body)}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])


class Held:
    """An application that holds its requests until let go, and counts their ends."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        self.cleaned = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.began.set()
        try:
            await self.go.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        finally:
            # A second cancellation would strike here.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            self.cleaned += 1


async def test_requests_are_counted_while_they_run() -> None:
    requests, held = Requests(), Held()
    app = requests.around(held)
    exchanges = [Exchange(app), Exchange(app)]
    await held.began.wait()
    await asyncio.sleep(0)
    assert len(requests) == 2
    held.go.set()
    await requests.finished()
    assert len(requests) == 0
    assert [exchange.sent[0]["status"] for exchange in exchanges] == [200, 200]
    assert b"connection" not in exchanges[0].headers


async def test_told_to_hang_up_every_answer_says_so_also_those_under_way() -> None:
    requests, held = Requests(), Held()
    exchange = Exchange(requests.around(held))
    await held.began.wait()
    requests.hang_up()
    held.go.set()
    await exchange.task
    assert exchange.headers[b"connection"] == b"close"


async def test_cancelling_waits_for_clean_up_and_refuses_what_comes_after() -> None:
    requests, held = Requests(), Held()
    app = requests.around(held)
    exchange = Exchange(app, b"a", b"b", b"c")
    await held.began.wait()
    await requests.cancel()
    assert held.cleaned == 1
    await exchange.task
    late = Exchange(app)
    await late.task
    for one in (exchange, late):
        assert one.sent[0]["status"] == 503
        assert one.headers[b"retry-after"] == b"5"
        assert one.headers[b"connection"] == b"close"
        body = b"".join(message["body"] for message in one.sent[1:])
        assert int(one.headers[b"content-length"]) == len(body)
        assert json.loads(body)["errors"][0]["code"] == "UNAVAILABLE"
        assert not one.sent[-1]["more_body"]
    # What the client was still sending is read, so that it gets to read the answer.
    assert exchange.received == 3


async def test_a_client_that_never_stops_sending_is_read_only_so_far() -> None:
    requests, held = Requests(), Held()
    exchange = Exchange(requests.around(held), *[b"a" * 65536] * 100)
    await held.began.wait()
    await requests.cancel()
    assert exchange.received == 16


async def test_a_cancellation_that_is_not_ours_is_passed_on() -> None:
    requests, held = Requests(), Held()
    exchange = Exchange(requests.around(held))
    await held.began.wait()
    exchange.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange.task
    assert exchange.sent == []
    assert len(requests) == 0


async def test_a_mistake_after_the_head_sends_nothing_more() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    exchange = Exchange(Requests().around(broken))
    await exchange.task
    assert len(exchange.sent) == 1
