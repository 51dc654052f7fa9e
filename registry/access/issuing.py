"""Issuing tokens: credentials in, the answer of a token endpoint out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from registry.access.apikeys import ApiKeys
from registry.access.credentials import Credentials
from registry.access.errors import BadCredentials
from registry.access.identity_tokens import IdentityTokens
from registry.access.logins import Login, Logins, Origin
from registry.access.people import SourceUnavailable
from registry.access.policy import Policy
from registry.access.principals import ANONYMOUS, Principal
from registry.access.scopes import grant, parse_scopes, scope_text
from registry.access.signing import SigningKeys, SigningKeyUnusable
from registry.access.tokens import Tokens, response
from registry.errors import Unavailable

Answer = dict[str, object]


class Issuing:
    """Makes tokens for those whose credentials are good; `may_write`: whether the store takes writes now."""

    def __init__(
        self,
        policy: Callable[[], Policy],
        credentials: Credentials,
        logins: Logins,
        tokens: Tokens,
        signing_keys: SigningKeys,
        identity_tokens: IdentityTokens,
        api_keys: ApiKeys,
        may_write: Callable[[], bool],
    ) -> None:
        self._policy = policy
        self._credentials = credentials
        self._logins = logins
        self._tokens = tokens
        self._signing_keys = signing_keys
        self._identity_tokens = identity_tokens
        self._api_keys = api_keys
        self._may_write = may_write

    async def for_password(
        self,
        name: str,
        password: str,
        origin: Origin,
        *,
        scopes: Iterable[str],
        service: str,
        client: str,
        offline: bool,
    ) -> Answer:
        """The answer for a name and a password; with `offline` an identity token comes along.

        Raises BadCredentials, TooManyRequests, Unavailable.
        """
        # As they are now: whoever was disabled or revoked a moment ago gets nothing any more.
        person = await self._credentials.person(name, password, origin, fresh=True)
        answer = self._answer(person.principal, scopes, service)
        if person.principal.bound is not None and self._may_write():
            await self._api_keys.note_use(person.principal)
        if offline and self._identity_tokens.fits(person.principal) and self._may_write():
            answer["refresh_token"] = await self._identity_tokens.issue(person, client)
        return answer

    async def for_identity(
        self, token: str, origin: Origin, *, scopes: Iterable[str], service: str
    ) -> Answer:
        """The answer for an identity token. Raises BadCredentials, Unavailable."""
        login = Login(origin, "token", "", token)
        try:
            person = await self._identity_tokens.person(token)
        except SourceUnavailable as error:
            self._logins.failed(login, str(error), outcome="failed")
            raise Unavailable(
                "whoever knows the users cannot be asked at the moment; try again",
                headers={"Retry-After": "10"},
            ) from error
        if person is None:
            problem = "the identity token is not good any more; log in again"
            self._logins.failed(login, problem)
            raise BadCredentials(problem)
        self._logins.succeeded(login, person.principal)
        return {**self._answer(person.principal, scopes, service), "refresh_token": token}

    def for_anybody(self, *, scopes: Iterable[str], service: str) -> Answer:
        """The answer for nobody in particular: a token for what everybody may."""
        return self._answer(ANONYMOUS, scopes, service)

    def jwks(self) -> Answer:
        """The keys that tokens can be verified with."""
        return self._signing_keys.jwks()

    def _answer(self, principal: Principal, scopes: Iterable[str], service: str) -> Answer:
        policy = self._policy()
        grants = grant(policy, principal, parse_scopes(scopes))
        try:
            minted = self._tokens.mint(narrowed(principal, policy), grants, service)
        except SigningKeyUnusable as error:
            raise Unavailable(str(error), headers={"Retry-After": "60"}) from error
        return {**response(minted), "scope": scope_text(grants)}


def narrowed(principal: Principal, policy: Policy) -> Principal:
    """A principal with those groups and claims alone that some rule asks for: a token must stay small."""
    bound = principal.bound
    owner = bound.owner if bound is not None else None
    if bound is not None and owner is not None:
        bound = replace(bound, owner=narrowed(owner, policy))
    return Principal(
        principal.text,
        principal.groups & policy.groups,
        tuple(pair for pair in principal.claims if pair[0] in policy.claims),
        bound,
    )
