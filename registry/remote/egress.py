"""The one door through which a server connects to others, besides directories and object stores."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import SplitResult

from registry.remote.addresses import Addresses, Network, written_address
from registry.remote.errors import BARRED, RemoteError
from registry.remote.proxies import Proxies

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver

    from registry.remote.client import Client
    from registry.remote.settings import EgressSettings


class CertificatesUnusable(Exception):
    """The file of trusted certificates cannot be used; the text says why."""


class Egress:
    """Makes clients that connect only to addresses that they may.

    The address is looked at when the socket to it is made: whatever a name resolves to, and however often
    that changes, what is connected to is what was looked at. `resolver` gives what names resolve to, the
    system's unless another is given. Where `proxies` has one, what is connected to is that, and names of
    others are left to it.
    """

    def __init__(
        self,
        allow: Sequence[Network] = (),
        resolver: Callable[[], AbstractResolver] | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        self._addresses = Addresses(allow)
        self._resolver = resolver
        self._proxies = proxies or Proxies()

    @classmethod
    def of(cls, settings: EgressSettings, environ: Mapping[str, str]) -> Self:
        """As an operator has set it, in the configuration or in the environment."""
        return cls(settings.allow, proxies=Proxies.of(settings, environ))

    @asynccontextmanager
    async def client(self, ca_file: Path | None = None) -> AsyncIterator[Client]:
        """A client that trusts the certificate authorities of the file alone, or the system's.

        Raises CertificatesUnusable.
        """
        # Here, since whoever fetches nothing does without.
        from aiohttp import ThreadedResolver

        from registry.remote.client import Client

        # To read all authorities that a system trusts takes tens of milliseconds.
        trusted = await asyncio.to_thread(trust, ca_file)
        resolver = (self._resolver or ThreadedResolver)()
        try:
            async with Client(resolver, self._socket, trusted, self._proxy) as client:
                yield client
        finally:
            await resolver.close()

    def _proxy(self, parts: SplitResult) -> str | None:
        """The proxy to ask for an address, None where there is none. Raises RemoteError."""
        try:
            proxy = self._proxies.find(parts)
        except ValueError as error:
            raise RemoteError(parts.netloc, f"what is set as the proxy {error}", "unreachable") from None
        address = None if proxy is None else written_address(parts.hostname or "")
        # What a name leads to only the proxy knows; an address that is written out is judged as ever.
        reason = None if address is None else self._addresses.refusal(address)
        if reason is not None:
            told = f"it is not asked for through a proxy either ({reason}; {BARRED})"
            raise RemoteError(parts.netloc, told, "barred")
        return proxy

    def _socket(self, found: tuple[Any, ...]) -> socket.socket:
        """A socket to an address that was found for a name. Raises PermissionError."""
        family, kind, protocol, _, where = found
        address = str(where[0])
        reason = self._addresses.refusal(address)
        if reason is not None:
            raise PermissionError(errno.EACCES, f"{address} is not connected to ({reason}; {BARRED})")
        return socket.socket(family, kind, protocol)


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """What certificates are checked against. Raises CertificatesUnusable."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise CertificatesUnusable(f"{ca_file} holds no certificates in PEM") from error
    except OSError as error:
        raise CertificatesUnusable(f"{ca_file} cannot be read: {error.strerror}") from error
