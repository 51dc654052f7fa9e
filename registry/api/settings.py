"""What an operator may set about the HTTP door."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from registry.settings import Network, Settings


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.username is not None or parts.query or parts.fragment or not text.isprintable():
        raise ValueError("must be http:// or https://, a host, and a port or path if need be")
    return text.rstrip("/")


class CatalogSettings(Settings):
    """The list of repositories."""

    max_entries: Annotated[int, Field(ge=1, le=10_000)] = 1000


class ApiSettings(Settings):
    """How clients see the registry."""

    url: Annotated[str, AfterValidator(_url)] | None = None
    trusted_proxies: tuple[Network, ...] = ()
    catalog: CatalogSettings = CatalogSettings()
