"""Objects as they are read: small ones whole, others piece by piece for whoever is slow to take them."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import TracebackType

import aiohttp

from storage.contract import ObjectInfo
from storage.errors import InvalidRange, NotFound, StorageError, TooLarge, Unavailable
from storage.s3.answers import CHECKSUM, Headers, header, info_of, require_sum, size_of
from storage.s3.connections import Connections
from storage.s3.direct import Direct, Request
from storage.s3.errors import BehindTheEnd, Doubtful, told
from storage.s3.options import S3Options
from storage.s3.turns import attempted, pause
from storage.sharing import Share

_TRIES = 3  # of an object that is replaced whenever it is looked at


async def stat(direct: Direct, key: str) -> ObjectInfo:
    """Size and modified time, in one request."""
    return info_of(key, (await direct.ask(Request("HEAD", key))).headers)


async def get(direct: Direct, key: str, limit: int) -> bytes:
    """The whole of a small object, in one request. Raises TooLarge."""
    answer = await direct.ask(Request("GET", key, headers=_asking(direct.options)), limit=limit)
    # Also where it came to its end with the connection, which tells nothing.
    if size_of(key, answer.headers) != len(answer.body):
        raise Unavailable(key, "the store gave another number of bytes than it said")
    if CHECKSUM in answer.headers:
        require_sum(key, answer.headers, zlib.crc32(answer.body))
    return answer.body


async def get_range(direct: Direct, key: str, start: int, end: int) -> bytes:
    """The bytes from `start` to `end` (excluded), or what the store gives for them, in one request."""
    headers = {"Range": f"bytes={start}-{end - 1}"}
    try:
        return (await direct.ask(Request("GET", key, headers=headers), limit=end - start)).body
    except TooLarge as error:
        raise Unavailable(key, "the store gave more than the range that it was asked for") from error


def _asking(options: S3Options) -> dict[str, str]:
    return {"x-amz-checksum-mode": "ENABLED"} if options.checksums == "when_supported" else {}


class OpenBody:
    """An object held open for reading: one answer of the store, read as it is taken.

    When the connection breaks, or others need it while nobody reads, the rest is asked for again, and is the
    same object's or nothing.
    """

    file = None

    def __init__(
        self, key: str, start: int, end: int | None, direct: Direct, share: Share, connections: Connections
    ) -> None:
        self._key = key
        self._direct = direct
        self._share = share
        self._connections = connections
        self._connected = False
        self._response: aiohttp.ClientResponse | None = None
        self._identity = ""
        self._headers: Headers = {}
        self.info = ObjectInfo(0, datetime.fromtimestamp(0, UTC))
        self.start = start
        self.end = start if end is None else end
        self._open_end = end is None

    async def __aenter__(self) -> OpenBody:
        await self._connect()
        self._share.__enter__()
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
        checksum = 0 if self._has_checksum else None
        while at < self.end:
            self._connections.goes_on(self)
            if not self._connected:
                await self._connect()
                await self._again(at)
            try:
                piece = await self._take(min(self.end - at, self._share.bytes))
            except Doubtful as error:
                failed += 1
                if failed >= self._direct.options.attempts:
                    raise error.final() from error.__cause__
                await pause(failed)
                await self._again(at)
                continue
            failed = 0
            at += len(piece)
            if checksum is not None:
                checksum = zlib.crc32(piece, checksum)
                if at == self.end:
                    require_sum(self._key, self._headers, checksum)
            self._connections.rests(self)
            yield piece

    @property
    def _has_checksum(self) -> bool:
        """Of all that is read."""
        return CHECKSUM in self._headers and (self.start, self.end) == (0, self.info.size_bytes)

    def part_with_connection(self) -> None:
        """Close it, since others need one; the next piece is read on another."""
        self._close()
        self._connected = False

    async def _connect(self) -> None:
        await self._connections.take(self._key)
        self._connected = True

    def _leave(self) -> None:
        self._share.__exit__(None, None, None)
        self._connections.goes_on(self)
        self._close()
        if self._connected:
            self._connected = False
            self._connections.give_back()

    async def _begin(self) -> bool:
        """Ask for the range; False when the object was replaced between two looks at it."""
        if not self._open_end and self.end <= self.start:
            self._begun(await self._head(), empty=True)
            return True
        try:
            headers = await self._ask(self.start)
        except BehindTheEnd:
            headers = await self._head()
            if size_of(self._key, headers) > self.start:
                return False
            self._begun(headers, empty=True)
        else:
            self._begun(headers, empty=False)
        return True

    def _begun(self, headers: Headers, *, empty: bool) -> None:
        self.info = info_of(self._key, headers)
        size = self.info.size_bytes
        if self.start > size:
            raise InvalidRange(self._key, size)
        self._identity = header(self._key, headers, "ETag")
        self._headers = headers
        self.end = self.start if empty else size if self._open_end else min(self.end, size)

    async def _head(self) -> Headers:
        return (await self._direct.ask(Request("HEAD", self._key))).headers

    async def _ask(self, at: int) -> Headers:
        """What is said of the bytes from `at` on, which are read from now on."""
        self._close()
        asked = _asking(self._direct.options)
        if at > 0 or not self._open_end:
            asked["Range"] = f"bytes={at}-" if self._open_end else f"bytes={at}-{self.end - 1}"
        request = Request("GET", self._key, headers=asked)

        async def once() -> Headers:
            self._response = response = await self._direct.begin(request, self._share)
            if at > 0 and not response.headers.get("Content-Range", "").startswith(f"bytes {at}-"):
                raise StorageError(self._key, "the store gave another range than it was asked for")
            return response.headers

        return await attempted(self._direct.options, once)

    async def _again(self, at: int) -> None:
        """Go on from `at` on a new connection. Raises Unavailable when the object is another by now."""
        try:
            headers = await self._ask(at)
        except (BehindTheEnd, NotFound):
            headers = {}
        if headers.get("ETag") != self._identity:
            raise Unavailable(self._key, "the object was replaced or removed while it was being read")

    async def _take(self, count: int) -> bytes:
        assert self._response is not None
        with told(self._key, self._direct.options.bucket):
            piece = await self._response.content.read(count)
            if not piece:
                raise ConnectionError("the body ended early")
        return piece

    def _close(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.close()
