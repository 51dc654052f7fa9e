"""A blob on its way to somebody who stops listening."""

from __future__ import annotations

import os
from typing import Any, ClassVar, cast

import pytest
from starlette.types import Message

from registry.api.blobs import BlobResponse
from registry.api.calls import Call
from registry.model.digests import Digest
from registry.model.ranges import ByteRange
from registry.server.application import ClientGone
from tests.inmemory import World

MIB = 1 << 20
CONTENT = bytes(16 * MIB)


class Client:
    """Takes so many messages, then is gone; None: stays to the end."""

    def __init__(self, takes: int | None) -> None:
        self._takes = takes
        self.files: list[Message] = []
        self.sent = 0

    async def receive(self) -> Message:
        raise AssertionError("an answer with a body asks for nothing")

    async def send(self, message: Message) -> None:
        if self._takes is not None:
            if self._takes == 0:
                raise ClientGone
            self._takes -= 1
        if message["type"] == "http.response.zerocopysend":
            self.files.append(message)
            os.lseek(message["file"], 0, os.SEEK_CUR)
        self.sent += len(message.get("body", b"")) + message.get("count", 0)


async def answer(client: Client, world: World, size: int, ranges: list[ByteRange] | None = None) -> None:
    digest = Digest.of(CONTENT[:size])
    await world.blob(CONTENT[:size])

    class FakeCall:
        repository = world.repository()
        namespace: ClassVar[dict[str, str]] = {}

    response = BlobResponse(cast(Call, FakeCall()), digest, {}, ranges, size)
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "extensions": {"http.response.zerocopysend": {}},
    }
    await response(scope, client.receive, client.send)


@pytest.mark.parametrize(
    "ranges",
    [
        None,
        [ByteRange(0, 16 * MIB)],
        [ByteRange(0, 8 * MIB), ByteRange(8 * MIB, 16 * MIB)],
    ],
    ids=["whole", "one", "parts"],
)
async def test_nothing_more_is_read_for_a_client_that_has_gone(ranges: list[ByteRange] | None) -> None:
    leaving, staying = Client(takes=4), Client(takes=None)
    with pytest.raises(ClientGone):
        await answer(leaving, World(), len(CONTENT), ranges)
    await answer(staying, World(), len(CONTENT), ranges)
    assert leaving.sent <= 6 * MIB
    assert staying.sent >= len(CONTENT)
