"""A blob on its way to somebody who stops listening."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from starlette.types import Message

from registry.api.blobs import BlobResponse
from registry.api.calls import Call
from registry.model.digests import Digest
from registry.model.ranges import ByteRange
from tests.inmemory import World

MIB = 1 << 20
CONTENT = bytes(16 * MIB)


class Client:
    """Takes so many messages, then is gone; None: stays to the end."""

    def __init__(self, takes: int | None) -> None:
        self._takes = takes
        self._gone = asyncio.Event()
        self.asked = False
        self.sent = 0

    async def receive(self) -> Message:
        if not self.asked:
            self.asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent += len(message.get("body", b""))
        if self._takes is not None:
            self._takes -= 1
            if self._takes == 0:
                self._gone.set()
        await asyncio.sleep(0)


async def answer(client: Client, size: int, ranges: list[ByteRange] | None = None) -> None:
    world = World()
    digest = Digest.of(CONTENT[:size])
    await world.blob(CONTENT[:size])

    class FakeCall:
        repository = world.repository()

    response = BlobResponse(cast(Call, FakeCall()), digest, {}, ranges, size)
    scope: dict[str, Any] = {"type": "http", "method": "GET"}
    await response(scope, client.receive, client.send)
    assert len(asyncio.all_tasks()) == 1


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
    await answer(leaving, len(CONTENT), ranges)
    await answer(staying, len(CONTENT), ranges)
    assert leaving.sent <= 6 * MIB
    assert staying.sent >= len(CONTENT)


async def test_a_small_blob_is_sent_without_looking() -> None:
    client = Client(takes=None)
    await answer(client, MIB)
    assert (client.sent, client.asked) == (MIB, False)
