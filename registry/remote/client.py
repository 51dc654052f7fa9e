"""The outbound client: requests to other hosts, bounded in size and time, redirected by our rule."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import SplitResult, urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from registry import __version__
from registry.remote.errors import RemoteError

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_CONNECT_SECONDS = 5.0
_HEADERS = {"User-Agent": f"moorage/{__version__}", "Accept-Encoding": "identity"}

SocketFactory = Any  # as aiohttp calls it; its own name for it is younger than the oldest that we take


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer with the status 200; the names of `headers` are in lower case."""

    headers: Mapping[str, str]
    body: bytes


class Client:
    """Asks other hosts. Made by `Egress.client`, which looks at every address before it is connected to."""

    def __init__(
        self, resolver: AbstractResolver, socket_factory: SocketFactory, trust: ssl.SSLContext
    ) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=resolver, socket_factory=socket_factory, ssl=trust, use_dns_cache=False
            ),
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get_json(self, url: str, *, limit_bytes: int, timeout_seconds: float) -> object:
        """A JSON document that says of itself that it is one. Raises RemoteError."""
        answer = await self.get(url, limit_bytes=limit_bytes, timeout_seconds=timeout_seconds)
        host = _parts(url).netloc
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
            raise RemoteError(host, "what it answered does not say that it is JSON")
        try:
            document: object = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise RemoteError(host, "what it answered is not JSON") from error
        return document

    async def get(
        self,
        url: str,
        *,
        limit_bytes: int,
        timeout_seconds: float,
        authorization: str | None = None,
        elsewhere: bool = False,
    ) -> Answer:
        """What lies at an address, redirects followed: to other hosts only with `elsewhere`.

        `authorization` goes to the host of `url` alone. All of it together takes no longer than the time.
        Raises RemoteError.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._follow(url, limit_bytes, authorization, elsewhere)
        except TimeoutError as error:
            reason = f"it did not answer within {timeout_seconds:g} s"
            raise RemoteError(_parts(url).netloc, reason) from error

    async def _follow(self, url: str, limit_bytes: int, authorization: str | None, elsewhere: bool) -> Answer:
        for _ in range(_MOST_REDIRECTS + 1):
            here = _parts(url)
            answer, location = await self._once(url, here.netloc, limit_bytes, authorization)
            if answer is not None:
                return answer
            url = urljoin(url, location)
            there = _parts(url, by=here.netloc)
            if here.scheme == "https" and there.scheme != "https":
                raise RemoteError(here.netloc, f"it redirects to {there.netloc} without TLS")
            if _origin(here) != _origin(there):
                if not elsewhere:
                    raise RemoteError(here.netloc, f"it redirects to another host, {there.netloc}")
                authorization = None
        raise RemoteError(here.netloc, f"it redirects more than {_MOST_REDIRECTS} times")

    async def _once(
        self, url: str, host: str, limit_bytes: int, authorization: str | None
    ) -> tuple[Answer | None, str]:
        """The answer, or where it is said to be."""
        headers = {} if authorization is None else {"Authorization": authorization}
        try:
            async with self._session.get(
                URL(url, encoded=True), headers=headers, allow_redirects=False
            ) as got:
                if got.status in _REDIRECTS and "Location" in got.headers:
                    return None, got.headers["Location"]
                if got.status != 200:
                    raise RemoteError(host, f"it answered {got.status}", got.status)
                if got.headers.get("Content-Encoding", "identity").lower() != "identity":
                    raise RemoteError(host, "it compressed its answer, and was asked not to")
                body = bytearray()
                async for piece in got.content.iter_any():
                    body += piece
                    if len(body) > limit_bytes:
                        raise RemoteError(host, f"it answered with more than {limit_bytes} bytes")
                told = {name.lower(): value for name, value in got.headers.items()}
                return Answer(told, bytes(body)), ""
        except aiohttp.ClientError as error:
            raise RemoteError(host, _reason(error)) from error
        except ValueError as error:
            raise RemoteError(host, "its address or its answer is malformed") from error


def _parts(url: str, by: str | None = None) -> SplitResult:
    """The parts of an address that may be asked; `by` is who redirects to it. Raises RemoteError."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    # Nobody names an address with credentials for us, nor one with characters that an address has not.
    if not sound or parts.username is not None or not url.isascii() or not url.isprintable() or " " in url:
        if by is None:
            raise RemoteError("the address", "it is not http:// or https:// and a host")
        raise RemoteError(by, "it redirects to what is no address of a web server")
    return parts


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _reason(error: aiohttp.ClientError) -> str:
    """What went wrong, in words that hold nothing of the request."""
    match error:
        case aiohttp.InvalidURL():
            return "its address is malformed"
        case aiohttp.ClientConnectorDNSError():
            return "its name is not known"
        case aiohttp.ClientConnectorCertificateError():
            told = getattr(error.certificate_error, "verify_message", "") or str(error.certificate_error)
            return f"its certificate is not trusted: {told}"
        case aiohttp.ClientConnectorError():
            return f"cannot connect: {error.os_error.strerror or error.os_error}"
        case aiohttp.ServerTimeoutError():
            return f"cannot connect within {_CONNECT_SECONDS:g} s"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | aiohttp.ClientOSError():
            return "the connection broke"
        case _:
            return "what it answered is not HTTP"
