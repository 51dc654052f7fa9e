"""People whom an LDAP server knows: found by a service account, believed when they can bind themselves."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import ldap.dn
import ldap.filter

from registry.access.directory.conversation import Conversation, Entry, Refused, Unanswered, conversation
from registry.access.directory.settings import LdapSettings
from registry.access.people import Person, SourceUnavailable, is_name
from registry.access.principals import Principal
from registry.access.watched import Unusable, Watched
from registry.settings import Problem, Source

T = TypeVar("T")

_MOST_PASSWORD_BYTES = 4096
_MOST_GROUPS = 2000
_WAITING = 64
# What changes when the password does, or when another person has come to have the same DN.
_STAMPED = ("pwdchangedtime", "pwdlastset", "entryuuid", "objectguid", "nsuniqueid")
# How directories write down that somebody may not log in, which a look at the entry has to see.
_ACCOUNT_CONTROL, _ACCOUNT_DISABLED = "useraccountcontrol", 0x2
_LOCKED_FOR_GOOD = "000001010000Z"

Rdns = list[list[tuple[str, str]]]


class Directory:
    """The people of an LDAP server, each question asked in a thread of a bounded number.

    Directories take `Alice` and `alice` for the same, so people and groups are called in lower case.
    Raises Unusable when the file of certificates is no good.
    """

    def __init__(self, settings: LdapSettings) -> None:
        self._settings = settings
        self._executor = ThreadPoolExecutor(settings.max_in_flight, thread_name_prefix="directory")
        self._free = asyncio.Semaphore(settings.max_in_flight)
        self._waiting = 0
        self._trusted: Watched[ssl.SSLContext] | None = None
        self._context: ssl.SSLContext | None = None
        if settings.is_encrypted and settings.ca_file is not None:
            self._trusted = Watched(settings.ca_file, _trusting, "certificates of the LDAP server")
        elif settings.is_encrypted:
            self._context = ssl.create_default_context()

    async def find(self, name: str) -> Person | None:
        """Whom the directory calls so, with their groups as they are now. Raises SourceUnavailable."""
        return await self._ask(partial(self._find, name)) if is_name(name) else None

    async def verify(self, name: str, password: str) -> Person | None:
        """The person, if the server lets them bind with the password. Raises SourceUnavailable."""
        if not is_name(name) or not _is_password(password):
            return None
        return await self._ask(partial(self._verify, name, password))

    def look(self) -> None:
        """Take up the file of certificates if it has changed and is good; blocks while it is read."""
        if self._trusted is not None:
            self._trusted.look()

    def close(self) -> None:
        """End the threads, once nobody waits for them any more."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, ask: Callable[[], Awaitable[T]]) -> T:
        url, seconds = self._settings.url, self._settings.timeout_seconds
        if self._waiting >= _WAITING:
            raise SourceUnavailable(f"{url}: too many wait for an answer already")
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds), self._free:
                return await ask()
        except TimeoutError as error:
            raise SourceUnavailable(f"{url}: no answer within {seconds:g} s") from error
        except Unanswered as error:
            raise SourceUnavailable(f"{url}: {error}") from error
        finally:
            self._waiting -= 1

    async def _find(self, name: str) -> Person | None:
        async with self._service() as service:
            entry = await self._entry(service, name)
            return None if entry is None else await self._person(service, entry)

    async def _verify(self, name: str, password: str) -> Person | None:
        async with self._service() as service:
            entry = await self._entry(service, name)
            # Somebody unknown is asked for as well, so that it takes as long.
            dn = f"cn=nobody who is known here,{self._settings.user_base}" if entry is None else entry.dn
            try:
                async with self._conversation() as theirs:
                    await theirs.bind(dn, password)
            except Refused:
                return None
            return None if entry is None else await self._person(service, entry)

    def _conversation(self) -> AbstractAsyncContextManager[Conversation]:
        context = self._context if self._trusted is None else self._trusted.value
        return conversation(self._settings, context, self._executor)

    @asynccontextmanager
    async def _service(self) -> AsyncIterator[Conversation]:
        settings = self._settings
        password = settings.bind_password
        async with self._conversation() as service:
            try:
                await service.bind(settings.bind_dn or "", "" if password is None else password.reveal())
            except Refused as error:
                raise Unanswered("the server does not take bind_dn with bind_password") from error
            yield service

    async def _entry(self, service: Conversation, name: str) -> Entry | None:
        settings = self._settings
        wanted = [
            settings.name_attribute,
            *_STAMPED,
            _ACCOUNT_CONTROL,
            "nsaccountlock",
            "pwdaccountlockedtime",
        ]
        if settings.group_attribute is not None:
            wanted.append(settings.group_attribute)
        condition = _filled(settings.user_filter, {"username": name})
        found = await service.search(settings.user_base, condition, wanted, 2)
        if len(found) > 1:
            raise Unanswered(f"the server has more than one entry for {condition}")
        if not found:
            return None
        if not _is_below(_rdns(found[0].dn), settings.user_base):
            raise Unanswered("the server found somebody who is not below user_base")
        return found[0]

    async def _person(self, service: Conversation, entry: Entry) -> Person:
        values = {name: [value.hex() for value in entry.attributes.get(name, ())] for name in _STAMPED}
        stamp = hashlib.sha256(json.dumps([entry.dn, values], sort_keys=True).encode()).hexdigest()[:32]
        name = self._name(entry)
        groups = frozenset(f"ldap-group:{group}" for group in await self._groups(service, entry, name))
        return Person(Principal(f"ldap:{name}", groups), stamp, _is_enabled(entry))

    def _name(self, entry: Entry) -> str:
        """What somebody is called, however they were asked for: what tells one person from another."""
        attribute = self._settings.name_attribute
        names = {_folded(value) for value in entry.texts(attribute)}
        if len(names) > 1:
            # Of several, the one that the entry itself is named by.
            first = _rdns(entry.dn)[0]
            names = {value for kind, value in first if kind == attribute.lower() and value in names}
        if len(names) != 1 or not is_name(name := names.pop()):
            raise Unanswered(f"the server has found somebody, but not what to call them ({attribute})")
        return name

    async def _groups(self, service: Conversation, entry: Entry, name: str) -> set[str]:
        settings = self._settings
        if settings.group_attribute is not None:
            written = [_rdns(dn, strictly=False) for dn in entry.texts(settings.group_attribute)]
            base = settings.group_base
            found = [rdns[0][0][1] for rdns in written if rdns and (base is None or _is_below(rdns, base))]
        elif settings.group_base is not None and settings.group_filter is not None:
            # As the person's entry spells it: in a group's, case may matter.
            spelled = next(one for one in entry.texts(settings.name_attribute) if _folded(one) == name)
            condition = _filled(settings.group_filter, {"dn": entry.dn, "username": spelled})
            attribute = settings.group_name_attribute
            entries = await service.search(settings.group_base, condition, [attribute], _MOST_GROUPS)
            found = [_folded(text) for one in entries for text in one.texts(attribute)]
        else:
            found = []
        return {group for group in found if is_name(group)}


def _trusting(file: Path) -> ssl.SSLContext:
    """What believes the certificates that a file vouches for. Raises Unusable."""
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as error:
        # An SSLError is one too, whose own text says little.
        reason = "it holds no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        problem = Problem("", f"the file cannot be used: {reason}", Source.file(str(file)))
        raise Unusable("the file of certificates", [problem]) from error


def _filled(template: str, values: Mapping[str, str]) -> str:
    """A filter with its placeholders filled, at once, with what can be nothing but a value."""

    def value(match: re.Match[str]) -> str:
        return str(ldap.filter.escape_filter_chars(values[match[1]]))

    return re.sub(r"\{(\w+)\}", value, template)


def _rdns(dn: str, *, strictly: bool = True) -> Rdns:
    """The parts of a DN, the nearest first, each as attributes with their values; empty for what is none.

    With `strictly` that raises Unanswered: to bind as nobody always succeeds.
    """
    try:
        parts = [[(kind.lower(), _folded(value)) for kind, value, _ in rdn] for rdn in ldap.dn.str2dn(dn)]
    except (ldap.LDAPError, ValueError):
        parts = []
    if strictly and not parts:
        raise Unanswered("the server has found somebody without a DN")
    return parts


def _folded(value: str) -> str:
    """As directories compare values; but no other sign (kelvin's) becomes a plain letter."""
    folded = " ".join(word for word in value.lower().split(" ") if word)
    return folded if value.isascii() or not folded.isascii() else value


def _is_below(rdns: Rdns, base: str) -> bool:
    below = _rdns(base, strictly=False)
    return bool(below) and [sorted(rdn) for rdn in rdns[-len(below) :]] == [sorted(rdn) for rdn in below]


def _is_enabled(entry: Entry) -> bool:
    """Whether the entry of somebody says that they may log in, in any of the ways in which directories do."""
    for text in entry.texts(_ACCOUNT_CONTROL):
        if not text.isdecimal() or int(text) & _ACCOUNT_DISABLED:
            return False
    locked = any(text.lower() == "true" for text in entry.texts("nsaccountlock"))
    return not locked and _LOCKED_FOR_GOOD not in entry.texts("pwdaccountlockedtime")


def _is_password(text: str) -> bool:
    """Whether it is worth asking the server about: an empty one would let everybody in."""
    try:
        return 0 < len(text.encode()) <= _MOST_PASSWORD_BYTES and "\x00" not in text
    except UnicodeEncodeError:
        return False
