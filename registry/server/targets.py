"""What a request asks for, as the application is told it (ASGI: HTTP connection scope)."""

from __future__ import annotations

import urllib.parse

import httptools

from registry.server.application import Scope

# Offered where nothing stands between the file and the socket.
_EXTENSIONS: dict[str, dict[object, object]] = {"http.response.zerocopysend": {}}


def describe(scope: Scope, url: bytes) -> None:
    """Put the parts of the target into the scope. Raises httptools' error for what is no target."""
    target = httptools.parse_url(url)
    path = target.path.decode("ascii")
    scope["raw_path"] = target.path
    scope["path"] = urllib.parse.unquote(path) if "%" in path else path
    scope["query_string"] = target.query or b""
    if scope["scheme"] == "http":
        scope["extensions"] = _EXTENSIONS
