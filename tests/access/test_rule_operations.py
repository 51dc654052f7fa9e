from __future__ import annotations

import secrets
from types import SimpleNamespace
from typing import Any, cast

import pytest

from registry.access.administration import Administration
from registry.access.people import SourceUnavailable
from registry.access.principals import Principal
from registry.access.rule_operations import LoggedOut, operations
from registry.errors import RequestInvalid
from registry.work.operations import Context, Operations, Result
from tests.access.house import House


def logging_out(house: House, *, is_down: bool = False) -> Any:
    """The operation `access logout` of a house."""

    async def known(text: str) -> Principal:
        person = await house.accounts.find(text.partition(":")[2])
        if is_down:
            raise SourceUnavailable("the directory does not answer")
        if person is None:
            raise RequestInvalid("nobody is called so")
        return person.principal

    office = SimpleNamespace(
        identity_tokens=house.identity_tokens, known=known, require_writable=lambda: None
    )
    operation = Operations(operations(lambda: cast(Administration, office)))["access.logout"]

    async def run(who: str, *, dry_run: bool = False) -> LoggedOut:
        context = Context("operator", dry_run=dry_run)
        (result,) = [one async for one in operation.run(operation.input(who=who), context)]
        assert isinstance(result, Result) and isinstance(result.value, LoggedOut)
        return result.value

    return run


async def logged_in(house: House) -> str:
    """An identity token of alice."""
    account = await house.accounts.add("alice", secrets.token_urlsafe())
    return await house.identity_tokens.issue(account.person, "docker")


async def test_somebody_is_logged_out_in_whatever_case_they_are_named(house: House) -> None:
    token = await logged_in(house)
    logout = logging_out(house)
    assert await logout("user:ALICE", dry_run=True) == LoggedOut("user:alice", 1)
    assert await house.identity_tokens.person(token)
    assert await logout("user:ALICE") == LoggedOut("user:alice", 1)
    assert await house.identity_tokens.person(token) is None


@pytest.mark.parametrize("is_down", [False, True])
async def test_whoever_cannot_be_asked_after_is_logged_out_by_the_name_given(
    house: House, is_down: bool
) -> None:
    token = await logged_in(house)
    if not is_down:
        await house.accounts.remove("alice")
    assert await logging_out(house, is_down=is_down)("user:alice") == LoggedOut("user:alice", 1)
    assert await house.identity_tokens.person(token) is None


@pytest.mark.parametrize("who", ["alice", "user:", "", "USER:alice", "key:ci", "issuer:ci:x", "anonymous"])
async def test_nobody_is_not_logged_out(house: House, who: str) -> None:
    await logged_in(house)
    with pytest.raises(RequestInvalid, match="write a name with its source, like user:alice"):
        await logging_out(house)(who)
