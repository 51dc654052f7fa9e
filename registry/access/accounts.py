"""Accounts: people whom the registry keeps itself, in its own storage."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from registry.access.passwords import Passwords
from registry.access.people import Person, folded
from registry.access.principals import Principal
from registry.access.vault import Document, Vault
from registry.errors import NotFoundHere, RequestInvalid

_KIND = "accounts"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@+/-]{0,99}")


class AccountRefused(RequestInvalid):
    """An account cannot be made or changed so; the text says why."""


class NoAccount(NotFoundHere):
    """There is no account of that name."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account; times are aware, UTC. `stamp` is another after each change of the password."""

    name: str
    hashed: str
    groups: tuple[str, ...]
    enabled: bool
    stamp: str
    created_at: datetime
    password_at: datetime

    @property
    def person(self) -> Person:
        """The person, as rules know them."""
        groups = frozenset(f"group:{group}" for group in self.groups)
        return Person(Principal(f"user:{self.name}", groups), self.stamp, self.enabled, self.created_at)


class Accounts:
    """The accounts of one store, found in whatever case.

    Each change sees all that were acknowledged before it.
    """

    def __init__(self, vault: Vault, passwords: Passwords, now: Callable[[], datetime]) -> None:
        self._vault = vault
        self._passwords = passwords
        self._now = now

    async def get(self, name: str) -> Account:
        """One account. Raises NoAccount."""
        key = folded(name)
        account = _account(await self._vault.latest(_KIND, key)) if _NAME.fullmatch(key) else None
        if account is None:
            raise NoAccount(f"there is no account {name}")
        return account

    async def all(self) -> AsyncIterator[Account]:
        """All accounts, in the order of their names."""
        async for _, document in self._vault.logs(_KIND):
            account = _account(document)
            if account is not None:
                yield account

    async def add(self, name: str, password: str, groups: Iterable[str] = ()) -> Account:
        """Make an account. Raises AccountRefused, PasswordUnfit."""
        if _NAME.fullmatch(name) is None:
            raise AccountRefused(
                "a name has 1 to 100 letters, digits, '.', '_', '@', '+' or '-', and begins with a letter or"
                " digit"
            )
        now = self._now()
        account = Account(name, await self._passwords.hash(password), _fit(groups), True, _stamp(), now, now)

        def change(before: Document | None) -> Document:
            if (there := _account(before)) is not None:
                raise AccountRefused(f"there is an account {there.name} already")
            return _document(account)

        await self._vault.revise(_KIND, folded(name), change)
        return account

    async def set_groups(self, name: str, groups: Iterable[str]) -> Account:
        """Let somebody be in these groups and no others. Raises AccountRefused."""
        fit = _fit(groups)
        return await self._change(name, lambda account: replace(account, groups=fit))

    async def set_password(self, name: str, password: str) -> Account:
        """Give an account another password; whoever logged in with the old one is believed no more.

        Raises AccountRefused, PasswordUnfit.
        """
        hashed, now = await self._passwords.hash(password), self._now()
        return await self._change(
            name, lambda account: replace(account, hashed=hashed, stamp=_stamp(), password_at=now)
        )

    async def enable(self, name: str, *, on: bool) -> Account:
        """Let somebody log in, or no more. Raises NoAccount."""
        return await self._change(name, lambda account: replace(account, enabled=on))

    async def remove(self, name: str) -> None:
        """Remove an account; whoever gets the name later is somebody else. Raises NoAccount."""

        def change(before: Document | None) -> Document:
            if _account(before) is None:
                raise NoAccount(f"there is no account {name}")
            # What stays keeps the log in being: a late change must not bring the account back.
            return {"removed": True}

        await self._revise(name, change)

    async def find(self, name: str) -> Person | None:
        """Whom an account is called so."""
        try:
            return (await self.get(name)).person
        except NoAccount:
            return None

    async def verify(self, name: str, password: str) -> Person | None:
        """The person, if the password is theirs; takes as long when there is nobody of that name."""
        try:
            account = await self.get(name)
        except NoAccount:
            account = None
        matches = await self._passwords.matches(password, None if account is None else account.hashed)
        return account.person if account is not None and matches else None

    async def _change(self, name: str, change: Callable[[Account], Account]) -> Account:
        changed: list[Account] = []

        def revised(before: Document | None) -> Document:
            account = _account(before)
            if account is None:
                raise NoAccount(f"there is no account {name}")
            changed.append(change(account))
            return _document(changed[-1])

        await self._revise(name, revised)
        return changed[-1]

    async def _revise(self, name: str, change: Callable[[Document | None], Document]) -> None:
        key = folded(name)
        if _NAME.fullmatch(key) is None:
            # No key could have such a name.
            change(None)
        await self._vault.revise(_KIND, key, change)


def _fit(groups: Iterable[str]) -> tuple[str, ...]:
    found = tuple(sorted(set(groups)))
    for group in found:
        if _GROUP.fullmatch(group) is None:
            raise AccountRefused(
                "a group's name has 1 to 100 letters, digits, blanks, '.', '_', '@', '+', '/' or '-', and"
                " begins with a letter or digit"
            )
    return found


def _stamp() -> str:
    return secrets.token_hex(8)


def _document(account: Account) -> Document:
    return {
        "name": account.name,
        "password": account.hashed,
        "groups": list(account.groups),
        "enabled": account.enabled,
        "stamp": account.stamp,
        "created_at": account.created_at.isoformat(),
        "password_at": account.password_at.isoformat(),
    }


def _account(document: Document | None) -> Account | None:
    if document is None or document.get("removed"):
        return None
    return Account(
        document["name"],
        document["password"],
        tuple(document["groups"]),
        document["enabled"],
        document["stamp"],
        datetime.fromisoformat(document["created_at"]),
        datetime.fromisoformat(document["password_at"]),
    )
