"""The requests in flight of one process: counted, told to hang up, cancelled once, and waited for."""

from __future__ import annotations

import asyncio
import logging

from registry.errors import RegistryError, document
from registry.logs import event, shortened
from registry.server.answers import headers_of, restarting
from registry.server.application import ASGIApp, ClientGone, Message, Receive, Scope, Send, Unfinished

logger = logging.getLogger(__name__)

# A client that is still sending when it is refused gets to read the answer only if we read on for a while.
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 1024 * 1024
_CLOSE = (b"connection", b"close")


class Requests:
    """Stands around the applications of all listeners, in the very task in which uvicorn runs each request.

    Uvicorn itself never gets to cancel those tasks: what it cancels it does not wait for.
    """

    def __init__(self) -> None:
        self._running: set[asyncio.Task[object]] = set()
        self._none_running = asyncio.Event()
        self._none_running.set()
        self._hanging_up = False
        self._cancelled = False

    def __len__(self) -> int:
        return len(self._running)

    def hang_up(self) -> None:
        """From now on every answer says `Connection: close`."""
        self._hanging_up = True

    async def finished(self) -> None:
        """Return when no request is in flight."""
        await self._none_running.wait()

    async def cancel(self) -> None:
        """Cancel each request once, and return when all have cleaned up; later ones are refused."""
        self._cancelled = self._hanging_up = True
        for task in self._running:
            task.cancel()
        await self.finished()

    def around(self, app: ASGIApp) -> ASGIApp:
        """The application to hand to uvicorn in place of `app`."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            started = False

            async def send_on(message: Message) -> None:
                nonlocal started
                if message["type"] == "http.response.start":
                    started = True
                    if self._hanging_up:
                        message["headers"] = [*message.get("headers", ()), _CLOSE]
                await send(message)

            task = asyncio.current_task()
            assert task is not None
            self._running.add(task)
            self._none_running.clear()
            try:
                if self._cancelled:
                    await _refuse(restarting(), receive, send)
                else:
                    await app(scope, receive, send_on)
            except asyncio.CancelledError:
                if not self._cancelled:
                    raise
                task.uncancel()
                event(
                    logger,
                    logging.WARNING,
                    "request.cancelled",
                    path=shortened(str(scope.get("path"))),
                    answered=started,
                )
                # Of an answer that has begun nothing can be said any more; uvicorn closes the connection.
                if not started:
                    await _refuse(restarting(), receive, send)
            except (ClientGone, Unfinished):
                raise
            except Exception as error:  # noqa: BLE001 (the last renderer: an answer in JSON, whatever happened)
                event(
                    logger,
                    logging.ERROR,
                    "request.failed",
                    path=shortened(str(scope.get("path"))),
                    exception=error,
                )
                if not started:
                    await _refuse(RegistryError(), receive, send)
            finally:
                self._running.discard(task)
                if not self._running:
                    self._none_running.set()

        return answer


async def _refuse(error: RegistryError, receive: Receive, send: Send) -> None:
    body = document(error)
    headers = [*headers_of(error, len(body)), _CLOSE]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    # Closing a socket that holds unread bytes resets the connection, and the answer is lost with it.
    unread = _LINGER_BYTES
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            while unread > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    break
                unread -= len(message.get("body", b""))
    except TimeoutError:
        pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})
