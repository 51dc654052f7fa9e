"""A stream of unknown length on its way into one object: in one request when it is short, else in parts."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterable, Sequence

from storage.contract import Check
from storage.errors import AlreadyExists
from storage.s3.lanes import Lane
from storage.s3.room import Room
from storage.s3.turns import ended
from storage.s3.uploads import PartsUpload
from storage.s3.writing import lies_there, put
from storage.sharing import Share

_GATHERED_PIECES = 512


class Stream:
    """Gathers parts in memory, at most two at a time, and sends one while the next comes in.

    What is gathered beyond a first piece takes from `room`. Where there is none, a part that may be sent
    already is sent as it is, and then the stream waits.
    """

    def __init__(self, lane: Lane, key: str, room: Room, check: Check | None, *, if_absent: bool) -> None:
        self._lane = lane
        self._options = lane.options
        self._key = key
        self._room = room
        self._check = check
        self._if_absent = if_absent
        self._sums = hashlib.sha256() if if_absent else None
        self._upload = PartsUpload(lane, key)
        self._begun = False
        self._number = 0
        self._part = bytearray()
        self._held = 0  # bytes taken from the room and not in a part that is being sent
        self._sending: asyncio.Task[None] | None = None
        self.size_bytes = 0

    async def write(self, chunks: AsyncIterable[bytes], share: Share) -> int:
        """All of the stream into the object; its size. What fails leaves nothing."""
        try:
            pieces: list[bytes] = []
            gathered = 0
            with share:
                async for piece in chunks:
                    pieces.append(piece)
                    gathered += len(piece)
                    if gathered >= share.bytes or len(pieces) >= _GATHERED_PIECES:
                        await self._take_in(pieces, gathered)
                        pieces, gathered = [], 0
            await self._finish(pieces)
        except BaseException:
            await self._abandon()
            raise
        finally:
            self._room.give(self._held)
            self._room.sent(self._part)
        return self.size_bytes

    async def _take_in(self, pieces: Sequence[bytes], count: int) -> None:
        if not self._room.take(count):
            if len(self._part) >= self._options.least_part_bytes:
                await self._send(len(self._part))
            await self._room.wait(self._key, self._part, count)
        self._held += count
        await self._lane.threads.run(self._append, pieces)
        while len(self._part) >= self._options.part_bytes:
            await self._send(self._options.part_bytes)

    async def _finish(self, pieces: Sequence[bytes]) -> None:
        await self._lane.threads.run(self._append_last, pieces)
        if not self._begun:
            await put(self._lane.direct, self._key, self._part, if_absent=self._if_absent)
            return
        if self._part:
            await self._send(len(self._part))
        await self._sent()
        try:
            await self._upload.complete(if_absent=self._if_absent)
        except AlreadyExists:
            assert self._sums is not None
            if not await lies_there(self._lane.direct, self._key, self.size_bytes, self._sums.digest()):
                raise
            await self._lane.threads.run_always(self._upload.abort)

    def _append(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            if self._check is not None:
                self._check.update(piece)
            if self._sums is not None:
                self._sums.update(piece)
            self._part += piece
            self.size_bytes += len(piece)

    def _append_last(self, pieces: Sequence[bytes]) -> None:
        self._append(pieces)
        if self._check is not None:
            self._check.finish()

    async def _send(self, count: int) -> None:
        """Send the first `count` bytes of what is gathered, when the part before has been sent."""
        await self._sent()
        if not self._begun:
            await self._upload.begin()
            self._begun = True
        self._number += 1
        data, self._part = self._part, self._part[count:]
        del data[count:]
        held = min(self._held, count)
        self._held -= held
        self._sending = asyncio.create_task(self._upload.put_part(self._number, data))
        # Behind it and not in it: whoever is cancelled at once does not even begin.
        self._sending.add_done_callback(lambda _: self._give_back(data, held))

    def _give_back(self, part: bytearray, held: int) -> None:
        self._room.give(held)
        self._room.sent(part)

    async def _sent(self) -> None:
        task, self._sending = self._sending, None
        if task is None:
            return
        try:
            await task
        except BaseException:
            await ended(task)
            raise

    async def _abandon(self) -> None:
        """Wait for the part that is being sent, then leave nothing."""
        if self._sending is not None:
            self._sending.cancel()
            await ended(self._sending)
        await self._lane.threads.run_always(self._upload.abort)
