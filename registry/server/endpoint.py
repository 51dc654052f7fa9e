"""One listener served by uvicorn's protocol on the running loop: the only module that configures uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import ssl
from email.utils import formatdate
from functools import partial
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState

from registry.server.application import ASGIApp
from registry.server.conditions import Conditions
from registry.server.listeners import BACKLOG, Listener
from registry.server.protocol import HTTPProtocol

# Whether connections speak through uvicorn's own class instead of ours; a test sets it.
STOCK = False


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
        tls: ssl.SSLContext | None,
    ) -> None:
        self._listener = listener
        self._tls = tls
        self._head_seconds = conditions.timeouts.head_seconds
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []
        self._deaf = False
        self._taken: list[asyncio.Task[None]] = []
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

    async def open(self) -> None:
        """Begin to accept connections."""
        self.tell_time()
        loop = asyncio.get_running_loop()
        for sock in self._listener.sockets:
            # asyncio accepts as many connections in one go as the backlog is long. Of processes that share
            # the socket the first to wake would take them all; and where no descriptor is left it would try
            # as often, and set as many timers to try again. So one at a time, and a long queue again after.
            server = await loop.create_server(
                self._connection,
                sock=sock,
                ssl=self._tls,
                ssl_handshake_timeout=self._head_seconds if self._tls else None,
                backlog=1,
            )
            sock.listen(BACKLOG)
            self._servers.append(server)

    def tell_time(self) -> None:
        """Renew the Date that answers carry; due once a second."""
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]

    def stop_listening(self, *, leave_queue: bool = False) -> None:
        """Take no more connections; those that wait in the kernel are taken, or left to other processes.

        Closing the last socket would reset them and lose their requests. Nor is asyncio's server closed,
        which would make no transport any more for a connection that it has accepted in this turn of the loop.
        """
        loop = asyncio.get_running_loop()
        for sock in self._listener.sockets if self._servers and not self._deaf else ():
            loop.remove_reader(sock)
            if leave_queue:
                continue
            with contextlib.suppress(OSError):
                for _ in range(BACKLOG):
                    self._taken.append(loop.create_task(self._take(sock.accept()[0])))
        self._deaf = True
        self._listener.close()

    async def _take(self, taken: socket.socket) -> None:
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                self._connection,
                taken,
                ssl=self._tls,
                ssl_handshake_timeout=self._head_seconds if self._tls else None,
            )

    def close(self) -> None:
        """Accept no more, close idle connections, and the others after the answer that they wait for."""
        self.stop_listening()
        for connection in list(self._state.connections):
            connection.shutdown()

    @property
    def busy(self) -> bool:
        """Whether a request runs, or a finished answer still waits for its client to take it."""
        return bool(self._state.tasks) or any(
            one.transport.get_write_buffer_size() > 0 for one in self._state.connections
        )

    def _connection(self) -> asyncio.Protocol:
        make = cast(Any, self._config.http_protocol_class)
        return cast(asyncio.Protocol, make(config=self._config, server_state=self._state, app_state={}))
