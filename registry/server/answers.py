"""Answers that the server gives by itself, to what never becomes a request of the application."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from http import HTTPStatus

from registry.errors import RegistryError, document


@cache
def status_line(status: int) -> bytes:
    """`HTTP/1.1`, the code and its usual phrase."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


def refusal(error: RegistryError, headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """A whole answer, after which the connection is closed."""
    body = document(error)
    lines = [
        *headers,
        (b"content-type", b"application/json"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-length", b"%d" % len(body)),
        *((name.lower().encode(), value.encode()) for name, value in error.headers.items()),
        (b"connection", b"close"),
    ]
    return b"".join([status_line(error.status), *(b"%s: %s\r\n" % line for line in lines), b"\r\n", body])
