"""A listener that is bound to a namespace: for clients that leave the namespace out of names, and only read.

Docker's `registry-mirrors` are such: they are asked for Docker Hub's names, as those are, and for no others.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from registry.api.calls import V2_HEADERS
from registry.api.errors import render
from registry.errors import NotFoundHere, RegistryError, Unsupported

_READS = ("GET", "HEAD")


class BoundListener:
    """`/v2/` for reading what lies in one namespace, `/auth/` where there are tokens, and health.

    `push_to` is where the registry takes pushes, as people write it.
    """

    def __init__(
        self,
        namespace: str,
        push_to: str,
        v2: ASGIApp,
        auth: Callable[[], ASGIApp | None],
        health: ASGIApp,
    ) -> None:
        self._namespace = namespace
        self._push_to = push_to
        self._v2 = v2
        self._auth = auth
        self._health = health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope["path"]
        inner: ASGIApp | None = None
        if path.startswith("/v2/") or path == "/v2":
            inner = self._v2
            error = self._refusal(path, scope["method"])
            if error is not None:
                inner = render(error, head=scope["method"] == "HEAD")
            # What names mean here is for whoever parses the path: they come back in links and challenges.
            scope["namespace"] = self._namespace
        elif path.startswith("/auth/"):
            inner = self._auth()
        await (inner or self._health)(scope, receive, send)

    def _refusal(self, path: str, method: str) -> RegistryError | None:
        if method not in _READS:
            return Unsupported(
                f"this listener is for pulling what lies below {self._namespace}/ and takes nothing;"
                f" push to {self._push_to}",
                headers={"Allow": ", ".join(_READS), **V2_HEADERS},
            )
        if path.rstrip("/") == "/v2/_catalog":
            return NotFoundHere(
                f"this listener, for what lies below {self._namespace}/, has no catalog; that of"
                f" {self._push_to} has all repositories",
                headers=dict(V2_HEADERS),
            )
        return None
