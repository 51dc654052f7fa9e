"""Objects as they are read: small ones whole, others piece by piece for whoever is slow to take them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any

from storage.contract import ObjectInfo
from storage.errors import InvalidRange, NotFound, StorageError, TooLarge, Unavailable
from storage.s3.clients import Lane
from storage.s3.connections import Connections
from storage.s3.errors import BehindTheEnd, Doubtful
from storage.sharing import Share

_TRIES = 3  # of an object that is replaced whenever it is looked at


def info_of(answer: dict[str, Any]) -> ObjectInfo:
    """Size of the whole object and modified time, from what HEAD or GET answers."""
    return ObjectInfo(_size_of(answer), answer["LastModified"].astimezone(UTC))


def get(lane: Lane, key: str, limit: int) -> bytes:
    """The whole of a small object, in one request; from a thread. Raises TooLarge, and what boto3 does."""
    answer = lane.ask("get_object", key)
    body = answer["Body"]
    try:
        size = int(answer["ContentLength"])
        if size > limit:
            raise TooLarge(key, f"the object has {size} bytes, more than the {limit} asked for")
        data: bytes = body.read()
        return data
    finally:
        body.close()


class OpenBody:
    """An object held open for reading: one answer of the store, read in short hops to a thread.

    No thread waits for the one who reads. When the connection breaks, or others need it while nobody reads,
    the rest is asked for again, and is the same object's or nothing.
    """

    file = None

    def __init__(
        self, key: str, start: int, end: int | None, lane: Lane, share: Share, connections: Connections
    ) -> None:
        self._key = key
        self._lane = lane
        self._share = share
        self._connections = connections
        self._connected = False
        self._body: Any = None
        self._identity = ""
        self.info = ObjectInfo(0, datetime.fromtimestamp(0, UTC))
        self.start = start
        self.end = start if end is None else end
        self._open_end = end is None

    async def __aenter__(self) -> OpenBody:
        await self._connect()
        try:
            for _ in range(_TRIES):
                if await self._begin():
                    self._connections.rests(self)
                    return self
            raise Unavailable(self._key, "the object is replaced by others all the time")
        except BaseException:
            self._leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of the range; the more readers there are, the smaller the pieces."""
        at = self.start
        failed = 0
        with self._share as share:
            while at < self.end:
                self._connections.goes_on(self)
                if not self._connected:
                    await self._connect()
                    await self._again(at)
                try:
                    take = partial(self._take, min(share.bytes, self.end - at))
                    piece = await self._lane.once(self._key, take, self._interrupt)
                except Doubtful as error:
                    failed += 1
                    if failed >= self._lane.options.attempts:
                        raise error.final() from error.__cause__
                    await self._lane.pause(failed)
                    await self._again(at)
                    continue
                failed = 0
                at += len(piece)
                self._connections.rests(self)
                yield piece

    def part_with_connection(self) -> None:
        """Close it, since others need one; the next piece is read on another."""
        self._close()
        self._connected = False

    async def _connect(self) -> None:
        await self._connections.take(self._key)
        self._connected = True

    def _leave(self) -> None:
        self._connections.goes_on(self)
        self._close()
        if self._connected:
            self._connected = False
            self._connections.give_back()

    async def _begin(self) -> bool:
        """Ask for the range; False when the object was replaced between two looks at it."""
        if not self._open_end and self.end <= self.start:
            answer = await self._lane.call("head_object", self._key)
            self._begun(answer, empty=True)
            return True
        try:
            answer = await self._ask(self.start)
        except BehindTheEnd:
            answer = await self._lane.call("head_object", self._key)
            if _size_of(answer) > self.start:
                return False
            self._begun(answer, empty=True)
        else:
            self._begun(answer, empty=False)
        return True

    def _begun(self, answer: dict[str, Any], *, empty: bool) -> None:
        self.info = info_of(answer)
        size = self.info.size_bytes
        if self.start > size:
            raise InvalidRange(self._key, size)
        self._identity = answer["ETag"]
        self.end = self.start if empty else size if self._open_end else min(self.end, size)

    async def _ask(self, at: int) -> dict[str, Any]:
        """The answer for what is from `at` on, whose body is the one that is read now."""
        self._close()
        asked: dict[str, Any] = {}
        if at > 0 or not self._open_end:
            asked["Range"] = f"bytes={at}-" if self._open_end else f"bytes={at}-{self.end - 1}"

        def ask() -> dict[str, Any]:
            answer = self._lane.ask("get_object", self._key, **asked)
            self._body = answer["Body"]
            if at > 0 and not str(answer.get("ContentRange", "")).startswith(f"bytes {at}-"):
                raise StorageError(self._key, "the store gave another range than it was asked for")
            return answer

        return await self._lane.run(self._key, ask)

    async def _again(self, at: int) -> None:
        """Go on from `at` on a new connection. Raises Unavailable when the object is another by now."""
        try:
            answer = await self._ask(at)
        except (BehindTheEnd, NotFound):
            answer = {}
        if answer.get("ETag") != self._identity:
            raise Unavailable(self._key, "the object was replaced or removed while it was being read")

    def _take(self, count: int) -> bytes:
        piece: bytes = self._body.read(count)
        if not piece:
            raise ConnectionError("the body ended early")
        return piece

    def _interrupt(self) -> None:
        """End the read that a thread is waiting in."""
        # Of urllib3; not where the answer has ended already.
        with suppress(RuntimeError, ValueError, OSError):
            self._body._raw_stream.shutdown()  # noqa: SLF001 - it has no other way out

    def _close(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()


def _size_of(answer: dict[str, Any]) -> int:
    """The size of the whole object, which the answer to a range has behind the slash."""
    whole = str(answer.get("ContentRange", "")).rpartition("/")[2]
    return int(whole if whole.isdecimal() else answer["ContentLength"])
