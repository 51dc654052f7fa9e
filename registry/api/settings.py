"""What an operator may set about the HTTP door."""

from __future__ import annotations

import ipaddress
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from registry.settings import Settings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.username is not None or parts.query or parts.fragment or not text.isprintable():
        raise ValueError("must be http:// or https://, a host, and a port or path if need be")
    return text.rstrip("/")


def _network(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError(f"must be an address or a network like 10.0.0.0/8: {error}") from None


class CatalogSettings(Settings):
    """The list of repositories."""

    max_entries: Annotated[int, Field(ge=1, le=10_000)] = 1000


class ApiSettings(Settings):
    """How clients see the registry."""

    url: Annotated[str, AfterValidator(_url)] | None = None
    trusted_proxies: tuple[
        Annotated[Network, BeforeValidator(_network), PlainSerializer(str, return_type=str)], ...
    ] = ()
    catalog: CatalogSettings = CatalogSettings()
