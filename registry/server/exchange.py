"""One request and its answer, as the application sees them: `receive` and `send`."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from uvicorn.protocols.http.flow_control import FlowControl

from registry.errors import RegistryError, document
from registry.logs import event, shortened
from registry.server.answers import headers_of, status_line
from registry.server.application import ASGIApp, ClientGone, Message, Scope, Unfinished
from registry.server.conditions import Conditions
from registry.server.sending import send_bytes, send_file

logger = logging.getLogger(__name__)

# So much of a body is read after its answer, so that a client that is still sending gets to read the answer.
LINGER_BYTES = 1 << 20
# A body up to this size goes out in one write with its head, and is copied for that.
_JOINED_BYTES = 64 << 10
# What a piece takes in memory besides its bytes, of which there may be two.
_PIECE_BYTES = 64
_WITHOUT_BODY = frozenset({204, 304})
_DISCONNECT: Message = {"type": "http.disconnect"}


class Connection(Protocol):
    """What an exchange needs of the connection that it takes place on."""

    transport: asyncio.Transport
    flow: FlowControl

    @property
    def date(self) -> list[tuple[bytes, bytes]]:
        """The headers that every answer has."""

    def taken(self) -> None:
        """What had arrived of the body was taken."""

    def answered(self) -> None:
        """The answer is complete."""


class Exchange:
    """A request that was begun, and the answer to it.

    Pieces of the body wait in a queue, which has its share of the memory for bodies; what arrived before a
    connection broke is still received. `send` raises ClientGone as soon as that is known.

    A body may break off while its client still reads: `receive` then says `http.disconnect` with an `error`,
    the answer to who sent it.
    """

    def __init__(
        self,
        connection: Connection,
        scope: Scope,
        conditions: Conditions,
        *,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        self._connection = connection
        self._scope = scope
        self._conditions = conditions
        self._share = conditions.share
        self._sharing = False
        self._expects_continue = expects_continue
        self._pieces: list[bytes] = []
        self._event: asyncio.Event | None = None
        self._told_end = False
        self._broken_off: RegistryError | None = None
        self._head: bytes | None = None
        self._chunked = False
        self._unsent = 0  # bytes that Content-Length promises
        self.held = 0  # of the memory for heads
        self.queued_bytes = 0
        self.received_bytes = 0
        self.more_body = True
        self.keep_alive = keep_alive
        self.gone = False
        self.response_started = False
        self.response_complete = False

    # What the connection says.

    def add(self, piece: bytes) -> bool:
        """Queue a piece of the body, and say whether the queue is now full."""
        if self._broken_off is not None:
            return False
        if not self._sharing:
            self._sharing = True
            self._share.__enter__()
        self._pieces.append(piece)
        self.queued_bytes += len(piece) + _PIECE_BYTES
        self.received_bytes += len(piece)
        self._wake()
        return self.queued_bytes >= self._share.bytes

    def end_body(self) -> None:
        """All of the body has arrived."""
        self.more_body = False
        self._wake()

    def break_off(self, error: RegistryError) -> None:
        """The body ends here, before it is whole, and the answer says why; no further request follows."""
        self.keep_alive = False
        if self.more_body and self._broken_off is None:
            self._broken_off = error
            self._wake()

    @property
    def breaking_off(self) -> bool:
        """Whether its body broke off, and the answer is not complete."""
        return self._broken_off is not None and not self.response_complete

    def leave(self) -> None:
        """The client has gone."""
        self.gone = True
        self._wake()
        self._stop_sharing()

    def forget(self) -> None:
        """Let go of a large head; whoever keeps this exchange as its last does not keep that."""
        if self.held:
            self.held = self._conditions.heads.change(self.held, 0)
            self._scope = {}

    # What the application says.

    async def run(self, app: ASGIApp) -> None:
        """Have the request answered; whatever goes wrong, the connection is left in order or closed."""
        try:
            await app(self._scope, self.receive, self.send)
        except (ClientGone, Unfinished):
            pass
        except Exception as error:  # noqa: BLE001 (the last resort; the application answers its own errors)
            event(
                logger, logging.ERROR, "request.failed", path=shortened(self._scope["path"]), exception=error
            )
        finally:
            self._stop_sharing()
            if not self.response_complete and not self.gone:
                await self._give_up()
            self.forget()

    async def receive(self) -> Message:
        """The next of the body; after its end, or the answer's, that the client has gone."""
        if self._expects_continue:
            self._expects_continue = False
            if not (self.gone or self._broken_off):
                self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self._pieces or self.gone or self.response_complete or self._broken_off or self._at_end()):
            await self._woken()
        if self._pieces or self._at_end():
            pieces, self._pieces = self._pieces, []
            self.queued_bytes = 0
            if self.more_body or self._broken_off:
                self._connection.taken()
            else:
                self._told_end = True
                self._stop_sharing()
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            return {"type": "http.request", "body": body, "more_body": not self._told_end}
        return _DISCONNECT if self._broken_off is None else {**_DISCONNECT, "error": self._broken_off}

    async def send(self, message: Message) -> None:
        """Send a part of the answer. Raises ClientGone."""
        await self._room()
        match message["type"]:
            case "http.response.start" if not self.response_started:
                self._start(message)
            case "http.response.body" if self.response_started and not self.response_complete:
                rest = self._send_bytes(message.get("body", b""))
                if rest:
                    await self._send_rest(rest)
                self._finish(message.get("more_body", False))
            case "http.response.zerocopysend" if self.response_started and not self.response_complete:
                await self._send_file(message["file"], message["offset"], message["count"])
                self._finish(message.get("more_body", False))
            case other:
                raise RuntimeError(f"{other} has no place here in an answer")

    # How.

    async def _room(self) -> None:
        """Wait until the connection takes more. Raises ClientGone."""
        if self._connection.flow.write_paused and not self.gone:
            await self._connection.flow.drain()
        if self.gone or self._connection.transport.is_closing():
            raise ClientGone

    def _at_end(self) -> bool:
        return not (self.more_body or self._told_end or self._broken_off)

    def _wake(self) -> None:
        if self._event is not None:
            self._event.set()

    async def _woken(self) -> None:
        if self._event is None:
            self._event = asyncio.Event()
        self._event.clear()
        await self._event.wait()

    def _stop_sharing(self) -> None:
        if self._sharing:
            self._sharing = False
            self._share.__exit__(None, None, None)

    def _start(self, message: Message) -> None:
        status: int = message["status"]
        headers = [*self._connection.date, *message.get("headers", ())]
        length = None
        for name, value in headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"connection" and value == b"close":
                self.keep_alive = False
        if self.more_body and self._unread() > LINGER_BYTES:
            self.keep_alive = False
        lines = [b"%s: %s\r\n" % header for header in headers if header[0] != b"connection"]
        if self._scope["method"] == "HEAD" or status in _WITHOUT_BODY:
            self._unsent = 0
        elif length is not None:
            self._unsent = length
        elif self._scope["http_version"] == "1.1":
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        else:
            # Its end is the connection's.
            self._unsent = -1
            self.keep_alive = False
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        head = b"".join([status_line(status), *lines, b"\r\n"])
        if head.count(b"\n") != len(lines) + 2 or head.count(b"\r") != len(lines) + 2:
            raise RuntimeError("a header of the answer has a line break in it")
        self.response_started = True
        self._head = head

    def _unread(self) -> int:
        """How much of the body the client may still send; more than is read after an answer if unknown."""
        if self._expects_continue:
            # Whether it sends the body unasked is up to the client.
            return LINGER_BYTES + 1
        for name, value in self._scope["headers"]:
            if name == b"content-length":
                return int(value) - self.received_bytes
        return LINGER_BYTES + 1

    def _send_bytes(self, body: bytes) -> bytes:
        """Send a small piece of the body, with the head if that is due; a large one is returned."""
        if self._scope["method"] == "HEAD":
            body = b""
        self._account(len(body))
        head, self._head = self._head or b"", None
        if len(body) > _JOINED_BYTES:
            self._connection.transport.write(head + b"%x\r\n" % len(body) if self._chunked else head)
            return body
        if self._chunked and body:
            body = b"%x\r\n%s\r\n" % (len(body), body)
        self._connection.transport.write(head + body)
        return b""

    async def _send_rest(self, body: bytes) -> None:
        """Send a large piece by and by, as the client takes it."""
        await send_bytes(
            self._connection.transport,
            self._room,
            body,
            unsent=self._conditions.unsent,
            slices=None if self._scope["scheme"] == "http" else self._conditions.slices,
        )
        if self._chunked:
            self._connection.transport.write(b"\r\n")

    async def _send_file(self, descriptor: int, offset: int, count: int) -> None:
        if self._scope["method"] == "HEAD":
            self._send_bytes(b"")
            return
        self._account(count)
        head, self._head = self._head, None
        if head is not None:
            self._connection.transport.write(head)
        sent = await send_file(
            self._connection.transport,
            self._room,
            descriptor,
            offset,
            count,
            windows=self._conditions.windows,
            unsent=self._conditions.unsent,
            fetchers=self._conditions.fetchers,
        )
        if sent < count:
            raise RuntimeError(f"a file ended after {sent} of {count} bytes while it was being sent")

    def _account(self, count: int) -> None:
        if self._chunked or self._unsent < 0:
            return
        if count > self._unsent:
            raise RuntimeError("the answer is longer than its Content-Length")
        self._unsent -= count

    def _finish(self, more: bool) -> None:
        if more:
            return
        if self._chunked:
            self._connection.transport.write(b"0\r\n\r\n")
        elif self._unsent > 0:
            raise RuntimeError("the answer is shorter than its Content-Length")
        self.response_complete = True
        self._wake()
        self._connection.answered()

    async def _give_up(self) -> None:
        if self.response_started:
            # The client must see that the answer is not whole.
            self.gone = True
            self._connection.transport.abort()
            return
        error = RegistryError()
        body = document(error)
        self.keep_alive = False
        self._start({"status": error.status, "headers": headers_of(error, len(body))})
        self._send_bytes(body)
        self._finish(more=False)
