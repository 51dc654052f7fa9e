"""From a name and a password to whom they belong: people, API keys, workloads of trusted issuers."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from registry import logs
from registry.access.apikeys import ApiKeys, is_key, is_key_name
from registry.access.errors import BadCredentials, Unfit
from registry.access.identity_tokens import is_identity_token
from registry.access.logins import Login, Logins, Origin, Via
from registry.access.passwords import Passwords
from registry.access.patience import Patience
from registry.access.people import PeopleSource, Person, SourceUnavailable
from registry.access.principals import Principal
from registry.access.tokens import TokenInvalid
from registry.errors import RegistryError, Unavailable
from storage.errors import StorageError

_LOG = logging.getLogger(__name__)
# How long a name and password are believed without a look at their source, and without a hash.
_FRESH_SECONDS = 5.0
_KNOWN_SECONDS = 300.0
_REMEMBERED = 10_000
# What no name and no password has more of: what is sent as one costs no more than that.
_MOST_NAME = 256
_MOST_PASSWORD = 16 << 10


class Workloads(Protocol):
    """The trusted issuers of workloads' tokens."""

    async def verify(self, token: str) -> Principal:
        """Whose token it is. Raises TokenInvalid, SourceUnavailable."""


@dataclass(slots=True)
class _Known:
    person: Person
    source: str
    verified_at: float
    looked_at: float


class Credentials:
    """Verifies names and passwords; `people` are the sources in their order, by the word that names each."""

    def __init__(
        self,
        people: dict[str, PeopleSource],
        keys: ApiKeys,
        workloads: Workloads | None,
        passwords: Passwords,
        patience: Patience,
        logins: Logins,
        clock: Callable[[], float],
    ) -> None:
        self._people = people
        self._keys = keys
        self._workloads = workloads
        self._passwords = passwords
        self._patience = patience
        self._logins = logins
        self._clock = clock
        # What was verified lately, under a key that only this process knows.
        self._secret = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    async def person(self, name: str, password: str, origin: Origin, *, fresh: bool = False) -> Person:
        """Whose name and password these are.

        With `fresh` the source is asked as it is now; otherwise what it said some seconds ago will do.

        Raises BadCredentials, TooManyRequests, Unavailable.
        """
        login = _login(name, password, origin)
        try:
            found = await self._person(name, password, login, fresh=fresh)
        except SourceUnavailable as error:
            logs.event(_LOG, logging.ERROR, "login.unavailable", reason=str(error))
            self._logins.failed(login, str(error), outcome="failed")
            raise Unavailable(
                "whoever knows the users cannot be asked at the moment; try again",
                headers={"Retry-After": "10"},
            ) from error
        except TokenInvalid as error:
            logs.event(_LOG, logging.INFO, "login.refused", reason=str(error))
            self._logins.failed(login, str(error))
            raise BadCredentials from error
        except RegistryError as error:
            self._logins.failed(login, error.message, outcome="refused" if error.status < 500 else "failed")
            raise
        except (StorageError, Unfit) as error:
            self._logins.failed(login, str(error), outcome="failed")
            raise
        self._logins.succeeded(login, found.principal)
        return found

    def forget(self) -> None:
        """Ask the sources again from now on."""
        self._known.clear()

    async def _person(self, name: str, password: str, login: Login, *, fresh: bool) -> Person:
        """Raises BadCredentials, TokenInvalid, SourceUnavailable, TooManyRequests, Unavailable."""
        if len(name) > _MOST_NAME or len(password) > _MOST_PASSWORD or not password:
            raise BadCredentials
        if login.via == "apikey":
            found = await self._key(password, login)
        elif self._workloads is not None and _is_signed(password):
            # Nobody guesses a signature, so there is nothing to slow down; and all jobs log in by one name.
            found = Person(await self._workloads.verify(password), "")
        else:
            found = await self._by_password(name, password, login, fresh=fresh)
        if found is None or not found.enabled:
            raise BadCredentials
        return found

    async def _key(self, text: str, login: Login) -> Person | None:
        # Nothing of 256 random bits can be guessed; but each guess costs a look at the storage.
        # By the name that was tried, which is none for what cannot be one: texts have 16 KiB.
        name, address = login.tried, login.origin.address
        login.waited = await self._patience.wait(name, address)
        principal = await self._keys.verify(text)
        if principal is None:
            self._patience.failed(name, address)
            return None
        self._patience.succeeded(name, address)
        return Person(principal, "")

    async def _by_password(self, name: str, password: str, login: Login, *, fresh: bool) -> Person | None:
        pair = f"{len(name)}:{name}{password}".encode(errors="surrogatepass")
        digest = hmac.digest(self._secret, pair, hashlib.sha256)
        now = self._clock()
        known = self._known.get(digest)
        if known is not None and now - known.verified_at < _KNOWN_SECONDS:
            if not fresh and now - known.looked_at < _FRESH_SECONDS:
                return known.person
            found = await self._knowing(name)
            if found is not None and (found[0], found[1].stamp) == (known.source, known.person.stamp):
                known.person, known.looked_at = found[1], now
                return known.person
        self._known.pop(digest, None)
        address = login.origin.address
        login.waited = await self._patience.wait(name, address)
        verified = await self._verified(name, password)
        if verified is None:
            self._patience.failed(name, address)
            return None
        source, person = verified
        self._patience.succeeded(name, address)
        self._known[digest] = _Known(person, source, now, now)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return person

    async def _verified(self, name: str, password: str) -> tuple[str, Person] | None:
        """The source that knows the name decides, and none that comes after it.

        A name that none of them knows is the last one's affair, and a failure costs one hash of ours at
        least: so the time that it takes says little of who is known where.
        """
        found = await self._knowing(name)
        word, called = (next(reversed(self._people)), name) if found is None else (found[0], found[2])
        person = await self._people[word].verify(called, password)
        if person is None and word != "user":
            await self._passwords.matches(password, None)
        return None if person is None else (word, person)

    async def _knowing(self, name: str) -> tuple[str, Person, str] | None:
        """The first source that knows somebody, whom, and by which name.

        A source may know more ways to write a name than those before it: what it calls them itself is looked
        for there, too.
        """
        earlier: dict[str, PeopleSource] = {}
        for word, source in self._people.items():
            person = await source.find(name)
            if person is not None:
                called = person.principal.name
                for before, one in earlier.items() if called != name else ():
                    if (theirs := await one.find(called)) is not None:
                        return before, theirs, called
                return word, person, name
            earlier[word] = source
        return None


def _is_signed(text: str) -> bool:
    """Whether a text looks like a token that somebody has signed."""
    return text.count(".") == 2 and text.startswith("ey")


def _login(name: str, password: str, origin: Origin) -> Login:
    """What can be told of an attempt: who is claimed, unless that is a secret in the wrong place."""
    if is_key(password):
        # The name that goes with a key is anybody's.
        return Login(origin, "apikey", _key_name(password), password)
    via: Via = "token" if _is_signed(password) else "basic"
    is_secret = is_key(name) or is_identity_token(name) or _is_signed(name)
    return Login(origin, via, "" if is_secret else name, password)


def _key_name(text: str) -> str:
    name = text.split("_", 2)[1]
    return f"key:{name}" if is_key_name(name) else ""
