"""The gate of a registry that knows people, machines and tokens."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from registry import logs
from registry.access.callers import Caller, Grants
from registry.access.credentials import Credentials
from registry.access.gate import basic
from registry.access.logins import Origin
from registry.access.policy import Policy
from registry.access.principals import Principal
from registry.access.signing import SigningKeys
from registry.access.tokens import KeyUnknown, TokenInvalid, Tokens, Verified
from registry.errors import Unauthorized

_LOG = logging.getLogger(__name__)
# Between two looks for a key that another process may have made a moment ago.
_LOOK_SECONDS = 1.0


class ForeignTokens(Protocol):
    """Tokens of a token server that is not ours: where they are to be had, and what they must be made for."""

    realm: str
    service: str

    def verify(self, token: str) -> tuple[Principal, Grants]:
        """Whose token it is and what it is good for. Raises TokenInvalid."""


class GuardedGate:
    """People, machines and tokens are known here; `foreign` are another token server's."""

    def __init__(
        self,
        policy: Callable[[], Policy],
        credentials: Credentials,
        keys: SigningKeys,
        tokens: Tokens,
        foreign: ForeignTokens | None,
        clock: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._credentials = credentials
        self._keys = keys
        self._tokens = tokens
        self._foreign = foreign
        self._clock = clock
        self._looked_at = clock()

    @property
    def service(self) -> str:
        """The name that tokens must be made for."""
        return self._tokens.service if self._foreign is None else self._foreign.service

    @property
    def realm(self) -> str | None:
        """Where tokens are to be had; None: from this registry."""
        return None if self._foreign is None else self._foreign.realm

    async def caller(self, authorization: Sequence[str], origin: Origin) -> Caller:
        """Who sends these `Authorization` headers."""
        if not authorization:
            return Caller.anybody(self._policy())
        if len(authorization) > 1:
            raise Unauthorized("the request has more than one Authorization header")
        kind, _, rest = authorization[0].partition(" ")
        match kind.lower():
            case "bearer":
                return await self._bearer(rest.strip())
            case "basic":
                name, password = basic(rest.strip())
                if not name and not password:
                    return Caller.anybody(self._policy())
                person = await self._credentials.person(name, password, origin)
                return Caller(person.principal, self._policy())
            case _:
                raise Unauthorized("this registry takes Basic and Bearer as Authorization, and nothing else")

    async def _bearer(self, text: str) -> Caller:
        try:
            if self._foreign is not None:
                principal, grants = self._foreign.verify(text)
                return Caller(principal, self._policy(), grants)
            verified = await self._verified(text)
        except TokenInvalid as error:
            logs.event(_LOG, logging.INFO, "token.refused", reason=str(error))
            raise Unauthorized(
                "the token is not good any more, or never was; ask for another", problem="invalid_token"
            ) from error
        return Caller(verified.principal, self._policy(), verified.grants)

    async def _verified(self, text: str) -> Verified:
        try:
            return self._tokens.verify(text)
        except KeyUnknown:
            if self._clock() - self._looked_at < _LOOK_SECONDS:
                raise
            self._looked_at = self._clock()
            await self._keys.look()
            return self._tokens.verify(text)
