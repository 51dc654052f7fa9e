"""What access offers to operators about people: the registry's own accounts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from registry.access.administration import Administration
from registry.errors import InputInvalid
from registry.work.operations import Context, Operation, Progress, Result, argument, option

if TYPE_CHECKING:
    # Heavy, and needed only when an operation runs.
    from registry.access.accounts import Account

Outcome = AsyncIterator[Progress | Result]


@dataclass(frozen=True, slots=True)
class AllUsers:
    """Nothing to choose."""


@dataclass(frozen=True, slots=True)
class OneUser:
    """Which account."""

    name: str = argument("the name that somebody logs in with")


@dataclass(frozen=True, slots=True)
class NewUser(OneUser):
    """Whom to make an account for."""

    group: tuple[str, ...] = option("a group to be in; may be repeated", default=())
    password: str = option("the password, 8 characters to 72 bytes", secret=True)


@dataclass(frozen=True, slots=True)
class UserGroups(OneUser):
    """Which groups somebody is to be in."""

    group: tuple[str, ...] = option("a group to be in, instead of those before; may be repeated", default=())
    no_groups: bool = option("be in no group any more", default=False)


@dataclass(frozen=True, slots=True)
class UserPassword(OneUser):
    """Which password somebody is to have."""

    password: str = option("the new password, 8 characters to 72 bytes", secret=True)


@dataclass(frozen=True, slots=True)
class ShownUser:
    """An account, without its password."""

    name: str
    enabled: bool
    groups: list[str]
    created_at: datetime
    password_at: datetime


@dataclass(frozen=True, slots=True)
class Users:
    """Accounts in the order of their names."""

    users: list[ShownUser]


@dataclass(frozen=True, slots=True)
class ChangedUser:
    """What was done with whose account."""

    name: str
    did: str

    def told(self) -> str:
        """One line."""
        return f"{self.did} {self.name}"


def operations(office: Callable[[], Administration]) -> Iterable[Operation[Any]]:
    """The operations on the accounts of the registry that is open when one of them runs."""

    async def user_add(asked: NewUser, _: Context) -> Outcome:
        office().require_writable()
        account = await office().accounts.add(asked.name, asked.password, asked.group)
        yield Result(_shown(account))

    async def user_list(_: AllUsers, __: Context) -> Outcome:
        yield Result(Users([_shown(account) async for account in office().accounts.all()]))

    async def user_show(asked: OneUser, _: Context) -> Outcome:
        yield Result(_shown(await office().accounts.get(asked.name)))

    async def user_set(asked: UserGroups, _: Context) -> Outcome:
        if bool(asked.group) == asked.no_groups:
            raise InputInvalid("say which groups with --group, or --no-groups")
        office().require_writable()
        yield Result(_shown(await office().accounts.set_groups(asked.name, asked.group)))

    async def user_password(asked: UserPassword, _: Context) -> Outcome:
        office().require_writable()
        await office().accounts.set_password(asked.name, asked.password)
        office().credentials.forget()
        yield Result(ChangedUser(asked.name, "changed the password of"))

    async def user_enable(asked: OneUser, _: Context) -> Outcome:
        office().require_writable()
        await office().accounts.enable(asked.name, on=True)
        yield Result(ChangedUser(asked.name, "enabled"))

    async def user_disable(asked: OneUser, _: Context) -> Outcome:
        office().require_writable()
        await office().accounts.enable(asked.name, on=False)
        office().credentials.forget()
        yield Result(ChangedUser(asked.name, "disabled"))

    async def user_remove(asked: OneUser, context: Context) -> Outcome:
        account = await office().accounts.get(asked.name)
        if not context.dry_run:
            office().require_writable()
            await office().accounts.remove(asked.name)
            await office().identity_tokens.revoke_all(account.person.principal.text)
            office().credentials.forget()
        yield Result(ChangedUser(asked.name, "would remove" if context.dry_run else "removed"))

    return (
        Operation(
            "user.add", "Make an account", "admin", False, NewUser, user_add, changes=True, result=ShownUser
        ),
        Operation("user.list", "List the accounts", "admin", False, AllUsers, user_list, result=Users),
        Operation("user.show", "Show an account", "admin", False, OneUser, user_show, result=ShownUser),
        Operation(
            "user.set",
            "Let somebody be in other groups",
            "admin",
            False,
            UserGroups,
            user_set,
            changes=True,
            result=ShownUser,
        ),
        Operation(
            "user.password",
            "Give somebody another password; whoever logged in with the old one has to log in again",
            "admin",
            False,
            UserPassword,
            user_password,
            changes=True,
            result=ChangedUser,
        ),
        Operation(
            "user.enable",
            "Let somebody log in again",
            "admin",
            False,
            OneUser,
            user_enable,
            changes=True,
            result=ChangedUser,
        ),
        Operation(
            "user.disable",
            "Let somebody log in no more; a token that they hold is good for some minutes",
            "admin",
            False,
            OneUser,
            user_disable,
            changes=True,
            result=ChangedUser,
        ),
        Operation(
            "user.remove", "Remove an account", "admin", True, OneUser, user_remove, result=ChangedUser
        ),
    )


def _shown(account: Account) -> ShownUser:
    return ShownUser(
        account.name, account.enabled, list(account.groups), account.created_at, account.password_at
    )
