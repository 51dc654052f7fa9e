"""`/v2/<name>/blobs/<digest>` (dist-spec: Pulling blobs, Deleting Blobs)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from registry.api import witness
from registry.api.calls import V2_HEADERS, Call, empty
from registry.errors import BlobUnknown
from registry.model.digests import Digest
from registry.model.ranges import ByteRange, parse_range
from storage.contract import ObjectInfo, OpenObject

_TYPE = "application/octet-stream"
_ZERO_COPY = "http.response.zerocopysend"
# What is smaller goes out in one write with its head.
_COPIED_BYTES = 64 << 10


async def get(call: Call) -> Response:
    """A blob, or the ranges of it that were asked for."""
    digest = _digest(call)
    headers = {
        "Docker-Content-Digest": str(digest),
        "ETag": f'"{digest}"',
        "Cache-Control": "max-age=31536000, immutable",
        "Accept-Ranges": "bytes",
        "Content-Type": _TYPE,
    }
    assert call.name is not None
    if call.method == "HEAD":
        info = await call.repository.blob(digest, may_push=call.may("create", call.name))
        if call.is_held(digest):
            return empty(304, headers)
        return Response(headers={**headers, "Content-Length": str(info.size_bytes)})
    if call.is_held(digest):
        await call.repository.blob(digest, may_push=False)
        return empty(304, headers)
    found: ObjectInfo | None = None
    asked = call.request.headers.get("range")
    redirects = call.services.redirects
    # No store gives several ranges at once, which podman asks for to pull parts of a layer.
    single = asked is None or "," not in asked
    if redirects is not None and single and redirects.reach(call.request.scope["client_address"]):
        # After it was seen to exist: what is missing is answered by us, as an error that clients know.
        location = None
        # What has yet to come from elsewhere passes through here.
        with suppress(BlobUnknown):
            key, found = await call.repository.find_blob(digest)
            location = await redirects.location(key, found.size_bytes)
        if location is not None:
            del headers["Content-Type"]
            # It holds for a while only, and only for who may pull now.
            return empty(307, {**headers, "Cache-Control": "no-store", "Location": location})
    if asked is not None and call.request.headers.get("if-range", f'"{digest}"') == f'"{digest}"':
        if found is None:
            found = await call.repository.blob(digest, may_push=False)
        ranges = parse_range(asked, found.size_bytes)
        if ranges is not None:
            return BlobResponse(call, digest, headers, ranges, found.size_bytes)
    return BlobResponse(call, digest, headers)


async def delete(call: Call) -> Response:
    """Take a blob from the repository, if no manifest of it refers to the blob."""
    digest = _digest(call)
    async with witness.deleting(call, "blob.deleted", digest=digest):
        await call.repository.delete_blob(digest)
    return empty(202, {})


class BlobResponse(Response):
    """A blob's bytes on their way; opened before the head is sent, so that a 404 still can be."""

    def __init__(
        self,
        call: Call,
        digest: Digest,
        headers: dict[str, str],
        ranges: Sequence[ByteRange] | None = None,
        size_bytes: int = 0,
    ) -> None:
        self._repository = call.repository
        self._digest = digest
        self._head = {**headers, **V2_HEADERS, **call.namespace}
        self._ranges = ranges
        self._size = size_bytes
        self.background = None
        self.body = b""  # never in memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 (ASGI)
        """Send the whole, one range, or several as `multipart/byteranges` in the order asked for."""
        self._zero_copy = _ZERO_COPY in scope.get("extensions", ())
        if self._ranges is None:
            async with self._repository.open_blob(self._digest) as opened:
                await self._send_one(send, 200, opened)
        elif len(self._ranges) == 1:
            only = self._ranges[0]
            async with self._repository.open_blob(self._digest, only.start, only.end) as opened:
                self._head["Content-Range"] = self._content_range(only)
                await self._send_one(send, 206, opened)
        else:
            await self._send_parts(send, self._ranges)

    async def _send_one(self, send: Send, status: int, opened: OpenObject) -> None:
        await self._start(send, status, opened.end - opened.start)
        await self._send_bytes(send, opened)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_parts(self, send: Send, ranges: Sequence[ByteRange]) -> None:
        boundary = secrets.token_hex(16)
        heads = [
            f"\r\n--{boundary}\r\nContent-Type: {_TYPE}\r\nContent-Range: {self._content_range(part)}\r\n\r\n"
            for part in ranges
        ]
        tail = f"\r\n--{boundary}--\r\n"
        size = sum(part.end - part.start for part in ranges) + sum(map(len, heads)) + len(tail)
        self._head["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
        for number, (head, part) in enumerate(zip(heads, ranges, strict=True)):
            async with self._repository.open_blob(self._digest, part.start, part.end) as opened:
                if number == 0:
                    await self._start(send, 206, size)
                await send({"type": "http.response.body", "body": head.encode(), "more_body": True})
                await self._send_bytes(send, opened)
        await send({"type": "http.response.body", "body": tail.encode(), "more_body": False})

    async def _send_bytes(self, send: Send, opened: OpenObject) -> None:
        count = opened.end - opened.start
        if self._zero_copy and opened.file is not None and count > _COPIED_BYTES:
            await send(
                {
                    "type": _ZERO_COPY,
                    "file": opened.file,
                    "offset": opened.start,
                    "count": count,
                    "more_body": True,
                }
            )
            return
        async for piece in opened.chunks():
            await send({"type": "http.response.body", "body": piece, "more_body": True})

    async def _start(self, send: Send, status: int, size_bytes: int) -> None:
        headers = {**self._head, "Content-Length": str(size_bytes)}
        raw = [(key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})

    def _content_range(self, part: ByteRange) -> str:
        return f"bytes {part.start}-{part.end - 1}/{self._size}"


def _digest(call: Call) -> Digest:
    digest = Digest.parse(call.reference)
    if not digest.supported:
        raise BlobUnknown(detail={"name": call.name, "digest": str(digest)})
    return digest
