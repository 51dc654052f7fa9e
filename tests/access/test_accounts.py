from __future__ import annotations

import secrets

import pytest

from registry.access.accounts import AccountRefused, NoAccount
from registry.access.passwords import PasswordUnfit
from tests.access.house import House


def password() -> str:
    return secrets.token_urlsafe(12)


async def test_an_account_knows_its_password_its_groups_and_when_it_was_made(house: House) -> None:
    right = password()
    account = await house.accounts.add("alice", right, ["b", "a", "a"])
    assert account == await house.accounts.get("alice")
    assert (account.groups, account.enabled, account.created_at) == (("a", "b"), True, house.clock.at)
    person = await house.accounts.verify("alice", right)
    assert person is not None and person == await house.accounts.find("alice")
    assert person.principal.text == "user:alice" and person.principal.groups == {"group:a", "group:b"}
    assert await house.accounts.verify("alice", right + "x") is None
    assert await house.accounts.verify("bob", right) is None
    assert right not in repr(await house.vault.latest("accounts", "alice"))


async def test_a_name_is_the_same_in_whatever_case_and_spelled_as_it_was_given(house: House) -> None:
    right = password()
    await house.accounts.add("Alice", right)
    for name in ("Alice", "alice", "ALICE"):
        person = await house.accounts.find(name)
        assert person is not None and person.principal.text == "user:Alice"
        assert await house.accounts.verify(name, right) == person
        with pytest.raises(AccountRefused, match="there is an account Alice already"):
            await house.accounts.add(name, right)
    await house.accounts.enable("aLICE", on=False)
    assert [(account.name, account.enabled) async for account in house.accounts.all()] == [("Alice", False)]
    await house.accounts.remove("alicE")
    assert await house.accounts.find("Alice") is None


@pytest.mark.parametrize("name", ["", "a:b", "a b", "-a", ".a", "a/b", "x" * 101, "ä", "a\n", "a\x00"])
async def test_a_name_that_cannot_be_logged_in_with_is_refused(house: House, name: str) -> None:
    with pytest.raises(AccountRefused):
        await house.accounts.add(name, password())
    assert await house.accounts.find(name) is None
    with pytest.raises(NoAccount):
        await house.accounts.enable(name, on=False)


@pytest.mark.parametrize("group", ["", "a:b", " a", "x" * 101, "a\n"])
async def test_a_group_that_no_rule_can_name_is_refused(house: House, group: str) -> None:
    with pytest.raises(AccountRefused):
        await house.accounts.add("alice", password(), [group])


async def test_a_password_that_bcrypt_would_cut_is_refused(house: House) -> None:
    with pytest.raises(PasswordUnfit, match="72 bytes"):
        await house.accounts.add("alice", "x" * 73)
    with pytest.raises(NoAccount):
        await house.accounts.get("alice")


async def test_another_password_is_another_stamp(house: House) -> None:
    old, new = password(), password()
    before = await house.accounts.add("alice", old, ["a"])
    house.clock.advance(days=1)
    after = await house.accounts.set_password("alice", new)
    assert after.stamp != before.stamp and after.password_at == house.clock.at
    assert (after.groups, after.created_at) == (before.groups, before.created_at)
    assert await house.accounts.verify("alice", old) is None
    assert await house.accounts.verify("alice", new)


async def test_whoever_is_disabled_is_known_and_not_let_in(house: House) -> None:
    right = password()
    await house.accounts.add("alice", right)
    await house.accounts.enable("alice", on=False)
    person = await house.accounts.verify("alice", right)
    assert person is not None and not person.enabled
    await house.accounts.enable("alice", on=True)
    assert (await house.accounts.get("alice")).enabled


async def test_whoever_gets_the_name_later_is_somebody_else(house: House) -> None:
    right = password()
    before = await house.accounts.add("alice", right)
    await house.accounts.remove("alice")
    assert await house.accounts.find("alice") is None
    assert [account async for account in house.accounts.all()] == []
    for change in (house.accounts.remove("alice"), house.accounts.set_groups("alice", ["a"])):
        with pytest.raises(NoAccount):
            await change
    assert (await house.accounts.add("alice", right)).stamp != before.stamp
