"""The public keys of a trusted issuer: fetched again as they are used, and believed while it is down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from registry import logs
from registry.access.people import SourceUnavailable
from registry.access.trust.keyfiles import read_jwks
from registry.access.trust.settings import IssuerSettings
from registry.access.trust.webkeys import KeyUnfit, WebKey, WebKeys, read_set
from registry.access.watched import Watched
from registry.model.quoting import quoted
from registry.remote.egress import CertificatesUnusable, Egress
from registry.remote.errors import RemoteError

_LOG = logging.getLogger(__name__)
_DISCOVERY = "/.well-known/openid-configuration"
_LIMIT_BYTES = 256 << 10
# For each of the two documents.
_SECONDS = 5.0
# Keys are fetched again in the background when they are so old, …
_FRESH_SECONDS = 3600.0
# … and, no sooner after a try, for a token whose key is not among them.
_AGAIN_SECONDS = 60.0


class IssuerKeys(Protocol):
    """The keys of one issuer."""

    async def find(self, kid: str | None, algorithm: str) -> WebKey | None:
        """The key that a token means; None when there is none. Raises SourceUnavailable."""

    def believes(self, key: WebKey) -> bool:
        """Whether a key is still one of them."""

    def look(self) -> None:
        """See whether they have changed, where that costs no more than a look at a file."""

    async def aclose(self) -> None:
        """End what is under way."""


class KeysInFile:
    """Keys that an operator has put into a file, for issuers that cannot be reached from here."""

    def __init__(self, path: Path, name: str) -> None:
        self._file = Watched(path, read_jwks, f"the keys of issuer {name}")

    async def find(self, kid: str | None, algorithm: str) -> WebKey | None:
        """The key that a token means; None when there is none."""
        return self._file.value.find(kid, algorithm)

    def believes(self, key: WebKey) -> bool:
        """Whether a key is still one of them."""
        return key in self._file.value.keys

    def look(self) -> None:
        """Read the file if it has changed."""
        self._file.look()

    async def aclose(self) -> None:
        """Nothing is under way."""


class KeysOfIssuer:
    """Keys that the issuer publishes."""

    def __init__(self, settings: IssuerSettings, egress: Egress, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._egress = egress
        self._clock = clock
        self._keys = WebKeys(())
        self._tried_at: float | None = None
        self._failure: str | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> WebKey | None:
        """The key that a token means; None when the issuer, asked a minute ago or less, had none.

        Raises SourceUnavailable when it could not be asked.
        """
        found = self._keys.find(kid, algorithm)
        if found is not None:
            if self._is_over(_AGAIN_SECONDS if self._failure else _FRESH_SECONDS):
                self._begin()
            return found
        if self._is_over(_AGAIN_SECONDS):
            self._begin()
        if self._fetching is not None:
            # Whoever waits and leaves does not end it for the others.
            await asyncio.shield(self._fetching)
            found = self._keys.find(kid, algorithm)
        if found is None and self._failure is not None:
            raise SourceUnavailable(
                f"the keys of issuer {self._settings.name} are not known: {self._failure}"
            )
        return found

    def believes(self, key: WebKey) -> bool:
        """Whether a key is still one of them."""
        return key in self._keys.keys

    def look(self) -> None:
        """Nothing: they are fetched as they are used."""

    async def aclose(self) -> None:
        """Give up what is being fetched."""
        if self._fetching is not None:
            self._fetching.cancel()
            with suppress(asyncio.CancelledError):
                await self._fetching

    def _is_over(self, seconds: float) -> bool:
        return self._tried_at is None or self._clock() - self._tried_at >= seconds

    def _begin(self) -> None:
        """Fetch them, unless that is under way."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch(), name=f"keys of {self._settings.name}")

    async def _fetch(self) -> None:
        name, before = self._settings.name, self._keys
        try:
            self._keys, self._failure = await self._fetched(), None
        except (RemoteError, KeyUnfit, CertificatesUnusable) as error:
            self._failure = str(error)
            logs.event(_LOG, logging.WARNING, "issuer.unavailable", issuer=name, reason=self._failure)
        finally:
            self._tried_at = self._clock()
            self._fetching = None
        if self._keys != before:
            logs.event(_LOG, logging.INFO, "issuer.fetched", issuer=name, keys=len(self._keys.keys))

    async def _fetched(self) -> WebKeys:
        async with self._egress.client(self._settings.ca_file) as client:
            url = self._settings.jwks_url
            if url is None:
                at = self._settings.issuer.rstrip("/") + _DISCOVERY
                found = await client.get_json(at, limit_bytes=_LIMIT_BYTES, timeout_seconds=_SECONDS)
                url = self._place(found)
            return read_set(await client.get_json(url, limit_bytes=_LIMIT_BYTES, timeout_seconds=_SECONDS))

    def _place(self, discovery: object) -> str:
        """Where the discovery document (OpenID Connect Discovery) says that the keys are. Raises KeyUnfit."""
        issuer = self._settings.issuer
        if not isinstance(discovery, Mapping) or discovery.get("issuer") != issuer:
            raise KeyUnfit(f"the discovery document of {issuer} is another issuer's, or none")
        url = discovery.get("jwks_uri")
        if not isinstance(url, str):
            raise KeyUnfit(f"the discovery document of {issuer} does not say where its keys are (jwks_uri)")
        if not url.startswith(f"{_origin(issuer)}/"):
            # Hosts come from the configuration, and from nowhere else.
            raise KeyUnfit(f"its keys are said to be on another host, at {quoted(url)}; if so, set jwks_url")
        return url


def keys_of(settings: IssuerSettings, egress: Egress, clock: Callable[[], float]) -> IssuerKeys:
    """The keys of an issuer, from where its settings say. Raises Unusable for a file that is no good."""
    if settings.jwks_file is not None:
        return KeysInFile(settings.jwks_file, settings.name)
    return KeysOfIssuer(settings, egress, clock)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
