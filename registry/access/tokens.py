"""Access tokens: signed, short-lived, verified by every replica from memory alone.

A token says who somebody is and bounds what it is good for; the rules decide at each request.
"""

from __future__ import annotations

import binascii
import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from registry.access.callers import Grants
from registry.access.principals import Principal
from registry.access.scopes import access_of, grants_of
from registry.access.signing import SigningKey, SigningKeys

TYPE = "at+jwt"
# Clients send it back as a header with each request, and proxies take lines of 8 KiB.
MOST_BYTES = 8 << 10
_CLAIM = "moorage"
_REMEMBERED = 10_000
# Where the part of a payload begins that says who and what for. No text in JSON holds it: quotes are escaped.
_END = b',"access":'
_ENDS = 1_000
# What only the other alphabet has, and its padding, is nothing here: a token comes in one spelling.
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/!!!")
# Replicas' clocks may differ by so much.
_EARLY = timedelta(seconds=10)
_LEEWAY_SECONDS = 60


class TokenInvalid(Exception):
    """A token is not to be believed; the text says why, for the log."""


class KeyUnknown(TokenInvalid):
    """The key that has signed it is none that this process knows; another may have just made it."""


@dataclass(frozen=True, slots=True)
class Minted:
    """A token, and when it was made; times are aware, UTC."""

    text: str
    issued_at: datetime
    lifetime: timedelta


@dataclass(frozen=True, slots=True)
class Verified:
    """What a token says. `expires_at` in seconds since 1970, `kid` the key that signed it."""

    principal: Principal
    grants: Grants
    expires_at: float
    kid: str


class Tokens:
    """Mints and verifies the tokens of one registry.

    `issuer` and `service` are its own names; `others` are further services that tokens may be minted for,
    which do not count here.
    """

    def __init__(
        self,
        keys: SigningKeys,
        *,
        issuer: str,
        service: str,
        others: Collection[str],
        lifetime: timedelta,
        now: Callable[[], datetime],
        unique: Callable[[], str],
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self.service = service
        self._others = frozenset(others)
        self._lifetime = lifetime
        self._now = now
        self._unique = unique
        self._read = json.JSONDecoder().raw_decode
        # Heads as keys write them, once such a signature was right: all tokens of a key begin alike.
        self._heads: dict[bytes, SigningKey] = {}
        # What the ends of payloads come to: all tokens of somebody for the same things end alike.
        self._ends: OrderedDict[bytes, tuple[Principal, Grants]] = OrderedDict()
        self._verified: OrderedDict[bytes, Verified] = OrderedDict()

    def mint(self, principal: Principal, grants: Grants, service: str = "") -> Minted:
        """A token for somebody; for another service if that is one of `others`.

        Raises SigningKeyUnusable.
        """
        key = self._keys.newest
        now = self._now()
        # Whole seconds: that is all that a token can say.
        issued = now.replace(microsecond=0)
        claims = {
            "iss": self._issuer,
            "sub": "" if principal.is_anonymous else str(principal),
            "aud": service if service in self._others else self.service,
            "iat": issued,
            "nbf": issued - _EARLY,
            "exp": issued + self._lifetime,
            "jti": self._unique(),
            # Last come those that are the same in the next token (`_said`).
            "access": access_of(grants),
            _CLAIM: principal.document(),
        }
        text = jwt.encode(claims, key.private, key.algorithm, headers={"typ": TYPE, "kid": key.kid})
        return Minted(text, issued, self._lifetime)

    def verify(self, text: str) -> Verified:
        """What a token of ours says. Raises TokenInvalid."""
        data = text.encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(data).digest()
        now = self._now().timestamp()
        known = self._verified.get(digest)
        if known is not None:
            # A key that is gone takes along what it has signed.
            if known.expires_at > now and self._keys.get(known.kid) is not None:
                return known
            del self._verified[digest]
        verified = self._verify(data, now)
        if verified.expires_at <= now:
            raise TokenInvalid("it has expired")
        self._verified[digest] = verified
        if len(self._verified) > _REMEMBERED:
            self._verified.popitem(last=False)
        return verified

    def _verify(self, data: bytes, now: float) -> Verified:
        if len(data) > MOST_BYTES:
            raise TokenInvalid(f"it has more than {MOST_BYTES} bytes")
        try:
            # By hand, but for the signature: each token that is new to a process passes here, and the library
            # looks at it three times.
            signed, _, signature = data.rpartition(b".")
            head, _, payload = signed.partition(b".")
            key = self._key(head)
            if not key.has_signed(signed, _decoded(signature)):
                raise TokenInvalid("its signature is wrong")
            self._heads[head] = key
            claims, principal, grants = self._said(_decoded(payload))
            self._check(claims, now)
            return Verified(principal, grants, float(claims["exp"]), key.kid)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise TokenInvalid("it does not say what a token says") from error

    def _key(self, head: bytes) -> SigningKey:
        """The key that a token's head names. Raises TokenInvalid, and what else parsing raises."""
        known = self._heads.get(head)
        if known is not None and self._keys.get(known.kid) is known:
            return known
        header = json.loads(_decoded(head))
        key = self._keys.get(header.get("kid"))
        if key is None:
            raise KeyUnknown("no key of this registry's has signed it")
        # Only what we make ourselves: no other type, algorithm or extension (RFC 7515, crit).
        if header != {"alg": key.algorithm, "kid": key.kid, "typ": TYPE}:
            raise TokenInvalid("its header is not that of a token of ours")
        return key

    def _said(self, payload: bytes) -> tuple[dict[str, Any], Principal, Grants]:
        """The claims of a payload, and what the last two come to. Raises what parsing raises."""
        start, _, end = payload.partition(_END)
        known = self._ends.get(end)
        if known is not None:
            return self._object(start + b"}"), *known
        claims = self._object(payload)
        found = Principal.of(claims[_CLAIM]), grants_of(claims["access"])
        if self._is_end(end):
            self._ends[end] = found
            if len(self._ends) > _ENDS:
                self._ends.popitem(last=False)
        return claims, *found

    def _is_end(self, end: bytes) -> bool:
        """Whether it ends an object with these two claims, and with nothing else, whatever comes before."""
        try:
            return self._object(b"{" + _END[1:] + end).keys() == {"access", _CLAIM}
        except ValueError:
            return False

    def _object(self, data: bytes) -> dict[str, Any]:
        """What is one object in JSON, and nothing else. Raises ValueError."""
        text = data.decode()
        found: dict[str, Any]
        found, length = self._read(text)
        if length != len(text):
            raise ValueError("something follows the object")
        return found

    def _check(self, claims: dict[str, Any], now: float) -> None:
        """Whether a token was made by this registry, for it, and not in its future."""
        if claims["iss"] != self._issuer:
            raise TokenInvalid("another issuer has made it")
        if claims["aud"] != self.service:
            raise TokenInvalid("it was made for another service")
        latest = now + _LEEWAY_SECONDS
        issued, earliest, expires = claims["iat"], claims["nbf"], claims["exp"]
        if type(issued) is not int or type(earliest) is not int or type(expires) is not int:
            raise TokenInvalid("one of its times is none")
        if issued > latest or earliest > latest:
            raise TokenInvalid("it is not valid yet")


def _decoded(part: bytes) -> bytes:
    """A part of a token, which base64url has without its padding (RFC 7515). Raises ValueError."""
    data = binascii.a2b_base64(text := part.translate(_FROM_URL) + b"=="[: -len(part) % 4], strict_mode=True)
    # The last letter can be written in several ways, of which one is right.
    if binascii.b2a_base64(data, newline=False) != text:
        raise ValueError("it is not base64url as it is written")
    return data


def response(minted: Minted) -> dict[str, object]:
    """What a client gets with its token; both names, since clients read one or the other."""
    return {
        "token": minted.text,
        "access_token": minted.text,
        "expires_in": int(minted.lifetime.total_seconds()),
        "issued_at": minted.issued_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def as_json(document: dict[str, object]) -> bytes:
    """The document as it goes out."""
    return json.dumps(document, separators=(",", ":")).encode()
