"""A body that the HTTP server cuts short."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.types import Message

from registry.api.bodies import RequestBody
from registry.errors import SizeInvalid, Unavailable


def body(length: str, *messages: Message) -> RequestBody:
    left = list(messages)

    async def receive() -> Message:
        return left.pop(0)

    headers = [(b"content-length", length.encode())]
    return RequestBody(Request({"type": "http", "headers": headers}, receive))


def piece(data: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


async def test_a_body_that_ends_before_its_length_is_not_whole() -> None:
    short = body("5", piece(b"ab", more=True), piece(b"c", more=False))
    with pytest.raises(SizeInvalid):
        [_ async for _ in short]
    assert short.cut_off
    whole = body("3", piece(b"ab", more=True), piece(b"c", more=False))
    assert [one async for one in whole] == [b"ab", b"c"]
    assert not whole.cut_off


async def test_who_disconnects_ends_the_body_as_one_that_is_not_whole() -> None:
    cut = body("5", piece(b"ab", more=True), {"type": "http.disconnect"})
    assert [one async for one in cut] == [b"ab"]
    assert cut.cut_off
    with pytest.raises(SizeInvalid):
        cut.require_whole()


async def test_the_server_says_why_a_body_broke_off() -> None:
    why = Unavailable("restarting")
    cut = body("5", piece(b"ab", more=True), {"type": "http.disconnect", "error": why})
    assert [one async for one in cut] == [b"ab"]
    with pytest.raises(Unavailable) as raised:
        cut.require_whole()
    assert raised.value is why


@pytest.mark.parametrize("length", ["1" * 5000, "0" * 5000, "1" * 20])
def test_no_length_is_that_long(length: str) -> None:
    with pytest.raises(SizeInvalid):
        body(length)
