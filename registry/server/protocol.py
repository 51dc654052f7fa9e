"""One connection: uvicorn's httptools protocol with what it lacks; the only code that touches its insides."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from registry.errors import HeadTooLarge, RegistryError, RequestInvalid, RequestTimeout, SizeInvalid
from registry.logs import event
from registry.server.answers import refusal, restarting
from registry.server.application import ASGIApp, Scope
from registry.server.conditions import Conditions
from registry.server.confirmed import confirmed_bytes
from registry.server.deadline import Deadline
from registry.server.exchange import LINGER_BYTES, Exchange
from registry.server.grammar import NOTED, TWICE, broken, unspoken, waits_to_be_asked
from registry.server.heads import HEAD_BYTES, HEADERS, Meter
from registry.server.targets import describe

logger = logging.getLogger(__name__)

LINGER_SECONDS = 2.0
_PIPELINED = 32
_PROGRESS_BYTES = 1 << 10


class HTTPProtocol(HttpToolsProtocol, asyncio.BufferedProtocol):
    """Reads requests, has them answered in their order, and waits for no client for ever."""

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], *, conditions: Conditions
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._conditions = conditions
        self._timeouts = conditions.timeouts
        self._app = cast(ASGIApp, config.loaded_app)
        self._deadline = Deadline(self.loop, self._late)
        self.headers = []
        self._exchange: Exchange | None = None  # the last one begun
        self._waiting: deque[Exchange] = deque()  # begun behind others
        self._in_head = True
        self._noted: dict[bytes, bytes] = {}  # of the head that is coming in
        self._meter = Meter(conditions.heads)
        self._body_bytes = 0  # since the deadline was last moved
        self._passed = 0  # ends of heads and of bodies
        self._refusal: RegistryError | None = None
        self._deaf = False  # what still arrives is dropped
        self._half_closed = False  # nothing more will arrive
        self._lingering = False
        self._linger_bytes = LINGER_BYTES
        self._confirmed = 0

    @property
    def date(self) -> list[tuple[bytes, bytes]]:
        """The headers that every answer has."""
        return self.server_state.default_headers

    # The transport's side.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        super().connection_made(transport)
        self._deadline.set(self._timeouts.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone, or was shown out."""
        self._deadline.close()
        self._meter.release()
        if self._exchange is not None:
            self._exchange.leave()
        for exchange in self._waiting:
            exchange.leave()
            exchange.forget()
        self._waiting.clear()
        super().connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 (asyncio's)
        """Where to read to."""
        expects_body = self._exchange is not None and self._exchange.more_body
        return self._conditions.buffer[: self._conditions.share.bytes if expects_body else HEAD_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes were read."""
        if self._deaf:
            self._drop(nbytes)
            return
        was_in_head, passed = self._in_head, self._passed
        self._meter.read(nbytes)
        try:
            self.parser.feed_data(self._conditions.buffer[:nbytes])
        except httptools.HttpParserUpgrade:
            # The parser takes what follows such a head for the other protocol, which is not spoken here.
            self._deaf = True
        except httptools.HttpParserError:
            self._refusal = self._refusal or broken(self.parser)
        if self._refusal is None:
            self._refusal = self._meter.unfinished(
                self.headers if self._in_head else None, fresh=passed != self._passed
            )
        if self._refusal is not None:
            self._refuse(self._refusal)
        elif self._in_head:
            if not self._exchange_is_over():
                self._expect()
            elif not was_in_head or passed != self._passed:
                self._deadline.set(self._timeouts.head_seconds)
        elif not self._exchange_is_over():
            # A few bytes now and then are no progress.
            self._body_bytes += nbytes
            if passed != self._passed or self.flow.read_paused or self._body_bytes >= _PROGRESS_BYTES:
                self._body_bytes = 0
                self._expect()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more; whether the connection stays, for answers: over TLS asyncio has it go."""
        exchange = self._exchange
        if exchange is None or self._exchange_is_over() or self.scheme == "https":
            return False
        self._half_closed = True
        exchange.break_off(SizeInvalid("the client stopped sending before the body was whole"))
        self._expect()
        return True

    def pause_writing(self) -> None:
        """The client does not keep up."""
        super().pause_writing()
        self._expect_room()

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        if self.transport.is_closing():
            self._expect_room()
        else:
            self._expect()

    # The parser's side.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._in_head = True
        self._meter.head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; or a trailer, which must not come to stand among the headers of a request under way."""
        if self._in_head and len(self.headers) < HEADERS:
            name = name.lower()
            if name in NOTED:
                self._noted[name] = value if name not in self._noted else TWICE
            self.headers.append((name, value))
            return
        if not self._in_head and self._meter.trailer():
            return
        self._refusal = HeadTooLarge(f"the request has more than {HEADERS} headers")
        # The parser would go on to the end of the buffer.
        raise httptools.HttpParserError

    def on_headers_complete(self) -> None:
        """A whole head."""
        self._in_head = False
        self._meter.framing_bytes = 0
        self._passed += 1
        if self._hears_no_more():
            return
        waits = not self._exchange_is_over()
        version, switching = self.parser.get_http_version(), self.parser.should_upgrade()
        noted, self._noted = self._noted, {}
        self._refusal = unspoken(version, noted, switching=switching) or self._no_room(ahead=waits)
        if self._refusal is not None:
            return
        scope = cast(Scope, self.scope)
        scope["http_version"] = version
        scope["method"] = self.parser.get_method().decode("ascii")
        describe(scope, self.url)
        self._exchange = exchange = Exchange(
            self,
            scope,
            self._conditions,
            keep_alive=version != "1.0" and not switching and self.parser.should_keep_alive(),
            expects_continue=waits_to_be_asked(version, noted),
        )
        if switching:
            exchange.end_body()
        if self._meter.held:
            # The head goes with the exchange, and does not stay while the connection is idle.
            exchange.held = self._meter.hand_over()
            self._let_go()
        if not waits:
            self._begin(exchange)
            return
        self.flow.pause_reading()
        self._waiting.append(exchange)

    def on_body(self, body: bytes) -> None:
        """A piece of a body, uncopied as the parser cut it off."""
        self._meter.piece(len(body))
        if self._hears_no_more() or self._exchange is None:
            return
        if self._lingering:
            self._drop(len(body))
        elif not self._exchange.response_complete and self._exchange.add(body):
            self.flow.pause_reading()

    def on_chunk_header(self) -> None:
        """The size of a chunk; behind that of the last stand trailers."""
        self._meter.trailers = 0

    def on_message_complete(self) -> None:
        """The end of a request."""
        self._passed += 1
        self._meter.piece(0)
        if self._hears_no_more() or self._exchange is None:
            return
        self._exchange.end_body()
        if self._lingering:
            self._lingering = False
            self._next()

    # The exchange's side.

    def taken(self) -> None:
        """There is room for more of a body."""
        if self.flow.read_paused and not self._waiting and not self._deaf:
            self.flow.resume_reading()
            self._expect()

    def answered(self) -> None:
        """Turn to the next request, or first to what is still to come of this one's body."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self._current.more_body and not self._half_closed:
            self._linger()
        else:
            self._next()

    def shutdown(self) -> None:
        """Close when idle, else after the answer."""
        if self._exchange_is_over():
            self._close()
        else:
            assert self._exchange is not None
            for exchange in (self._exchange, *self._waiting):
                exchange.keep_alive = False

    def expects(self, since: float) -> bool:
        """Whether it waits for a request, and began to later than that by the loop's clock."""
        is_over = self._exchange_is_over() and not self.transport.is_closing()
        return is_over and self._deadline.moved_at > since

    def break_off(self) -> None:
        """The server is to end: of a body that is still coming in, what has arrived is all."""
        if self._exchange is not None:
            self._exchange.break_off(restarting())

    @property
    def breaking_off(self) -> bool:
        """Whether a request has yet to answer that its body broke off, or a client to read an answer."""
        return self._lingering or (self._exchange is not None and self._exchange.breaking_off)

    # How.

    def _hears_no_more(self) -> bool:
        """Whether what the parser still finds counts for nothing: behind a close there are no requests."""
        return self._refusal is not None or self.transport.is_closing()

    def _no_room(self, *, ahead: bool) -> RegistryError | None:
        """Why the head that has come has no room here, behind others or by itself."""
        if len(self._waiting) == _PIPELINED:
            return RequestInvalid(f"more than {_PIPELINED} requests were sent ahead of their turn")
        if ahead or self._meter.may_be_large(self.headers):
            return self._meter.whole(self.url, self.headers, ahead=ahead)
        return None

    def _let_go(self) -> None:
        self.url, self.headers, self._noted, self.scope = b"", [], {}, cast(Any, None)

    def _exchange_is_over(self) -> bool:
        return self._exchange is None or self._exchange.response_complete

    def _expect(self) -> None:
        """Wait as long as befits what the connection waits for."""
        if self.flow.write_paused:
            return  # set when that began
        if self._exchange is None or self._exchange.response_complete:
            self._deadline.set(self._timeouts.idle_seconds)
        elif self._exchange.more_body and not self.flow.read_paused and not self._half_closed:
            self._deadline.set(self._timeouts.body_seconds)
        else:
            self._deadline.clear()

    def _expect_room(self) -> None:
        """Wait for the client to take some of what is sent."""
        self._confirmed = confirmed_bytes(self._socket)
        self._deadline.set(self._timeouts.send_seconds)

    @property
    def _socket(self) -> socket.socket:
        return cast(socket.socket, self.transport.get_extra_info("socket"))

    def _begin(self, exchange: Exchange) -> None:
        self._current = exchange
        task = self.loop.create_task(exchange.run(self._app))
        self.server_state.tasks.add(task)
        task.add_done_callback(self.server_state.tasks.discard)

    def _next(self) -> None:
        if not self._current.keep_alive:
            self._close()
        elif self._waiting:
            exchange = self._waiting.popleft()
            if self._refusal is not None and exchange.more_body:
                # What is wrong lies in the body of this one, which will never be whole.
                exchange.forget()
                self._refuse(self._refusal)
                return
            self._begin(exchange)
            if not self._waiting:
                self.flow.resume_reading()
        elif self._refusal is not None:
            self._refuse(self._refusal)
        else:
            self.flow.resume_reading()
            self._expect()

    def _linger(self) -> None:
        """Read on for a moment: closing a socket with unread bytes in it would take the answer with it."""
        self._lingering = True
        self._linger_bytes = LINGER_BYTES
        if not self._current.keep_alive and self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._deadline.set(LINGER_SECONDS)

    def _drop(self, count: int) -> None:
        self._linger_bytes -= count
        if self._linger_bytes < 0:
            self._close()

    def _refuse(self, error: RegistryError) -> None:
        """Say what is wrong with what was sent, when its turn has come, and hear no more."""
        self._deaf = True
        self._refusal = error
        # What was read of it shall not wait for the client to read an answer.
        self.parser = cast(Any, None)
        self._meter.release()
        self._let_go()
        if self._lingering or self.transport.is_closing():
            # The request whose body breaks off here has had its answer; a second one would be another's.
            self._close()
            return
        exchange = self._exchange
        if exchange is not None and not exchange.response_complete:
            if self._waiting or not exchange.more_body:
                # What was asked properly before is answered first.
                self.flow.pause_reading()
                return
            exchange.leave()
            if exchange.response_started:
                self._close()
                return
        self.transport.write(refusal(error, self.date))
        self._lingering = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._deadline.set(LINGER_SECONDS)
        event(logger, logging.DEBUG, "request.unreadable", reason=error.message)

    def _close(self) -> None:
        """Close when all is sent, or will not be taken."""
        if self.transport.is_closing():
            return  # of TLS a second time is the end of the transport's methods
        self.transport.close()
        self._expect_room()

    def _late(self) -> None:
        """The time is up: for whatever this connection is waiting for."""
        unsent = self.transport.get_write_buffer_size() > 0
        if unsent and confirmed_bytes(self._socket) != self._confirmed:
            self._expect_room()
        elif self._in_head and self._meter.head_bytes and self._exchange_is_over() and not self._deaf:
            self._refuse(RequestTimeout())
        elif not unsent and self._exchange_is_over():
            self.transport.close()
        else:
            stalled = "answer" if self.flow.write_paused else "body"
            event(logger, logging.INFO, "connection.cut", client=self.client, waiting_for=stalled)
            self.transport.abort()
