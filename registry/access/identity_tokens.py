"""Identity tokens: what `docker login` keeps instead of a password. Opaque, kept hashed, revocable.

They are kept by whom they stand for, so that all of one person can be listed and revoked.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from registry.access.people import PeopleSource, Person
from registry.access.principals import Principal
from registry.access.vault import Vault

_KIND = "identity-tokens"
_PREFIX = "moorage.identity."
_SECRET_BYTES = 32
# Each `docker login` makes one; who logs in more often loses the oldest.
_MOST = 100


class IdentityTokens:
    """The identity tokens of one store; `people` are the sources by the word that names them."""

    def __init__(
        self,
        vault: Vault,
        people: Mapping[str, PeopleSource],
        now: Callable[[], datetime],
        *,
        lifetime: timedelta,
    ) -> None:
        self._vault = vault
        self._people = people
        self._now = now
        self._lifetime = lifetime

    def fits(self, principal: Principal) -> bool:
        """Whether somebody may have one: people, whom a source can be asked after again, not machines."""
        return self._lifetime > timedelta(0) and principal.source in self._people

    async def issue(self, person: Person, client: str) -> str:
        """A token that stands for somebody until their password changes or its time is over."""
        secret, kind = secrets.token_urlsafe(_SECRET_BYTES), _kind(person.principal.text)
        now = self._now()
        await self._vault.put(
            kind,
            _hash(secret),
            {
                "principal": person.principal.text,
                "stamp": person.stamp,
                "client": client[:100],
                "created_at": now.isoformat(),
                "expires_at": (now + self._lifetime).isoformat(),
            },
        )
        await self._bound(kind)
        return f"{_PREFIX}{_whose(person.principal.text)}.{secret}"

    async def person(self, text: str) -> Person | None:
        """Whom a token stands for, as they are now; None when it is not good any more.

        Raises SourceUnavailable.
        """
        whose, _, secret = text.removeprefix(_PREFIX).partition(".")
        if not text.startswith(_PREFIX) or not secret or not whose.isalnum() or not whose.isascii():
            return None
        document = await self._vault.get(f"{_KIND}/{whose}", _hash(secret))
        if document is None or self._now() >= datetime.fromisoformat(document["expires_at"]):
            return None
        word, _, name = document["principal"].partition(":")
        source = self._people.get(word)
        person = None if source is None else await source.find(name)
        if person is None or not person.enabled or person.stamp != document["stamp"]:
            return None
        return person if person.principal.text == document["principal"] else None

    async def count(self, principal: str) -> int:
        """How many tokens somebody has."""
        return len(await self._vault.names(_kind(principal)))

    async def revoke_all(self, principal: str) -> int:
        """Let all tokens of somebody be good for nothing any more; how many there were."""
        kind = _kind(principal)
        names = await self._vault.names(kind)
        for name in names:
            await self._vault.remove(kind, name)
        return len(names)

    async def sweep(self) -> int:
        """Remove the tokens whose time is over; how many there were."""
        swept = 0
        for whose in await self._vault.kinds(_KIND):
            kind = f"{_KIND}/{whose}"
            for name in await self._vault.names(kind):
                document = await self._vault.get(kind, name)
                if document is not None and self._now() >= datetime.fromisoformat(document["expires_at"]):
                    swept += await self._vault.remove(kind, name)
        return swept

    async def _bound(self, kind: str) -> None:
        names = await self._vault.names(kind)
        if len(names) <= _MOST:
            return
        made = []
        for name in names:
            document = await self._vault.get(kind, name)
            if document is not None:
                made.append((document["created_at"], name))
        for _, name in sorted(made)[: len(made) - _MOST]:
            await self._vault.remove(kind, name)


def is_identity_token(text: str) -> bool:
    """Whether a text looks like one of ours."""
    return text.startswith(_PREFIX)


def _whose(principal: str) -> str:
    return hashlib.sha256(principal.encode()).hexdigest()[:32]


def _kind(principal: str) -> str:
    return f"{_KIND}/{_whose(principal)}"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
