"""The first line of an answer."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus


@cache
def status_line(status: int) -> bytes:
    """`HTTP/1.1`, the code and its usual phrase."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()
