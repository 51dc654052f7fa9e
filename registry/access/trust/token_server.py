"""Tokens of a token server that is not ours, as in Distribution's `auth.token`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from registry.access.callers import Grants
from registry.access.principals import Principal
from registry.access.tokens import TokenInvalid
from registry.access.trust.chains import ChainBroken, signing_key
from registry.access.trust.keyfiles import Certificates, read_certificates, read_jwks
from registry.access.trust.remembered import Remembered
from registry.access.trust.settings import TokenServerSettings
from registry.access.trust.signed import LEEWAY_SECONDS, Unverified, check_claims, unverified
from registry.access.trust.webkeys import KeyUnfit, WebKey, WebKeys, libtrust_name, read_key
from registry.access.watched import Watched

# A chain of certificates in the header takes a few KiB, and the list of what the token is good for as much.
_MOST_BYTES = 32 << 10
_LONGEST_SUBJECT = 1024


@dataclass(frozen=True, slots=True)
class Trusted:
    """What is believed: keys by their names, and certificates that vouch for others."""

    certificates: Certificates
    jwks: WebKeys

    @property
    def keys(self) -> WebKeys:
        """All keys; each is found by its `kid`, its thumbprint and its name of old."""
        both = {key.thumbprint: key for key in self.certificates.keys}
        for key in self.jwks.keys:
            same = both.get(key.thumbprint, key)
            both[key.thumbprint] = replace(key, names=key.names | same.names)
        return WebKeys(
            tuple(replace(key, names=key.names | {libtrust_name(key.key)}) for key in both.values())
        )


class TokenServer:
    """Verifies the tokens of another token server; `now` is the time of day, aware."""

    def __init__(self, settings: TokenServerSettings, now: Callable[[], datetime]) -> None:
        """Raises Unusable for a file that is no good."""
        self.realm, self.service = settings.realm, settings.service
        self._settings = settings
        self._now = now
        what = "the keys of access.token_server"
        certificates, jwks = settings.certificates, settings.jwks_file
        self._certificates = None if certificates is None else Watched(certificates, read_certificates, what)
        self._jwks = None if jwks is None else Watched(jwks, read_jwks, what)
        self._begin()

    def verify(self, token: str) -> tuple[Principal, Grants]:
        """Whose token it is (`token:SUBJECT`), and what it is good for. Raises TokenInvalid."""
        now = self._now()
        known = self._remembered.get(token, now.timestamp())
        if known is not None:
            return known
        claimed = unverified(token, most_bytes=_MOST_BYTES)
        claims, settings = claimed.claims, self._settings
        expires_at = check_claims(
            claims,
            issuer=settings.issuer,
            audiences=(settings.service,),
            now=now.timestamp(),
            expires_late=True,
        )
        claimed.verify(self._key(claimed, now), settings.algorithms)
        found = _principal(claims), _grants(claims.get("access"))
        self._remembered.put(token, found, expires_at + LEEWAY_SECONDS)
        return found

    def look(self) -> None:
        """Read the files of keys that have changed."""
        changed = [file.look() for file in (self._certificates, self._jwks) if file is not None]
        if any(changed):
            self._begin()

    def _begin(self) -> None:
        """Believe what the files say now, and nothing that was found by what they said before."""
        certificates = Certificates((), ()) if self._certificates is None else self._certificates.value
        trusted = Trusted(certificates, WebKeys(()) if self._jwks is None else self._jwks.value)
        self._roots, self._keys = certificates.roots, trusted.keys
        self._remembered: Remembered[tuple[Principal, Grants]] = Remembered()

    def _key(self, claimed: Unverified, now: datetime) -> WebKey:
        """The key that is to have signed it, as Distribution looks for it. Raises TokenInvalid."""
        header = claimed.header
        try:
            if header.get("x5c"):
                return signing_key(header["x5c"], self._roots, now)
            name = read_key(header["jwk"]).thumbprint if header.get("jwk") else claimed.kid
        except (ChainBroken, KeyUnfit) as error:
            raise TokenInvalid(f"its key cannot be believed: {error}") from error
        found = self._keys.find(name, claimed.algorithm)
        if found is None:
            raise TokenInvalid("its key is none of access.token_server's")
        return found


def _principal(claims: Mapping[str, Any]) -> Principal:
    subject = claims.get("sub", "")
    if not isinstance(subject, str) or len(subject) > _LONGEST_SUBJECT or not (subject + " ").isprintable():
        raise TokenInvalid("its subject is no name")
    return Principal(f"token:{subject}")


def _grants(access: object) -> Grants:
    """What the claim `access` says (Distribution's token specification). Raises TokenInvalid."""
    repositories: dict[str, frozenset[str]] = {}
    registry = set()
    if not isinstance(access, list | None):
        raise TokenInvalid("what it is good for is no list")
    for entry in access or ():
        kind, name, actions = _entry(entry)
        if kind == "repository":
            repositories[name] = repositories.get(name, frozenset()) | actions
        elif kind == "registry" and name == "catalog" and "*" in actions:
            # Nothing else: to administer the registry takes somebody whom it knows.
            registry.add(name)
    return Grants(repositories, frozenset(registry))


def _entry(entry: object) -> tuple[str, str, frozenset[str]]:
    if not isinstance(entry, Mapping):
        raise TokenInvalid("what it is good for holds what is no entry")
    kind, name, actions = (entry.get(key) for key in ("type", "name", "actions"))
    if (
        not isinstance(kind, str)
        or not isinstance(name, str)
        or not isinstance(actions, list | None)
        or not all(isinstance(action, str) for action in actions or ())
    ):
        raise TokenInvalid("what it is good for holds a malformed entry")
    return kind, name, frozenset(actions or ())
