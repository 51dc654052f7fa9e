"""Which proxy is asked to connect to a host, by the rules that clients of registries share."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Self
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from registry.remote.settings import EgressSettings


class Proxies:
    """The proxy for each scheme, and which hosts are asked without one.

    `exempt` are hosts and the domains below them, `.domains` alone, addresses, networks, each with `:port` if
    need be, or `*` for all. This machine itself is never asked through a proxy.
    """

    def __init__(self, http: str | None = None, https: str | None = None, exempt: Sequence[str] = ()) -> None:
        self._proxies = {"http": http, "https": https}
        self._exempt = tuple(entry for one in exempt if (entry := one.strip().lower()))

    @classmethod
    def of(cls, settings: EgressSettings, environ: Mapping[str, str]) -> Self:
        """As the settings have it, and what they leave open as HTTP_PROXY, HTTPS_PROXY and NO_PROXY do."""
        exempt = settings.no_proxy
        if exempt is None:
            exempt = tuple((_variable(environ, "NO_PROXY") or "").split(","))
        if settings.proxy is not None:
            proxy = settings.proxy.reveal()
            return cls(proxy, proxy, exempt)
        return cls(_variable(environ, "HTTP_PROXY"), _variable(environ, "HTTPS_PROXY"), exempt)

    def find(self, parts: SplitResult) -> str | None:
        """The address of the proxy to ask for what lies at an address; None when there is none.

        Raises ValueError when what is said to be one cannot be.
        """
        proxy = self._proxies.get(parts.scheme)
        if not proxy or self._is_exempt(parts):
            return None
        return proxy_address(proxy)

    def _is_exempt(self, parts: SplitResult) -> bool:
        host = (parts.hostname or "").rstrip(".")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = _address(host)
        if host == "localhost" or (address is not None and address.is_loopback):
            return True
        return any(_covers(entry, host, address, port) for entry in self._exempt)


def proxy_address(text: str) -> str:
    """The address of a proxy, with `http://` in front if nothing is.

    Raises ValueError for anything but `http://`, a host, a port, and a name and a password if need be.
    """
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        sound = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.path not in ("", "/") or parts.query or not url.isascii() or not url.isprintable():
        raise ValueError("must be http:// and the host of a proxy, like http://proxy.example:3128")
    return url


def _covers(
    entry: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int
) -> bool:
    """Whether an exemption is for a host."""
    if entry == "*":
        return True
    if address is not None:
        with suppress(ValueError):
            return address in ipaddress.ip_network(entry, strict=False)
    name, colon, told = entry.rpartition(":")
    if colon and told.isdigit():
        if int(told) != port:
            return False
        entry = name
    entry = entry.removeprefix("*").strip("[]")
    return host == entry or host.endswith(entry if entry.startswith(".") else f".{entry}")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _variable(environ: Mapping[str, str], name: str) -> str | None:
    return environ.get(name) or environ.get(name.lower()) or None
