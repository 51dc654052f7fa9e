"""How a registry is shown who asks: by name and password, or by tokens for each repository."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlencode

from registry.model.quoting import quoted
from registry.remote.endpoint import Endpoint
from registry.remote.errors import Cause, RemoteError, UpstreamError, refusal
from registry.remote.headers import Challenge, parse_challenges
from registry.remote.urls import web_address

if TYPE_CHECKING:
    from registry.remote.client import Client

_ANSWER_BYTES = 128 << 10
_TOKEN = re.compile(r"[!-~]+")
_LONGEST_TOKEN = 16 << 10
_MOST_TOKENS = 1000
# What a token that does not say so is good for (token specification).
_USUAL_SECONDS = 60.0
_MOST_SECONDS = 3600.0
# A token is used for this part of its life.
_PART = 0.9


@dataclass(frozen=True, slots=True)
class _Token:
    header: str = field(repr=False)
    until: float


class Authorization:
    """What to send to a registry so that it answers: nothing until it asks for it.

    Raises UpstreamError.
    """

    def __init__(
        self, client: Client, endpoint: Endpoint, clock: Callable[[], float], head_seconds: float
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._clock = clock
        self._seconds = head_seconds
        self._challenge: Challenge | None = None
        self._tokens: dict[str, _Token] = {}
        self._asking: dict[str, asyncio.Task[str]] = {}

    async def header(self, scope: str) -> str | None:
        """What to send for a scope, None as long as nothing was asked for."""
        return None if self._challenge is None else await self._met(scope, self._challenge, None)

    async def renewed(self, scope: str, told: str, refused: str | None) -> str:
        """What to send instead of what was refused, with the challenge `told`."""
        kept = self._tokens.get(scope)
        if kept is not None and kept.header == refused:
            del self._tokens[scope]
        return await self._met(scope, self._chosen(told), refused)

    async def _met(self, scope: str, challenge: Challenge, refused: str | None) -> str:
        try:
            is_basic = challenge.scheme == "basic"
            shown = self._basic(refused) if is_basic else await self._token(scope, challenge)
        except UpstreamError:
            # What came to nothing is not done again unasked: the registry may tell another way by then.
            self._challenge = None
            raise
        self._challenge = challenge
        return shown

    def _basic(self, refused: str | None) -> str:
        basic = self._endpoint.basic
        if basic is None:
            raise self._error("it wants a name and a password (upstreams[].username)", "refusing")
        if basic == refused:
            raise self._error("it does not take the name and the password", "refusing")
        return basic

    def _chosen(self, told: str) -> Challenge:
        """The challenge to meet: tokens where there are any."""
        challenges = {challenge.scheme: challenge for challenge in reversed(parse_challenges(told))}
        for scheme in ("bearer", "basic"):
            if scheme in challenges:
                return challenges[scheme]
        raise self._error("it answered 401 and not by what it wants to be shown", "refusing")

    async def _token(self, scope: str, challenge: Challenge) -> str:
        kept = self._tokens.get(scope)
        if kept is not None and self._clock() < kept.until:
            return kept.header
        asking = self._asking.get(scope)
        if asking is None:
            asking = asyncio.create_task(self._ask(scope, challenge), name=f"a token for {scope}")
            self._asking[scope] = asking
            asking.add_done_callback(lambda _: self._asking.pop(scope))
        # Whoever waits and leaves does not end it for the others.
        return await asyncio.shield(asking)

    async def _ask(self, scope: str, challenge: Challenge) -> str:
        token = await self._asked(scope, challenge)
        self._tokens.pop(scope, None)
        while len(self._tokens) >= _MOST_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[scope] = token
        return token.header

    async def _asked(self, scope: str, challenge: Challenge) -> _Token:
        realm = self._realm(challenge)
        asked = {"scope": scope} if scope else {}
        if "service" in challenge.parameters:
            # Its bytes may be no text; then they are sent as they came.
            asked["service"] = challenge.parameters["service"]
        if self._endpoint.basic is not None and self._endpoint.username is not None:
            asked["account"] = self._endpoint.username
        query = "&".join(part for part in (realm.query, urlencode(asked, errors="surrogateescape")) if part)
        began = self._clock()
        try:
            async with self._client.request(
                "GET",
                realm._replace(query=query, fragment="").geturl(),
                head_seconds=self._seconds,
                stall_seconds=self._seconds,
                authorization=self._endpoint.basic,
            ) as response:
                if response.status != 200:
                    raise self._refused(realm.netloc, response.status, response.headers)
                content = await response.read(_ANSWER_BYTES)
        except RemoteError as error:
            raise UpstreamError.of(error) from error
        token, seconds = _read(content, realm.netloc)
        return _Token(f"Bearer {token}", began + _PART * seconds)

    def _realm(self, challenge: Challenge) -> SplitResult:
        told = challenge.parameters.get("realm", "")
        realm = web_address(told)
        if realm is None:
            raise self._error(f"it sends to a token service that is none: {quoted(told)}", "lying")
        if not self._endpoint.trusts(realm):
            raise self._error(
                f"it sends to a token service at {realm.scheme}://{realm.netloc}, which is not its own host;"
                " if it may be asked, list its host in upstreams[].realms, and its scheme has to be https"
                " where the registry's is",
                "lying",
            )
        return realm

    def _refused(self, host: str, status: int, headers: Mapping[str, str]) -> UpstreamError:
        """A token service that has no token for us refuses, in whichever words."""
        told = refusal(host, status, headers)
        if told.cause == "limited" or status >= 500:
            return told
        shown = (
            "without a name and a password"
            if self._endpoint.basic is None
            else "for the name and the password"
        )
        return UpstreamError(host, f"it gives no token {shown}, it answered {status}", "refusing", status)

    def _error(self, reason: str, cause: Cause) -> UpstreamError:
        return UpstreamError(self._endpoint.host, reason, cause)


def _read(content: bytes, host: str) -> tuple[str, float]:
    """The token in an answer, and for how many seconds it is good."""
    try:
        document = json.loads(content)
        token = document.get("token") or document.get("access_token")
        seconds = document.get("expires_in")
    except (ValueError, RecursionError, AttributeError) as error:
        raise UpstreamError(host, "what it gives as a token is not JSON", "lying") from error
    if not isinstance(token, str) or len(token) > _LONGEST_TOKEN or _TOKEN.fullmatch(token) is None:
        raise UpstreamError(host, "what it gives as a token is none", "lying")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        seconds = _USUAL_SECONDS
    return token, float(min(seconds, _MOST_SECONDS))
