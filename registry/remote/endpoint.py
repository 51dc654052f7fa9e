"""Which other registry is asked, and who we are there."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from registry.remote.urls import web_address

# Registries whose token service is known to be on another host.
_REALMS = {"registry-1.docker.io": ("auth.docker.io",)}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Another registry; its address may have a path in front of `/v2/`.

    `realms` are further hosts, with a port if need be, whose token service may be asked and be sent the
    credentials. Raises ValueError.
    """

    url: str
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    realms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        own = web_address(self.url)
        if own is None or own.query or own.fragment:
            raise ValueError("the address of a registry is https:// and a host, without a query")
        for name in self.realms:
            realm = web_address(f"https://{name}")
            if realm is None or realm.netloc != name:
                raise ValueError("a realm is a host, like auth.example or auth.example:5000")

    @property
    def host(self) -> str:
        """The host, as errors name it."""
        return urlsplit(self.url).netloc

    @property
    def basic(self) -> str | None:
        """The header of whoever has a name and a password."""
        if self.username is None or self.password is None:
            return None
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    def trusts(self, realm: SplitResult) -> bool:
        """Whether a token service may be asked: it is on the registry's own host or on a listed one, and has
        TLS where the registry has it.
        """
        own = urlsplit(self.url)
        if realm.scheme not in (own.scheme, "https"):
            return False
        listed = (*self.realms, *_REALMS.get(own.netloc, ()))
        return _host(realm) in (_host(own), *(_host(urlsplit(f"{realm.scheme}://{one}")) for one in listed))


def _host(parts: SplitResult) -> tuple[str | None, int | None]:
    """The host, and its port if that is not the usual one."""
    usual = 443 if parts.scheme == "https" else 80
    return parts.hostname, None if parts.port == usual else parts.port
