"""Addresses of web servers, as others write them."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

Origin = tuple[str, str | None, int]
"""Scheme, host and port: who answers."""


def web_address(url: str) -> SplitResult | None:
    """The parts of an address that may be asked; None when it is none.

    Nobody names one with credentials for us, nor one with characters that an address has not.
    """
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    sound = sound and parts.username is None and url.isascii() and url.isprintable() and " " not in url
    return parts if sound else None


def origin(parts: SplitResult) -> Origin:
    """Who answers at an address."""
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
