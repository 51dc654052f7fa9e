"""Addresses of other services, as settings name them."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator


def parse_url(text: str) -> str:
    """The text, which is such an address. Raises ValueError."""
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if sound:
        sound = parts.username is None and not (parts.query or parts.fragment)
    if not sound or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be https://, a host, and a port or path if need be, without a query")
    return text


Url = Annotated[str, AfterValidator(parse_url)]
"""`http://` or `https://`, a host, and a port or path: `https://auth.example.com/token`."""
