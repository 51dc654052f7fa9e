"""Clients that mean a host (`?ns=`) for which no namespace answers: what they are told besides an error.

The parameter is ignored then (dist-spec: Registry Proxying): it may be a name of ours that we do not know of,
where a client reaches us by another.
"""

from __future__ import annotations

from copy import copy
from urllib.parse import urlsplit

from starlette.requests import Request

from registry.errors import RegistryError
from registry.model.quoting import quoted

_NOT_HERE = (401, 403, 404)


def note_foreign(request: Request, host: str, url: str | None) -> None:
    """Note whom the client means, unless it is a name by which this registry is known to be reached."""
    ours = {_name(request.headers.get("host", "")), None if url is None else urlsplit(url).hostname}
    if (name := _name(host)) is not None and name not in ours:
        request.scope["foreign"] = host


def told_if_foreign(request: Request, error: RegistryError) -> RegistryError:
    """The error, saying besides that no namespace answers for the host that was meant, and what makes one."""
    host = request.scope.get("foreign")
    if host is None or error.status not in _NOT_HERE:
        return error
    # One that is remembered may be raised again, for others.
    told = copy(error)
    told.message += (
        f"; the client means {quoted(host)} (ns), for which no namespace answers (mirrors[].answers_for), so"
        " the registry's own repository of that name was looked for"
    )
    return told


def _name(host: str) -> str | None:
    """The name in a host that may have a port; None where there is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
