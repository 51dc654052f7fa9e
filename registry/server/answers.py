"""Answers that the server gives by itself, to what never becomes a request of the application."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from http import HTTPStatus

from registry.errors import RegistryError, Unavailable, document

# A browser must neither guess at an answer nor let it do anything, whoever wrote what is in it.
GUARD = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
}
_RETRY_SECONDS = 5


@cache
def status_line(status: int) -> bytes:
    """`HTTP/1.1`, the code and its usual phrase."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


def restarting() -> Unavailable:
    """The answer to what cannot be finished before the server ends."""
    return Unavailable(
        "the registry is being restarted; try again shortly", headers={"Retry-After": str(_RETRY_SECONDS)}
    )


def headers_of(error: RegistryError, size_bytes: int) -> list[tuple[bytes, bytes]]:
    """The headers of the answer that carries an error's document, which has so many bytes."""
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(size_bytes),
        **GUARD,
        **error.headers,
    }
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def refusal(error: RegistryError, headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """A whole answer, after which the connection is closed."""
    body = document(error)
    lines = [*headers, *headers_of(error, len(body)), (b"connection", b"close")]
    return b"".join([status_line(error.status), *(b"%s: %s\r\n" % line for line in lines), b"\r\n", body])
