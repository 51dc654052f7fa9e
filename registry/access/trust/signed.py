"""Tokens that others have signed: what they say, and whether to believe it (RFC 7519, RFC 8725)."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from registry.access.tokens import TokenInvalid
from registry.access.trust.webkeys import WebKey

# Clients send tokens in headers, and proxies take lines of 8 KiB.
MOST_BYTES = 8 << 10
# Clocks may differ by so much.
LEEWAY_SECONDS = 60
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_TYPES = frozenset({"jwt", "application/jwt", "at+jwt", "application/at+jwt"})


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token as it was sent: whoever sent it may have made it up."""

    text: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]

    @property
    def algorithm(self) -> str:
        """How it says that it is signed."""
        return str(self.header["alg"])

    @property
    def kid(self) -> str | None:
        """What it calls the key that has signed it."""
        return self.header.get("kid")

    def verify(self, key: WebKey, algorithms: Collection[str]) -> None:
        """Whether the key has signed it, by one of the algorithms. Raises TokenInvalid."""
        if self.algorithm not in algorithms:
            raise TokenInvalid(f"it is not signed by one of {', '.join(algorithms)}")
        if self.algorithm not in key.algorithms:
            raise TokenInvalid(f"its key is not one for {self.algorithm}")
        signed, _, signature = self.text.rpartition(".")
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        if not algorithm.verify(signed.encode(), key.key, _bytes(signature, "signature")):
            raise TokenInvalid("its signature is not that of its key")


def unverified(text: str, *, most_bytes: int = MOST_BYTES) -> Unverified:
    """What a token says that is well formed. Raises TokenInvalid."""
    if len(text) > most_bytes:
        raise TokenInvalid(f"it has more than {most_bytes} bytes")
    found = _COMPACT.fullmatch(text)
    if found is None:
        raise TokenInvalid("it is no token: three parts in base64url, joined by dots")
    header, claims = _document(found[1], "header"), _document(found[2], "body")
    # What is said to be critical has to be understood, and nothing is that may be said there.
    if "crit" in header or "b64" in header:
        raise TokenInvalid("its header asks for something that is not known here")
    if not isinstance(header.get("alg"), str) or not isinstance(header.get("kid", ""), str):
        raise TokenInvalid("its header does not say how it is signed, and by which key")
    if str(header.get("typ", "JWT")).lower() not in _TYPES:
        raise TokenInvalid("its header says that it is something else than a token of access or identity")
    return Unverified(text, header, claims)


def check_claims(
    claims: Mapping[str, Any], *, issuer: str, audiences: Collection[str], now: float, expires_late: bool
) -> float:
    """When the token expires, in seconds since 1970, if it is from whom, for whom and of now.

    With `expires_late` clocks may differ in what is too late too. Raises TokenInvalid.
    """
    if claims.get("iss") != issuer:
        raise TokenInvalid("it is from another issuer")
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if not any(isinstance(one, str) and one in audiences for one in named):
        raise TokenInvalid("it is for another audience")
    expires = _time(claims, "exp")
    if expires is None:
        raise TokenInvalid("it does not say when it expires")
    if expires + (LEEWAY_SECONDS if expires_late else 0) <= now:
        raise TokenInvalid("it has expired")
    for name in ("nbf", "iat"):
        begins = _time(claims, name)
        if begins is not None and begins > now + LEEWAY_SECONDS:
            raise TokenInvalid(f"it is not valid yet ({name})")
    return expires


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    # A number beyond these is no time, and none that a float can hold.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1 << 40:
        raise TokenInvalid(f"its {name} is no time")
    return float(value)


def _document(part: str, what: str) -> Mapping[str, Any]:
    try:
        document = json.loads(_bytes(part, what), object_pairs_hook=_unrepeated)
        # Half a character can be written as an escape, and stands in no log and no key.
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise TokenInvalid(f"its {what} is not JSON") from error
    if not isinstance(document, dict):
        raise TokenInvalid(f"its {what} is no JSON object")
    return document


def _bytes(part: str, what: str) -> bytes:
    try:
        data = base64.b64decode(part + "=" * (-len(part) % 4), b"-_", validate=True)
    except binascii.Error as error:
        raise TokenInvalid(f"its {what} is not base64url") from error
    # The last letter can be written in several ways, of which one is right.
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != part:
        raise TokenInvalid(f"its {what} is not base64url")
    return data


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key is there twice")
    return document
