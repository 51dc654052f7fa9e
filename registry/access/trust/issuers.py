"""Workloads of trusted issuers (OpenID Connect): the token of their CI or cluster is their password."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from registry.access.principals import Principal
from registry.access.templates import ClaimPattern
from registry.access.tokens import TokenInvalid
from registry.access.trust.issuer_keys import IssuerKeys, keys_of
from registry.access.trust.remembered import Remembered
from registry.access.trust.settings import IssuerSettings
from registry.access.trust.signed import check_claims, unverified
from registry.access.trust.webkeys import WebKey
from registry.remote.egress import Egress

_LONGEST_NAME = 64
_LONGEST_VALUE = 1024
# They differ from token to token, and say nothing of who has it.
_PASSING = frozenset({"exp", "nbf", "iat", "jti"})


@dataclass(frozen=True, slots=True)
class Issuer:
    """One issuer, and what its tokens must say."""

    settings: IssuerSettings
    conditions: Mapping[str, Sequence[ClaimPattern]]
    keys: IssuerKeys

    @classmethod
    def of(cls, settings: IssuerSettings, keys: IssuerKeys) -> Issuer:
        """The issuer of the settings."""
        conditions = {
            name: [ClaimPattern(text) for text in patterns] for name, patterns in settings.claims.items()
        }
        return cls(settings, conditions, keys)

    def principal(self, claims: Mapping[str, Any]) -> Principal:
        """Whose token it is, if it says what it must. Raises TokenInvalid."""
        texts = claim_texts(claims)
        for name, patterns in self.conditions.items():
            value = texts.get(name)
            if value is None or not any(pattern.matches(value) for pattern in patterns):
                raise TokenInvalid(f"its claim {name} is not as access.issuers wants it")
        subject = texts.get(self.settings.subject, "")
        if not subject or not subject.isprintable():
            raise TokenInvalid(f"its claim {self.settings.subject} names nobody")
        return Principal(f"issuer:{self.settings.name}:{subject}", claims=tuple(sorted(texts.items())))


class Issuers:
    """The trusted issuers; `now` is the time of day, aware."""

    def __init__(self, issuers: Sequence[Issuer], now: Callable[[], datetime]) -> None:
        self._issuers = {issuer.settings.issuer: issuer for issuer in issuers}
        self._now = now
        self._remembered: Remembered[tuple[Principal, Issuer, WebKey]] = Remembered()

    @classmethod
    def of(
        cls,
        settings: Sequence[IssuerSettings],
        egress: Egress,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> Issuers:
        """The issuers of the settings; `clock` only goes forward. Raises Unusable for a bad file of keys."""
        return cls([Issuer.of(one, keys_of(one, egress, clock)) for one in settings], now)

    async def verify(self, token: str) -> Principal:
        """The workload that the token was made for: `issuer:NAME:SUBJECT`, with the token's claims.

        Raises TokenInvalid, and SourceUnavailable when the issuer's keys cannot be had.
        """
        now = self._now().timestamp()
        known = self._remembered.get(token, now)
        if known is not None:
            principal, issuer, key = known
            if issuer.keys.believes(key):
                return principal
        claimed = unverified(token)
        name = claimed.claims.get("iss")
        issuer_or_none = self._issuers.get(name) if isinstance(name, str) else None
        if issuer_or_none is None:
            raise TokenInvalid("its issuer is none of access.issuers")
        issuer = issuer_or_none
        settings = issuer.settings
        expires_at = check_claims(
            claimed.claims, issuer=settings.issuer, audiences=settings.audience, now=now, expires_late=False
        )
        if claimed.algorithm not in settings.algorithms:
            # Before its issuer is asked for a key that could not be used.
            raise TokenInvalid(f"it is not signed by one of {', '.join(settings.algorithms)}")
        found = await issuer.keys.find(claimed.kid, claimed.algorithm)
        if found is None:
            raise TokenInvalid("its key is none of its issuer's")
        claimed.verify(found, settings.algorithms)
        principal = issuer.principal(claimed.claims)
        self._remembered.put(token, (principal, issuer, found), expires_at)
        return principal

    def look(self) -> None:
        """Read the files of keys that have changed."""
        for issuer in self._issuers.values():
            issuer.keys.look()

    async def aclose(self) -> None:
        """End what is under way."""
        for issuer in self._issuers.values():
            await issuer.keys.aclose()


def claim_texts(claims: Mapping[str, Any]) -> dict[str, str]:
    """The claims that are one value, as texts; what is nested or longer than any name is left out."""
    found = {}
    for name, value in claims.items():
        if isinstance(value, bool):
            text = "true" if value else "false"
        elif isinstance(value, str | int | float):
            text = str(value)
        else:
            continue
        if name not in _PASSING and len(name) <= _LONGEST_NAME and len(text) <= _LONGEST_VALUE:
            found[name] = text
    return found
