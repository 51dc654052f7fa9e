"""The gate: from the `Authorization` of a request to who makes it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Protocol

from registry.access.callers import Caller
from registry.access.logins import Origin
from registry.access.policy import Policy
from registry.errors import Unauthorized


class Gate(Protocol):
    """Tells who makes a request."""

    @property
    def service(self) -> str:
        """The name that tokens must be made for."""

    @property
    def realm(self) -> str | None:
        """Where tokens are to be had; None: from this registry."""

    async def caller(self, authorization: Sequence[str], origin: Origin) -> Caller:
        """Who sends these `Authorization` headers. Raises Unauthorized."""


class OpenGate:
    """Nobody is known here, and everybody is nobody in particular."""

    service = "moorage"
    realm: str | None = None

    def __init__(self, policy: Callable[[], Policy]) -> None:
        self._policy = policy

    async def caller(self, authorization: Sequence[str], origin: Origin) -> Caller:  # noqa: ARG002 (Gate's)
        """Nobody in particular."""
        return Caller.anybody(self._policy())


class Turnstile:
    """A gate that another one takes the place of while the registry serves."""

    def __init__(self, inner: Gate) -> None:
        self.inner = inner

    @property
    def service(self) -> str:
        """The name that tokens must be made for."""
        return self.inner.service

    @property
    def realm(self) -> str | None:
        """Where tokens are to be had; None: from this registry."""
        return self.inner.realm

    async def caller(self, authorization: Sequence[str], origin: Origin) -> Caller:
        """Who sends these `Authorization` headers."""
        return await self.inner.caller(authorization, origin)


def basic(encoded: str) -> tuple[str, str]:
    """Name and password of Basic credentials (RFC 7617). Raises Unauthorized."""
    try:
        name, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        colon = ""
    if not colon:
        raise Unauthorized("the Basic credentials are none: base64 of name:password is what they should be")
    return name, password
