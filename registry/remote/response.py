"""An answer of another host, whose body is read as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from urllib.parse import urlsplit

import aiohttp

from registry.remote.errors import RemoteError


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

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes of the body as they come. Raises RemoteError."""
        while True:
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
            yield piece

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body, of at most so many bytes. Raises RemoteError."""
        body = bytearray()
        async with aclosing(self.chunks()) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) > limit_bytes:
                    reason = f"it answered with more than {limit_bytes} bytes"
                    raise RemoteError(self.host, reason, "lying")
        return bytes(body)
