"""One listener served by uvicorn's protocol on the running loop: the only module that configures uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import ssl
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState

from registry.server.application import ASGIApp
from registry.server.conditions import Conditions
from registry.server.connections import LINGER_SECONDS, Exhaustion
from registry.server.listeners import BACKLOG, Listener
from registry.server.protocol import HTTPProtocol

# Whether connections speak through uvicorn's own class instead of ours; a test sets it.
STOCK = False

# Where no descriptor is left to take a connection, the kernel goes on to say that it waits.
_RETRY_SECONDS = 1.0


class Endpoint:
    """Accepts connections on a listener's sockets and hands their requests to the application.

    Of uvicorn the protocol is used, not the server: starting, signals and the way to end are this room's own.
    """

    def __init__(
        self,
        listener: Listener,
        app: ASGIApp,
        *,
        conditions: Conditions,
        exhaustion: Exhaustion,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._listener = listener
        self._tls = tls
        self._conditions = conditions
        self._exhaustion = exhaustion
        self._state = ServerState()
        self._open = False
        self._greeted: set[asyncio.Task[None] | None] = set()
        self._config = uvicorn.Config(
            cast(Any, app),
            http="httptools" if STOCK else cast(Any, partial(HTTPProtocol, conditions=conditions)),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=math.ceil(conditions.timeouts.idle_seconds),
        )
        self._config.load()

    def open(self) -> None:
        """Begin to accept connections."""
        self.tell_time()
        self._open = True
        for sock in self._listener.sockets:
            self._listen(sock)

    def tell_time(self) -> None:
        """Renew the Date that answers carry; due once a second."""
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]

    def hold_off(self) -> None:
        """Have no new connection begin at these sockets, which no other process has."""
        if self._open:
            self._listener.hold_off()

    def stop_listening(self, *, leave_queue: bool = False) -> None:
        """Take no more connections; those that wait in the kernel are taken, or left to other processes.

        Closing the last socket would reset them and lose their requests.
        """
        if self._open:
            self._open = False
            for sock in self._listener.sockets:
                asyncio.get_running_loop().remove_reader(sock)
                for _ in range(0 if leave_queue else BACKLOG):
                    if not self._accept(sock):
                        break
        self._listener.close()

    def _listen(self, sock: socket.socket) -> None:
        # Not asyncio's server: that takes as many connections in one go as the queue is long. Of processes
        # that share the socket the first to wake would have them all. Nor does it say when a handshake fails.
        if self._open:
            asyncio.get_running_loop().add_reader(sock, self._accept, sock)

    def _accept(self, sock: socket.socket) -> bool:
        """Take one connection; whether there was one."""
        try:
            taken, _ = sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            self._exhaustion.tell(error)
            loop = asyncio.get_running_loop()
            loop.remove_reader(sock)
            loop.call_later(_RETRY_SECONDS, self._listen, sock)
            return False
        connections = self._conditions.connections
        make, seconds = self._connection, self._conditions.timeouts.head_seconds
        counted = connections.admit(taken)
        if counted is None:
            make, seconds = connections.turned_away, LINGER_SECONDS
            counted = connections.refuse(taken)
        if counted is None:
            self._dismiss(taken)
        else:
            self._greeted.add(asyncio.create_task(self._greet(counted, make, seconds)))
        return True

    async def _greet(
        self, taken: socket.socket, make: Callable[[], asyncio.Protocol], handshake_seconds: float
    ) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                make,
                taken,
                ssl=self._tls,
                ssl_handshake_timeout=handshake_seconds if self._tls else None,
            )
        except OSError:
            return  # the client has left, or did not say in time what it needs for TLS
        finally:
            self._greeted.discard(asyncio.current_task())

    def _dismiss(self, taken: socket.socket) -> None:
        """Close a connection without waiting for anything, with a word if that can be understood."""
        with taken, contextlib.suppress(OSError):
            taken.setblocking(False)
            if self._tls is None:
                taken.send(self._conditions.connections.refusal)

    def expects(self, within_seconds: float) -> bool:
        """Whether a client that has just come, or has just been answered, may still be about to ask.

        Who was told that the connection ends is not: it closes with the answer.
        """
        since = asyncio.get_running_loop().time() - within_seconds
        return bool(self._greeted) or any(connection.expects(since) for connection in self._of_ours())

    def close(self) -> None:
        """Accept no more, close idle connections, and the others after the answer that they wait for."""
        self.stop_listening()
        for connection in list(self._state.connections):
            connection.shutdown()

    def break_off(self) -> None:
        """End the bodies that are still coming in, so that what has arrived of them can be kept."""
        for connection in self._of_ours():
            connection.break_off()

    @property
    def breaking_off(self) -> bool:
        """Whether such a request is not over, or its client has not read the answer."""
        return any(connection.breaking_off for connection in self._of_ours())

    @property
    def busy(self) -> bool:
        """Whether a request runs, or a finished answer still waits for its client to take it."""
        return bool(self._state.tasks) or any(
            one.transport.get_write_buffer_size() > 0 for one in self._state.connections
        )

    def _of_ours(self) -> list[HTTPProtocol]:
        return [one for one in self._state.connections if isinstance(one, HTTPProtocol)]

    def _connection(self) -> asyncio.Protocol:
        make = cast(Any, self._config.http_protocol_class)
        return cast(asyncio.Protocol, make(config=self._config, server_state=self._state, app_state={}))
