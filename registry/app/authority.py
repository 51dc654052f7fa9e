"""Whoever knows people, put together: accounts, keys and tokens of one process, on one store.

Imported only where rules know people, since what it takes is heavy.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from registry.access.accounts import Accounts
from registry.access.administration import Names
from registry.access.apikeys import ApiKeys
from registry.access.audit import Entry
from registry.access.credentials import Credentials
from registry.access.guarded import GuardedGate
from registry.access.identity import identify
from registry.access.identity_tokens import IdentityTokens
from registry.access.issuing import Issuing
from registry.access.logins import Logins
from registry.access.passwords import Passwords
from registry.access.patience import Patience
from registry.access.people import PeopleSource
from registry.access.policy import Policy
from registry.access.principals import ANONYMOUS, Principal
from registry.access.seal import read_seal
from registry.access.signing import KeyFiles, SigningKeys, StoredKeys
from registry.access.sources import PeopleSources
from registry.access.tokens import Tokens
from registry.access.trust.issuers import Issuers
from registry.access.trust.token_server import TokenServer
from registry.access.vault import Vault
from registry.config import Config
from registry.core.registry import Registry
from registry.errors import RequestInvalid
from registry.remote.egress import Egress

_LEEWAY_SECONDS = 60.0


class Authority:
    """Made by `begin`; `aclose` ends its threads. Raises Unfit.

    `policy` gives the rules as they are now, `place` tells this store from a copy of it,
    `note` tells the audit trail.
    """

    def __init__(
        self,
        config: Config,
        registry: Registry,
        policy: Callable[[], Policy],
        place: Callable[[], str | None],
        note: Callable[[Entry], None],
    ) -> None:
        access = config.access
        effects = registry.store.effects
        self._config = config
        self._policy = policy
        self._place = place
        self._may_write = registry.may_write
        self._require_writable = registry.require_writable
        self._effects = effects
        self.vault = Vault(registry.store.driver, read_seal(access.seal_key_file, required=config.needs_seal))
        self._passwords = Passwords(cost=access.passwords.cost, at_once=access.passwords.at_once)
        self.accounts = Accounts(self.vault, self._passwords, effects.now)
        self._sources = PeopleSources(access, self._passwords)
        self._people: dict[str, PeopleSource] = {"user": self.accounts, **self._sources.sources}
        self.api_keys = ApiKeys(self.vault, self._people, effects.now)
        self.identity_tokens = IdentityTokens(
            self.vault, self._people, effects.now, lifetime=access.tokens.refresh_lifetime
        )
        self._issuers = (
            Issuers.of(
                access.issuers, Egress.of(config.egress, os.environ), now=effects.now, clock=time.monotonic
            )
            if access.issuers
            else None
        )
        self._foreign = None if access.token_server is None else TokenServer(access.token_server, effects.now)
        self._logins = Logins(note, time.monotonic)
        self.credentials = Credentials(
            self._people,
            self.api_keys,
            self._issuers,
            self._passwords,
            Patience(time.monotonic),
            self._logins,
            time.monotonic,
        )
        files = access.tokens.signing_key_files
        self.stored_keys = None if files else StoredKeys(self.vault, may_write=registry.may_write())
        self.signing_keys = SigningKeys(self.stored_keys or KeyFiles(files))

    async def begin(self) -> None:
        """Read the keys and the registry's own name, or make them.

        Raises SealBroken, SigningKeyUnusable, storage errors.
        """
        await self.signing_keys.look()
        names = await self.names()
        self.tokens = Tokens(
            self.signing_keys,
            issuer=names.issuer,
            service=names.service,
            others=self._config.access.tokens.services,
            lifetime=self._config.access.tokens.lifetime,
            now=self._effects.now,
            unique=self._effects.unique,
        )
        self.gate = GuardedGate(
            self._policy, self.credentials, self.signing_keys, self.tokens, self._foreign, time.monotonic
        )
        self.issuing = Issuing(
            self._policy,
            self.credentials,
            self._logins,
            self.tokens,
            self.signing_keys,
            self.identity_tokens,
            self.api_keys,
            self._may_write,
        )

    async def look(self) -> None:
        """See what other processes have changed, and the files of people and of others' keys."""
        await asyncio.to_thread(self._sources.look)
        await self.signing_keys.look()
        if self._issuers is not None:
            self._issuers.look()
        if self._foreign is not None:
            self._foreign.look()

    async def sweep(self, now: float) -> None:
        """Remove what nobody needs any more; `now` by the store's own clock."""
        await self.identity_tokens.sweep()
        if self.stored_keys is not None:
            lifetime = self._config.access.tokens.lifetime.total_seconds()
            await self.stored_keys.retire(lifetime + _LEEWAY_SECONDS, now)

    async def names(self) -> Names:
        """How this registry is called in its tokens."""
        name = await identify(self.vault, self._place(), may_write=self._may_write())
        host = urlsplit(self._config.url or "").netloc or "moorage"
        return Names(f"moorage:{name}", f"{host}/{name[:12]}")

    def policy(self) -> Policy:
        """The rules as they are now."""
        return self._policy()

    async def known(self, text: str) -> Principal:
        """Somebody with what is known of them now: groups of people, bounds of keys.

        Raises RequestInvalid where there is nobody of that name, SourceUnavailable.
        """
        word, _, name = text.partition(":")
        if text == ANONYMOUS.text or word in ("issuer", "token"):
            return Principal(text)
        if word == "key":
            return await self.api_keys.principal(await self.api_keys.get(name))
        source = self._people.get(word)
        if source is None:
            raise RequestInvalid(
                f"{text} is nobody: write a name with its source, like user:alice, or anonymous; there are"
                f" {', '.join((*self._people, 'key', 'issuer'))}"
            )
        person = await source.find(name)
        if person is None:
            raise RequestInvalid(f"nobody is called {text}")
        return person.principal

    def require_writable(self) -> None:
        """Raises ReadOnly while the store takes no writes."""
        self._require_writable()

    async def aclose(self) -> None:
        """End the threads, and what is being fetched."""
        if self._issuers is not None:
            await self._issuers.aclose()
        self._sources.close()
        self._passwords.close()
