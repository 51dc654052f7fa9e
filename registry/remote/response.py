"""An answer of another host, whose body is read as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from registry.remote.errors import RemoteError

# What brings less holds its place, and those who wait for it, for days.
_LEAST_BYTES_PER_SECOND = 1024
# What is taken from a socket at once: asyncio would take half as much, and each piece has its price.
_PIECE_BYTES = 512 << 10
# It is looked at how much came after so many times the wait that is too long for a single byte.
_WAITS = 4


class Response:
    """An answer of which the head is there: from `url`, where redirects ended; names of `headers` are in
    lower case, and of several lines of one name the values are joined with `, `.
    """

    def __init__(self, got: aiohttp.ClientResponse, url: str, stall_seconds: float) -> None:
        self.status = got.status
        self.url = url
        self.host = urlsplit(url).netloc
        self.headers: dict[str, str] = {}
        for name, value in got.headers.items():
            before = self.headers.get(name.lower())
            self.headers[name.lower()] = value if before is None else f"{before}, {value}"
        self._got = got
        self._stall_seconds = stall_seconds
        # None when all has come already; one that decrypts takes no notice.
        transport: Any = got.connection and got.connection.transport
        if transport is not None:
            transport.max_size = _PIECE_BYTES

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes of the body as they come, if they come at a kibibyte a second. Raises RemoteError.

        Only the time counts in which they are waited for.
        """
        clock = asyncio.get_running_loop().time
        window = _WAITS * self._stall_seconds
        left, came = window, 0
        while True:
            began = clock()
            try:
                async with asyncio.timeout(self._stall_seconds):
                    piece = await self._got.content.readany()
            except TimeoutError:
                reason = f"it sent nothing for {self._stall_seconds:g} s"
                raise RemoteError(self.host, reason, "slow") from None
            except aiohttp.ClientError:
                raise RemoteError(self.host, "the connection broke", "unreachable") from None
            if not piece:
                return
            left -= clock() - began
            came += len(piece)
            if left <= 0:
                if came < _LEAST_BYTES_PER_SECOND * window:
                    raise RemoteError(self.host, f"it sent {came} bytes in {window:g} s", "slow")
                left, came = window, 0
            yield piece

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body: at most so many bytes, in four times `stall_seconds`. Raises RemoteError."""
        body = bytearray()
        most_seconds = _WAITS * self._stall_seconds
        try:
            async with asyncio.timeout(most_seconds), aclosing(self.chunks()) as pieces:
                async for piece in pieces:
                    body += piece
                    if len(body) > limit_bytes:
                        reason = f"it answered with more than {limit_bytes} bytes"
                        raise RemoteError(self.host, reason, "lying")
        except TimeoutError as error:
            reason = f"it sent {len(body)} bytes in {most_seconds:g} s, and there are more"
            raise RemoteError(self.host, reason, "slow") from error
        return bytes(body)
