"""API keys: for machines. 256 random bits, kept as their SHA-256, good for what they were made for."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from registry.access.administration import KeyState
from registry.access.people import PeopleSource, Person, SourceUnavailable
from registry.access.principals import Bound, Principal
from registry.access.rights import WORDS, Right
from registry.access.vault import Document, Vault
from registry.errors import NotFoundHere, RequestInvalid
from registry.model.patterns import RepositoryPattern

_KIND = "apikeys"
_USES = "apikey-uses"
_PREFIX = "moorage"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?")
_SECRET_BYTES = 32
# So often at most each process writes down that a key is used.
_NOTED = timedelta(minutes=1)
_REMEMBERED = 10_000


class KeyRefused(RequestInvalid):
    """A key cannot be made so; the text says why."""


class NoKey(NotFoundHere):
    """There is no key of that name."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key without its secret; `owner` None is the operator. Times are aware, UTC.

    `owner_since` is when the owner's name came to be theirs; None where that is not known.
    """

    name: str
    hashed: str
    owner: str | None
    repositories: tuple[RepositoryPattern, ...]
    rights: frozenset[Right]
    created_at: datetime
    expires_at: datetime | None
    description: str = ""
    owner_since: datetime | None = None

    def is_expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and now >= self.expires_at


class ApiKeys:
    """The keys of one store. `people` are the sources of their owners, by the word that names them."""

    def __init__(self, vault: Vault, people: Mapping[str, PeopleSource], now: Callable[[], datetime]) -> None:
        self._vault = vault
        self._people = people
        self._now = now
        self._noted: dict[str, datetime] = {}

    async def add(
        self,
        name: str,
        *,
        owner: str | None,
        repositories: Iterable[RepositoryPattern],
        may: Iterable[str],
        expires: timedelta | None,
        description: str = "",
    ) -> tuple[ApiKey, str]:
        """Make a key; it and the text to log in with, which nobody can read again. Raises KeyRefused."""
        if _NAME.fullmatch(name) is None:
            raise KeyRefused("a key's name has 1 to 63 lower-case letters, digits, '.' or '-', like ci-build")
        unknown = [word for word in may if word not in WORDS]
        if unknown:
            raise KeyRefused(f"{unknown[0]} is no right; a key may {', '.join(WORDS)}")
        since = None
        if owner is not None:
            if (found := await self._owner(owner)) is None:
                raise KeyRefused(
                    f"{owner} is nobody who could own a key: write somebody who can log in, with the source,"
                    f" out of {', '.join(self._people)}, like user:alice"
                )
            owner, since = found.principal.text, found.since
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        now = self._now()
        key = ApiKey(
            name,
            _hash(secret),
            owner,
            tuple(repositories),
            frozenset(right for word in may for right in WORDS[word]),
            now,
            None if expires is None else now + expires,
            description,
            since,
        )
        if not key.repositories or not key.rights:
            raise KeyRefused("a key needs repositories (like 'team/**') and what it may (like pull)")
        if not await self._vault.claim(_KIND, name, _document(key)):
            raise KeyRefused(f"there is a key {name} already; revoke it, or choose another name")
        await self._vault.remove(_USES, name)
        return key, f"{_PREFIX}_{name}_{secret}"

    async def get(self, name: str) -> ApiKey:
        """One key. Raises NoKey."""
        document = await self._vault.get(_KIND, name) if is_key_name(name) else None
        if document is None:
            raise NoKey(f"there is no API key {name}")
        return _key(document)

    async def all(self) -> AsyncIterator[ApiKey]:
        """All keys, in the order of their names."""
        for name in await self._vault.names(_KIND):
            document = await self._vault.get(_KIND, name)
            if document is not None:
                yield _key(document)

    async def revoke(self, name: str) -> ApiKey:
        """Let a key be good for nothing any more. Raises NoKey."""
        key = await self.get(name)
        await self._vault.remove(_KIND, name)
        await self._vault.remove(_USES, name)
        return key

    async def used_at(self, name: str) -> datetime | None:
        """When a key was last used, to about a minute."""
        document = await self._vault.get(_USES, name)
        return None if document is None else datetime.fromisoformat(document["at"])

    async def verify(self, text: str) -> Principal | None:
        """Whom a key makes of who sends it; None when it is not good, or its owner is no more.

        Raises SourceUnavailable when its owner cannot be asked after.
        """
        parts = text.split("_", 2)
        if len(parts) != 3 or parts[0] != _PREFIX or _NAME.fullmatch(parts[1]) is None:
            return None
        document = await self._vault.get(_KIND, parts[1])
        if document is None:
            return None
        key = _key(document)
        if not hmac.compare_digest(key.hashed, _hash(parts[2])) or key.is_expired(self._now()):
            return None
        try:
            return await self.principal(key)
        except NoKey:
            return None

    async def principal(self, key: ApiKey) -> Principal:
        """Whom a key makes of who sends it, as its owner is now. Raises NoKey when there is no owner."""
        owner = None
        if key.owner is not None:
            found = await self._owner(key.owner)
            if found is None or not _is_same(found, key):
                raise NoKey(f"the owner of the API key {key.name}, {key.owner}, is no more")
            owner = found.principal
        return Principal(f"key:{key.name}", bound=Bound(key.repositories, key.rights, owner))

    async def states(self, keys: Iterable[ApiKey]) -> list[KeyState]:
        """Whether each is good for anything now; whoever does not answer is asked once."""
        owners: dict[str, Person | None] = {}
        silent: set[str] = set()
        return [await self._state(key, owners, silent) for key in keys]

    async def _state(self, key: ApiKey, owners: dict[str, Person | None], silent: set[str]) -> KeyState:
        if key.is_expired(self._now()):
            return "expired"
        if key.owner is None:
            return "good"
        source = key.owner.partition(":")[0]
        if key.owner not in owners and source not in silent:
            try:
                owners[key.owner] = await self._person(key.owner)
            except SourceUnavailable:
                silent.add(source)
        if key.owner not in owners:
            return "owner not known"
        owner = owners[key.owner]
        if owner is None or not _is_same(owner, key):
            return "owner gone"
        return "good" if owner.enabled else "owner disabled"

    async def note_use(self, principal: Principal) -> None:
        """Write down that a key was used, once a minute at most."""
        now = self._now()
        last = self._noted.get(principal.name)
        if last is not None and now - last < _NOTED:
            return
        if len(self._noted) >= _REMEMBERED:
            self._noted.clear()
        self._noted[principal.name] = now
        await self._vault.put(_USES, principal.name, {"at": now.isoformat()}, durable=False)

    async def _owner(self, text: str) -> Person | None:
        person = await self._person(text)
        return person if person is not None and person.enabled else None

    async def _person(self, text: str) -> Person | None:
        word, _, name = text.partition(":")
        source = self._people.get(word)
        return None if source is None else await source.find(name)


def is_key(text: str) -> bool:
    """Whether a text looks like a key of ours."""
    return text.startswith(f"{_PREFIX}_")


def is_key_name(text: str) -> bool:
    """Whether a key may be called so."""
    return _NAME.fullmatch(text) is not None


def _is_same(person: Person, key: ApiKey) -> bool:
    """Whether it is still they who got the key, and nobody who was given their name after them."""
    if person.since is None:
        return True
    # A key of before this was written down: what can be told is that nobody owned it who was not there yet.
    return person.since == key.owner_since if key.owner_since else person.since <= key.created_at


def _hash(secret: str) -> str:
    # Of 256 random bits there is nothing to guess, so that a slow hash would only cost.
    return hashlib.sha256(secret.encode()).hexdigest()


def _document(key: ApiKey) -> Document:
    return {
        "name": key.name,
        "hash": key.hashed,
        "owner": key.owner,
        "repositories": [pattern.text for pattern in key.repositories],
        "rights": sorted(key.rights),
        "created_at": key.created_at.isoformat(),
        "expires_at": None if key.expires_at is None else key.expires_at.isoformat(),
        "description": key.description,
        "owner_since": None if key.owner_since is None else key.owner_since.isoformat(),
    }


def _key(document: Document) -> ApiKey:
    expires_at, since = document["expires_at"], document.get("owner_since")
    return ApiKey(
        document["name"],
        document["hash"],
        document["owner"],
        tuple(RepositoryPattern(text) for text in document["repositories"]),
        frozenset(right for word in document["rights"] for right in WORDS[word]),
        datetime.fromisoformat(document["created_at"]),
        None if expires_at is None else datetime.fromisoformat(expires_at),
        document["description"],
        None if since is None else datetime.fromisoformat(since),
    )
