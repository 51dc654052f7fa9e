"""One other registry, asked: shown who we are, left alone when it says so, and its refusals understood."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from registry.model.names import RepositoryName
from registry.remote.authorization import Authorization
from registry.remote.endpoint import Endpoint
from registry.remote.errors import RemoteError, UpstreamError, refusal
from registry.remote.headers import RateLimit, parse_rate_limit
from registry.remote.urls import origin

if TYPE_CHECKING:
    from registry.remote.client import Client
    from registry.remote.response import Response

_CODE = re.compile(r"[A-Z][A-Z_]{0,63}")
_ERROR_BYTES = 64 << 10
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class AuthorizedClient:
    """Asks one registry for what one may pull there.

    `limited_until` is by the clock: before that nothing is asked. `told` hears what it says of
    how much may be asked for.
    """

    def __init__(
        self,
        client: Client,
        endpoint: Endpoint,
        *,
        clock: Callable[[], float],
        head_seconds: float,
        stall_seconds: float,
        told: Callable[[RateLimit], None] = lambda _: None,
    ) -> None:
        self.endpoint = endpoint
        self.rate_limit: RateLimit | None = None
        self.limited_until = 0.0
        self._client = client
        self._origin = origin(urlsplit(endpoint.url))
        self._authorization = Authorization(client, endpoint, clock, head_seconds)
        self._clock = clock
        self._head_seconds = head_seconds
        self._stall_seconds = stall_seconds
        self._told = told

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        url: str,
        name: RepositoryName | None,
        headers: Mapping[str, str] = _NO_HEADERS,
        statuses: Collection[int] = (200,),
    ) -> AsyncIterator[Response]:
        """An answer with one of the statuses, to who may pull from the repository, or (None) is known at all.

        Raises UpstreamError.
        """
        left = self.limited_until - self._clock()
        if left > 0:
            reason = f"it is asked too often, and is not asked again for {left:.0f} s"
            raise UpstreamError(self.endpoint.host, reason, "limited", retry_after_seconds=left)
        async with AsyncExitStack() as stack:
            try:
                response = await self._opened(stack, method, url, name, headers)
                if response.status not in statuses:
                    raise await self._refusal(response)
            except RemoteError as error:
                told = UpstreamError.of(error)
                if told.cause == "limited" and told.retry_after_seconds is not None:
                    self.limited_until = max(self.limited_until, self._clock() + told.retry_after_seconds)
                raise told from error.__cause__
            yield response

    async def _opened(
        self,
        stack: AsyncExitStack,
        method: str,
        url: str,
        name: RepositoryName | None,
        headers: Mapping[str, str],
    ) -> Response:
        scope = "" if name is None else f"repository:{name}:pull"
        # A link or a redirect may lead to another host, which is shown nothing.
        shown = await self._authorization.header(scope) if self._is_own(url) else None
        response = await self._sent(stack, method, url, headers, shown)
        if response.status == 401 and self._is_own(response.url):
            # Read, so that the connection can be used again.
            await _error_body(response)
            told = response.headers.get("www-authenticate", "")
            shown = await self._authorization.renewed(scope, told, shown)
            response = await self._sent(stack, method, url, headers, shown)
        return response

    async def _sent(
        self, stack: AsyncExitStack, method: str, url: str, headers: Mapping[str, str], shown: str | None
    ) -> Response:
        response = await stack.enter_async_context(
            self._client.request(
                method,
                url,
                headers=headers,
                head_seconds=self._head_seconds,
                stall_seconds=self._stall_seconds,
                authorization=shown,
                # Registries send to their stores, and some to another registry altogether.
                elsewhere=True,
            )
        )
        if self._is_own(response.url):
            limit = parse_rate_limit(response.headers)
            if limit is not None:
                self.rate_limit = limit
                self._told(limit)
        return response

    def _is_own(self, url: str) -> bool:
        return origin(urlsplit(url)) == self._origin

    async def _refusal(self, response: Response) -> UpstreamError:
        code = _code(await _error_body(response))
        error = refusal(response.host, response.status, response.headers, code)
        if error.cause == "refusing" and self.endpoint.basic is None:
            reason = f"{error.reason}, asked without a name and a password"
            return UpstreamError(error.host, reason, error.cause, error.status)
        return error


async def _error_body(response: Response) -> bytes:
    """What it says beside a status, as far as that can be had."""
    try:
        return await response.read(_ERROR_BYTES)
    except RemoteError:
        return b""


def _code(body: bytes) -> str | None:
    """The first code of an error document (dist-spec: Error Codes); None if that is none."""
    try:
        code = json.loads(body)["errors"][0]["code"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else None
