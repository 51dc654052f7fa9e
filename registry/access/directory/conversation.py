"""What is said to an LDAP server: who one is, what is looked for. Each answer is waited for in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import ldap

from registry.access.directory.settings import LdapSettings
from registry.access.directory.tunnel import NoWay, tunnel

P = ParamSpec("P")
T = TypeVar("T")

# Where the library would connect by itself, had it lost the connection that it was given: nowhere.
_NOWHERE = "ldap://255.255.255.255"

# The server understands whom we mean and does not take the password, or does not want them to come in.
_REFUSALS = (
    ldap.INVALID_CREDENTIALS,
    ldap.INAPPROPRIATE_AUTH,
    ldap.INSUFFICIENT_ACCESS,
    ldap.UNWILLING_TO_PERFORM,
    ldap.CONSTRAINT_VIOLATION,
    ldap.NO_SUCH_OBJECT,
    ldap.INVALID_DN_SYNTAX,
)


class Unanswered(Exception):
    """The server gave no answer that is of use; the text says why, in no word that came from the server."""


class Refused(Exception):
    """The server does not take the password."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the directory; the names of attributes are in lower case."""

    dn: str
    attributes: Mapping[str, Sequence[bytes]]

    def texts(self, attribute: str) -> list[str]:
        """The values of an attribute that are texts."""
        found = []
        for value in self.attributes.get(attribute.lower(), ()):
            with contextlib.suppress(UnicodeDecodeError):
                found.append(value.decode())
        return found


class Conversation:
    """One connection to the server; leaving it early ends what a thread still waits for."""

    def __init__(self, end: socket.socket, executor: Executor) -> None:
        self._executor = executor
        self._is_waited_for = False
        self._ldap = ldap.initialize(_NOWHERE, fileno=end)
        end.detach()
        self._ldap.set_option(ldap.OPT_REFERRALS, 0)
        self._ldap.set_option(ldap.OPT_DEREF, ldap.DEREF_NEVER)

    async def bind(self, dn: str, password: str) -> None:
        """Become whom the DN names, or nobody with two empty texts.

        Raises Refused when the password is not theirs, Unanswered.
        """
        if bool(dn) is not bool(password):
            # The server would say yes, and mean that it does not know who asks.
            raise Refused
        await self._run(self._bind, dn, password)

    async def search(self, base: str, condition: str, attributes: Sequence[str], most: int) -> list[Entry]:
        """The entries below `base` that fulfil a filter. Raises Unanswered, also if there are more."""
        return await self._run(self._search, base, condition, attributes, most)

    def end(self) -> None:
        """Say goodbye, unless a thread still waits for an answer."""
        if not self._is_waited_for:
            with contextlib.suppress(ldap.LDAPError):
                self._ldap.unbind_ext()

    async def _run(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        def run() -> T:
            return function(*arguments, **named)

        self._is_waited_for = True
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._executor, run)
        except (Refused, Unanswered):
            self._is_waited_for = False
            raise
        self._is_waited_for = False
        return found

    def _bind(self, dn: str, password: str) -> None:
        with _explained():
            number = self._ldap.simple_bind(dn, password)
            try:
                kind, *_ = self._ldap.result3(number)
            except _REFUSALS:
                raise Refused from None
        if kind != ldap.RES_BIND:
            raise Unanswered("the server answered something else than was asked")

    def _search(self, base: str, condition: str, attributes: Sequence[str], most: int) -> list[Entry]:
        with _explained():
            number = self._ldap.search_ext(
                base, ldap.SCOPE_SUBTREE, condition, list(attributes), sizelimit=most
            )
            kind, data, *_ = self._ldap.result3(number)
            # Without a DN it is a reference to another server, which is not followed.
            found = [_entry(dn, values) for dn, values in data or () if dn is not None]
        if kind != ldap.RES_SEARCH_RESULT:
            raise Unanswered("the server answered something else than was asked")
        if len(found) > most:
            raise Unanswered(f"the server found more than {most} entries for {condition}")
        return found


@asynccontextmanager
async def conversation(
    settings: LdapSettings, context: ssl.SSLContext | None, executor: Executor
) -> AsyncIterator[Conversation]:
    """A conversation with the server, which does not know yet who speaks. Raises Unanswered."""
    try:
        async with tunnel(settings, context) as end:
            opened = Conversation(end, executor)
            try:
                yield opened
            finally:
                opened.end()
    except NoWay as error:
        raise Unanswered(str(error)) from error


def _entry(dn: str, attributes: Mapping[str, Sequence[bytes]]) -> Entry:
    return Entry(dn, {name.lower(): values for name, values in attributes.items()})


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what the library raises into Unanswered.

    What the server says along is left out, since it may repeat what it was told: a password.
    """
    try:
        yield
    except ldap.LDAPError as error:
        told = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        raise Unanswered(str(told.get("desc", type(error).__name__))) from None
    except ValueError:
        raise Unanswered("the server sent what cannot be read") from None
