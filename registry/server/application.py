"""What the server serves: the application's side of the door, and how it is built in a serving process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class StartFailed(Exception):
    """The server could not start; the text tells the operator why and what to do.

    An application may raise it from `build` or `start`. Any other exception there becomes one, after its
    traceback went to the log. `refused`: it could, and must not.
    """

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


class ClientGone(ConnectionError):
    """Raised by `send`: the client has left, and there is nobody to send to."""


class Unfinished(Exception):
    """Raised by an application that cannot end its answer and has told the log why: the connection breaks."""


class Application(Protocol):
    """One per serving process; every method is called on that process's event loop, each once.

    The order is `start`, `asgi` for each listener, then at the end `drain` and `stop`. A failed `start` is
    followed by nothing: it cleans up after itself.
    """

    def asgi(self, listener: str) -> ASGIApp:
        """The ASGI 3 application of a listener: `"registry"`, `"ops"`, or one that the settings have besides.

        It gets no lifespan messages.
        """

    async def start(self) -> None:
        """Opens drivers and begins background work, before the first connection is accepted."""

    async def drain(self) -> None:
        """The end was asked for: readiness fails from now on, while requests are still answered."""

    async def stop(self) -> None:
        """Every request has ended and cleaned up behind itself: end background work, close drivers."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """Names the application by `"module:attribute"` and imports it only where it is called.

    A parent of workers that holds this instead of the function itself never imports what the function needs.
    """

    path: str
    argument: object = None

    def __call__(self) -> Application:
        """Import the module and call its attribute with the argument."""
        module, _, attribute = self.path.partition(":")
        return cast(Application, getattr(import_module(module), attribute)(self.argument))
