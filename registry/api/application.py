"""The listeners' ASGI applications: what lies where."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from registry.api.errors import render
from registry.errors import Denied, NameInvalid, RegistryError

# Tells why a request may not be asked from here, by its Host and Origin headers; None when it may.
Guard = Callable[[str | None, str | None], str | None]


class Guarded:
    """Turns away what names two hosts, and with a guard what a web page sent through a rebound name."""

    def __init__(self, inner: ASGIApp, guard: Guard | None) -> None:
        self._inner = inner
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        error = self._refusal(scope)
        if error is None:
            await self._inner(scope, receive, send)
        else:
            await render(error, head=scope["method"] == "HEAD")(scope, receive, send)

    def _refusal(self, scope: Scope) -> RegistryError | None:
        host: str | None = None
        origin: str | None = None
        for name, value in scope["headers"]:
            if name == b"host":
                if host is not None:
                    return NameInvalid("the request has more than one Host header")
                host = value.decode("latin-1")
            elif name == b"origin" and origin is None:
                origin = value.decode("latin-1")
        if self._guard is None:
            return None
        refusal = self._guard(host, origin)
        return None if refusal is None else Denied(refusal)


class RegistryListener:
    """`/v2/`, and health beside it."""

    def __init__(self, v2: ASGIApp, health: ASGIApp) -> None:
        self._v2 = v2
        self._health = health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope["path"]
        inner = self._v2 if path.startswith("/v2/") or path == "/v2" else self._health
        await inner(scope, receive, send)
