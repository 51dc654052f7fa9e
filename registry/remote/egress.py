"""The one door through which a server connects to others, besides directories and object stores."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.remote.addresses import Addresses, Network

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver

    from registry.remote.client import Client


class CertificatesUnusable(Exception):
    """The file of trusted certificates cannot be used; the text says why."""


class Egress:
    """Makes clients that connect only to addresses that they may.

    The address is looked at when the socket to it is made: whatever a name resolves to, and however often
    that changes, what is connected to is what was looked at. `resolver` gives what names resolve to, the
    system's unless another is given.
    """

    def __init__(
        self, allow: Sequence[Network] = (), resolver: Callable[[], AbstractResolver] | None = None
    ) -> None:
        self._addresses = Addresses(allow)
        self._resolver = resolver

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
            async with Client(resolver, self._socket, trusted) as client:
                yield client
        finally:
            await resolver.close()

    def _socket(self, found: tuple[Any, ...]) -> socket.socket:
        """A socket to an address that was found for a name. Raises PermissionError."""
        family, kind, protocol, _, where = found
        address = str(where[0])
        reason = self._addresses.refusal(address)
        if reason is not None:
            raise PermissionError(errno.EACCES, f"{address} is not connected to ({reason}; see egress.allow)")
        return socket.socket(family, kind, protocol)


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """What certificates are checked against. Raises CertificatesUnusable."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise CertificatesUnusable(f"{ca_file} holds no certificates in PEM") from error
    except OSError as error:
        raise CertificatesUnusable(f"{ca_file} cannot be read: {error.strerror}") from error
