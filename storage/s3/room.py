"""The memory that the parts of all uploads of a process may take together."""

from __future__ import annotations

import asyncio
from collections import deque

from storage.errors import Unavailable

_Turn = tuple[object, int, asyncio.Future[None]]


class Room:
    """`total_bytes` for all; who finds none waits in turn, for `patience_seconds` at most.

    The last `reserve_bytes` are for one holder at a time, who can fill a part with them and send it: without
    that all could wait for each other, each with half a part.
    """

    def __init__(self, total_bytes: int, reserve_bytes: int, patience_seconds: float) -> None:
        self._total = total_bytes - reserve_bytes
        self._patience = patience_seconds
        self._waiting: deque[_Turn] = deque()
        self._favoured: object = None
        self.used_bytes = 0

    def take(self, count: int) -> bool:
        """Whether there was room for `count` bytes, which are taken then."""
        if self._waiting or not self._fits(count):
            return False
        self.used_bytes += count
        return True

    async def wait(self, key: str, holder: object, count: int) -> None:
        """Take `count` bytes, when others have given so many back or it is the holder's turn to end.

        Raises Unavailable.
        """
        if holder is self._favoured:
            self.used_bytes += count
            return
        if self.take(count):
            return
        turn: _Turn = (holder, count, asyncio.get_running_loop().create_future())
        self._waiting.append(turn)
        self._call()
        try:
            async with asyncio.timeout(self._patience):
                await turn[2]
        except BaseException as error:
            if turn in self._waiting:
                self._waiting.remove(turn)
                self._call()
            else:
                self.give(count)
                self.sent(holder)
            if isinstance(error, TimeoutError):
                message = "no room in memory for what is pushed (storage.s3.part_buffer_bytes)"
                raise Unavailable(key, message) from None
            raise

    def give(self, count: int) -> None:
        """Give back `count` bytes."""
        self.used_bytes -= count
        self._call()

    def sent(self, holder: object) -> None:
        """Say that the holder has sent what it had gathered, or has given it up."""
        if holder is self._favoured:
            self._favoured = None
            self._call()

    def _call(self) -> None:
        """Let in those whose turn it is."""
        while self._waiting:
            holder, count, turn = self._waiting[0]
            if not self._fits(count):
                if self._favoured is not None:
                    return
                self._favoured = holder
            self._waiting.popleft()
            self.used_bytes += count
            if not turn.done():
                turn.set_result(None)

    def _fits(self, count: int) -> bool:
        return self.used_bytes + count <= self._total
