"""The outbound client: requests to other hosts, bounded in size and time, redirected by our rule."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, Self
from urllib.parse import SplitResult, urljoin

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from registry import __version__
from registry.remote.errors import BARRED, Cause, RemoteError, cause_of
from registry.remote.response import Response
from registry.remote.urls import origin, web_address

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_CONNECT_SECONDS = 5.0
# Of each body up to twice as much waits unread, so that large ones come in few pieces.
_BUFFER_BYTES = 256 << 10
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
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
        self,
        resolver: AbstractResolver,
        socket_factory: SocketFactory,
        trust: ssl.SSLContext,
        proxy: Callable[[SplitResult], str | None],
    ) -> None:
        self._proxy = proxy
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=resolver, socket_factory=socket_factory, ssl=trust, use_dns_cache=False, limit=0
            ),
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=_BUFFER_BYTES,
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
            raise RemoteError(host, "what it answered does not say that it is JSON", "lying")
        try:
            document: object = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise RemoteError(host, "what it answered is not JSON", "lying") from error
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
        """What lies at an address, as `request` has it. All of it together takes no longer than the time.

        Raises RemoteError, also for any other status than 200.
        """
        try:
            async with (
                asyncio.timeout(timeout_seconds),
                self.request(
                    "GET",
                    url,
                    head_seconds=timeout_seconds,
                    stall_seconds=timeout_seconds,
                    authorization=authorization,
                    elsewhere=elsewhere,
                ) as response,
            ):
                status = response.status
                if status != 200:
                    raise RemoteError(response.host, f"it answered {status}", cause_of(status), status)
                return Answer(response.headers, await response.read(limit_bytes))
        except TimeoutError as error:
            raise _too_late(url, timeout_seconds) from error

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: bytes | None = None,
        head_seconds: float,
        stall_seconds: float,
        authorization: str | None = None,
        elsewhere: bool = False,
    ) -> AsyncIterator[Response]:
        """The answer to a request, redirects followed: to other hosts only with `elsewhere`.

        `head_seconds` is for everything up to the head, `stall_seconds` for each wait for more of the body.
        `authorization` goes to the host of `url` alone, and so does a body. Raises RemoteError, but not for a
        status.
        """
        try:
            async with asyncio.timeout(head_seconds):
                got, url = await self._follow(method, url, headers, body, authorization, elsewhere)
        except TimeoutError as error:
            raise _too_late(url, head_seconds) from error
        # What is not read to its end takes its connection along.
        async with got:
            yield Response(got, url, stall_seconds)

    async def _follow(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        authorization: str | None,
        elsewhere: bool,
    ) -> tuple[aiohttp.ClientResponse, str]:
        """The answer, and where it was had."""
        for _ in range(_MOST_REDIRECTS + 1):
            here = _parts(url)
            sent = dict(headers) if authorization is None else {**headers, "Authorization": authorization}
            got = await self._once(method, url, here, sent, body)
            if got.status not in _REDIRECTS or "Location" not in got.headers:
                return got, url
            got.release()
            url, there = _redirected(url, got.headers["Location"], here.netloc)
            if here.scheme == "https" and there.scheme != "https":
                raise RemoteError(here.netloc, f"it redirects to {there.netloc} without TLS", "lying")
            if origin(here) != origin(there):
                if not elsewhere or body is not None:
                    raise RemoteError(here.netloc, f"it redirects to another host, {there.netloc}", "lying")
                authorization = None
            if got.status == 303 or (got.status in (301, 302) and method == "POST"):
                method, body = "HEAD" if method == "HEAD" else "GET", None
        raise RemoteError(here.netloc, f"it redirects more than {_MOST_REDIRECTS} times", "lying")

    async def _once(
        self, method: str, url: str, parts: SplitResult, headers: Mapping[str, str], body: bytes | None
    ) -> aiohttp.ClientResponse:
        host = parts.netloc
        proxy = self._proxy(parts)
        try:
            got = await self._session.request(
                method,
                URL(url, encoded=True),
                headers=headers,
                data=body,
                allow_redirects=False,
                proxy=proxy,
            )
        # What the library says of it holds addresses with their queries and passwords, and would be logged.
        except aiohttp.ClientError as error:
            raise _trouble(parts, error) from None
        except ValueError:
            raise RemoteError(host, "its address or its answer is malformed", "failing") from None
        # What says that it failed may do so as it likes.
        if got.status < 400 and got.headers.get("Content-Encoding", "identity").lower() != "identity":
            got.close()
            raise RemoteError(host, "it compressed its answer, and was asked not to", "lying")
        return got


def _too_late(url: str, seconds: float) -> RemoteError:
    return RemoteError(_parts(url).netloc, f"it did not answer within {seconds:g} s", "slow")


def _parts(url: str) -> SplitResult:
    """The parts of an address that may be asked. Raises RemoteError."""
    parts = web_address(url)
    if parts is None:
        raise RemoteError("the address", "it is not http:// or https:// and a host", "unreachable")
    return parts


def _redirected(here: str, location: str, by: str) -> tuple[str, SplitResult]:
    """Where a redirect of the host `by` leads. Raises RemoteError."""
    try:
        there = urljoin(here, location)
        parts = web_address(there)
    except ValueError:
        parts = None
    if parts is None:
        raise RemoteError(by, "it redirects to what is no address of a web server", "lying")
    return there, parts


def _trouble(parts: SplitResult, error: aiohttp.ClientError) -> RemoteError:
    reason, cause = _why(error)
    if isinstance(error, aiohttp.ClientConnectorError) and error.host.lower() != parts.hostname:
        reason = f"its proxy is {error.host}:{error.port}, and {reason}"
    return RemoteError(parts.netloc, reason, cause)


def _told(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        # A server of plain HTTP answers as if it spoke a version that there is not.
        is_plain = error.reason == "WRONG_VERSION_NUMBER"
        return (
            "it does not speak TLS; is it http://?"
            if is_plain
            else f"no TLS with it: {error.reason or error}"
        )
    # The event loop has a text of its own for what the system says.
    number = error.errno or 0
    return os.strerror(number).lower() if number > 0 else str(error.strerror or error)


def _why(error: aiohttp.ClientError) -> tuple[str, Cause]:
    """What went wrong, in words that hold nothing of the request."""
    match error:
        case aiohttp.InvalidURL():
            return "its address is malformed", "unreachable"
        case aiohttp.ClientHttpProxyError():
            return f"the proxy did not connect to it, it answered {error.status}", "unreachable"
        case aiohttp.ClientConnectorDNSError():
            return "its name is not known", "unreachable"
        case aiohttp.ClientConnectorCertificateError():
            told = getattr(error.certificate_error, "verify_message", "") or str(error.certificate_error)
            return f"its certificate is not trusted: {told}", "unreachable"
        case aiohttp.ClientConnectorError():
            # Where all addresses of a name are, the library makes one error of theirs.
            is_barred = isinstance(error.os_error, PermissionError) and BARRED in str(error.os_error)
            told = error.os_error.strerror if is_barred else _told(error.os_error)
            return f"cannot connect: {told or error.os_error}", "barred" if is_barred else "unreachable"
        case aiohttp.ServerTimeoutError():
            return f"cannot connect within {_CONNECT_SECONDS:g} s", "unreachable"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | aiohttp.ClientOSError():
            return "the connection broke", "unreachable"
        case _:
            return "what it answered is not HTTP", "failing"
