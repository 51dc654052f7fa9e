"""Requests about single objects and listings, which are most: signed by botocore and sent on the event loop.

boto3 takes a thread and several times the processor time for each (decision 16).
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from weakref import WeakSet

import aiohttp
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.utils import get_environ_proxies
from yarl import URL

from storage.errors import TooLarge, Unavailable
from storage.s3.answers import Answer, error_of
from storage.s3.credentials import Access
from storage.s3.errors import told
from storage.s3.options import S3Options
from storage.s3.signing import Signer
from storage.s3.turns import Turns, attempted, finished
from storage.sharing import Share

_FINE = frozenset({200, 204, 206})
_READS = frozenset({"GET", "HEAD"})
# A listing has a thousand names of at most 1024 bytes, each of which may be escaped.
_LONGEST_ANSWER = 8 << 20
_LONGEST_ERROR = 64 << 10
_SENT_BYTES = 256 << 10
_READ_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Request:
    """About the object under `key`, or with a `query` about the bucket; `key` is what errors name then."""

    method: str
    key: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | bytearray | None = None


class Http:
    """Connections to the store of a bucket. Made in a thread; `start` and `aclose` are for the event loop."""

    def __init__(self, access: Access, options: S3Options) -> None:
        self.options = options
        self._signer = Signer(access, options)
        address = self._signer.address
        proxies = ProxyConfiguration(get_environ_proxies(address))
        self._proxy, self._proxy_headers = None, {}
        if proxy := proxies.proxy_url_for(address):
            # Without the password, which would be in the texts of errors.
            self._proxy = URL(proxy).with_user(None)
            self._proxy_headers = proxies.proxy_headers_for(proxy)
        self._is_encrypted = address.startswith("https:")
        self._trust = _trust(access, options) if self._is_encrypted else True
        self._bodies: WeakSet[aiohttp.ClientResponse] = WeakSet()

    def start(self) -> None:
        """Be ready for requests."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._trust, limit=0),
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=self.options.connect_timeout_seconds,
                sock_read=self.options.read_timeout_seconds,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type"),
            headers={"User-Agent": "moorage"},
        )
        # A put with a condition must not be made again behind our back (decision 10).
        self._session._retry_connection = False  # noqa: SLF001 - there is no other way

    async def send(self, request: Request, read_bytes: int = _READ_BYTES) -> aiohttp.ClientResponse:
        """The head of an answer that is no error; `read_bytes` of its body may wait, as many come at once.

        Raises storage errors, Doubtful among them.
        """
        bucket, key, body = self.options.bucket, request.key, request.body
        # Also of a store that takes nothing of what is sent, for which aiohttp would wait for ever.
        patience = self.options.connect_timeout_seconds + self.options.read_timeout_seconds
        with told(key, bucket):
            url, headers = await self._signer.signed(
                request.method,
                "" if request.query else self.options.name(key),
                request.query,
                request.headers,
                body,
            )
            if body is not None:
                headers["Content-Length"] = str(len(body))
            if not self._is_encrypted:
                headers |= self._proxy_headers
            async with asyncio.timeout(patience) as until:
                response = await self._session.request(
                    request.method,
                    url,
                    headers=headers,
                    data=body if body is None or len(body) <= _SENT_BYTES else _pieces(body, until, patience),
                    proxy=self._proxy,
                    proxy_headers=dict(self._proxy_headers) if self._is_encrypted else None,
                    allow_redirects=False,
                    read_bufsize=read_bytes // 2,
                )
                connection = response.connection
                if connection is not None and connection.transport is not None:
                    # Of asyncio's own, which would else take 256 KiB at once, however few or many are wanted.
                    connection.transport.max_size = read_bytes  # type: ignore[attr-defined]
                if response.status in _FINE:
                    self._bodies.add(response)
                    return response
                async with response:
                    answer = Answer(
                        key, response.status, response.headers, await _first(response, _LONGEST_ERROR)
                    )
        raise error_of(answer, bucket)

    async def aclose(self) -> None:
        """Close the connections, also those of bodies that are being read."""
        for response in [*self._bodies]:
            response.close()
        await self._session.close()


class Direct:
    """Requests that are made in one of `turns`, each as often as there is time for."""

    def __init__(self, http: Http, turns: Turns) -> None:
        self.options = http.options
        self._http = http
        self._turns = turns

    async def ask(self, request: Request, *, limit: int = _LONGEST_ANSWER) -> Answer:
        """The whole answer, of at most `limit` bytes. Raises storage errors, and TooLarge for more."""
        return await attempted(self.options, lambda: self.once(request, limit=limit))

    async def once(self, request: Request, *, limit: int = _LONGEST_ANSWER) -> Answer:
        """The same of a request that is made once; raises Doubtful where nobody knows its outcome."""
        await self._turns.take(request.key)
        asked = self._asked(request, limit)
        # What is carried out when its caller has left could undo what is done by then.
        return await (asked if request.method in _READS else finished(asked))

    async def begin(self, request: Request, share: Share) -> aiohttp.ClientResponse:
        """The answer to a request that is made once; its body is read in no turn, a share at a time."""
        await self._turns.take(request.key)
        try:
            return await self._http.send(request, share.bytes)
        finally:
            self._turns.give_back()

    async def aclose(self) -> None:
        """Wait for the requests under way."""
        await self._turns.all_ended()

    @asynccontextmanager
    async def opened(self, request: Request) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a request that is made once, for as long as its body is read."""
        await self._turns.take(request.key)
        try:
            async with await self._http.send(request) as response:
                with told(request.key, self.options.bucket):
                    yield response
        finally:
            self._turns.give_back()

    async def _asked(self, request: Request, limit: int) -> Answer:
        """In a turn that was taken, and is given back."""
        key = request.key
        try:
            async with await self._http.send(request) as response:
                size = 0 if request.method == "HEAD" else response.content_length or 0
                body = b""
                if size <= limit:
                    with told(key, self.options.bucket):
                        async with asyncio.timeout(self.options.read_timeout_seconds):
                            body = await _first(response, limit + 1)
                    size = len(body)
                if size > limit:
                    raise TooLarge(key, f"the object has {size} bytes, more than the {limit} asked for")
                return Answer(key, response.status, response.headers, body)
        finally:
            self._turns.give_back()


def _trust(access: Access, options: S3Options) -> ssl.SSLContext:
    """Whom boto3 believes, too: the configured authorities, those of the environment, or its own."""
    others = access.core.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    file = options.ca_file or others or get_cert_path(True)
    try:
        trust = ssl.create_default_context(cafile=file)
    except OSError as error:
        raise Unavailable("", f"the authorities in {file} cannot be used: {error}") from error
    # As strict as boto3 with what authorities of people's own leave out.
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return trust


async def _first(response: aiohttp.ClientResponse, count: int) -> bytes:
    """So many bytes of a body, or all."""
    pieces, missing = [], count
    async for piece in response.content.iter_any():
        pieces.append(piece[:missing])
        missing -= len(pieces[-1])
        if not missing:
            break
    return b"".join(pieces)


async def _pieces(
    body: bytes | bytearray, until: asyncio.Timeout, patience_seconds: float
) -> AsyncIterator[bytes]:
    """Of what is too much to be written at once, each with as much time as the first."""
    view = memoryview(body)
    for start in range(0, len(body), _SENT_BYTES):
        # Over where the answer has come first.
        with suppress(RuntimeError):
            until.reschedule(asyncio.get_running_loop().time() + patience_seconds)
        yield bytes(view[start : start + _SENT_BYTES])
