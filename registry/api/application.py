"""The listeners' ASGI applications: what lies where."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from registry.access.audit import Audit
from registry.api.errors import render
from registry.api.operations import PREFIX
from registry.api.witness import note_refusal
from registry.errors import Denied, NameInvalid, RegistryError

# Tells why a request may not be asked from here, by its Host and Origin headers; None when it may.
Guard = Callable[[str | None, str | None], str | None]


class Guarded:
    """Turns away what names two hosts, and with a guard what a web page sent through a rebound name.

    Its answers have `headers`, which those of `inner` have anyway.
    """

    def __init__(
        self,
        inner: ASGIApp,
        guard: Guard | None,
        audit: Audit,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._inner = inner
        self._guard = guard
        self._audit = audit
        self._headers = headers or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        error = self._refusal(scope)
        if error is None:
            await self._inner(scope, receive, send)
        else:
            note_refusal(self._audit, scope, error)
            error.headers.update(self._headers)
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
    """`/v2/` and `/api/v1/`, `/auth/` where there are tokens (`auth` gives None elsewhere), and health."""

    def __init__(
        self, v2: ASGIApp, api: ASGIApp, auth: Callable[[], ASGIApp | None], health: ASGIApp
    ) -> None:
        self._v2 = v2
        self._api = api
        self._auth = auth
        self._health = health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope["path"]
        inner: ASGIApp | None = None
        if path.startswith("/v2/") or path == "/v2":
            inner = self._v2
        elif path.startswith("/auth/"):
            inner = self._auth()
        elif path.startswith(f"{PREFIX}/") or path == PREFIX:
            inner = self._api
        await (inner or self._health)(scope, receive, send)
