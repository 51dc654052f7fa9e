"""A request's body as core reads it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request

from registry.api.memory import Lease
from registry.errors import RegistryError, SizeInvalid

_LENGTH_DIGITS = 19  # what 64 bits hold


class RequestBody:
    """The bytes of a request in the order of their arrival, never more of them in memory than one piece.

    A body that breaks off ends normally, with `cut_off` set: what arrived is kept where that makes sense, and
    `require_whole` has the answer for a client that still listens. Raises SizeInvalid when the body ends
    before its length otherwise.
    """

    def __init__(self, request: Request) -> None:
        self._receive = request.receive
        self.length = _length(request)
        self.cut_off = False
        self._why: RegistryError = SizeInvalid("the connection broke before the body was whole")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.cut_off = self.length is None or seen < self.length
                self._why = message.get("error", self._why)
                return
            piece = message.get("body", b"")
            if piece:
                seen += len(piece)
                yield piece
            if not message.get("more_body", False):
                if self.length is not None and seen < self.length:
                    self.cut_off = True
                    raise SizeInvalid(f"the body has {seen} bytes and Content-Length says {self.length}")
                return

    def require_whole(self) -> None:
        """Raises what the body broke off for: SizeInvalid, or Unavailable when the server is to end."""
        if self.cut_off:
            raise self._why

    async def read(self, limit: int, lease: Lease, too_large: RegistryError) -> bytes:
        """All of a small body, held by the lease.

        Raises `too_large` beyond `limit` bytes, SizeInvalid when cut off, Unavailable when the lease cannot
        be extended so far.
        """
        if self.length is not None and self.length > limit:
            raise too_large
        # Not a list: of pieces of two bytes that would be thirty times as large.
        content = bytearray()
        async for piece in self:
            if len(content) + len(piece) > limit:
                raise too_large
            lease.extend(len(content) + len(piece))
            content += piece
        self.require_whole()
        return bytes(content)


def _length(request: Request) -> int | None:
    told = request.headers.get("content-length")
    if told is not None:
        # The HTTP parser has seen to it that these are digits, but not that they are few.
        if len(told) > _LENGTH_DIGITS:
            raise SizeInvalid(f"Content-Length has {len(told)} digits; no body is that long")
        return int(told)
    return None if "transfer-encoding" in request.headers else 0
