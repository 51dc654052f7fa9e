from __future__ import annotations

import secrets
from datetime import timedelta

import pytest

from registry.access.identity_tokens import IdentityTokens, is_identity_token
from registry.access.people import Person
from registry.access.principals import Principal
from tests.access.house import House


async def alice(house: House) -> Person:
    await house.accounts.add("alice", secrets.token_urlsafe(), ["a"])
    person = await house.accounts.find("alice")
    assert person is not None
    return person


async def test_it_stands_for_somebody_as_they_are_now(house: House) -> None:
    text = await house.identity_tokens.issue(await alice(house), "docker")
    assert is_identity_token(text)
    await house.accounts.set_groups("alice", ["b"])
    person = await house.identity_tokens.person(text)
    assert person is not None and person.principal.groups == {"group:b"}
    stored = [await house.driver.get(key, limit=10_000) async for key in house.driver.walk("")]
    assert not [one for one in stored if text.rpartition(".")[2].encode() in one]


@pytest.mark.parametrize("ends", ["password", "disabled", "removed", "another", "time", "revoked"])
async def test_what_ends_it(house: House, ends: str) -> None:
    text = await house.identity_tokens.issue(await alice(house), "docker")
    match ends:
        case "password":
            await house.accounts.set_password("alice", secrets.token_urlsafe())
        case "disabled":
            await house.accounts.enable("alice", on=False)
        case "removed":
            await house.accounts.remove("alice")
        case "another":
            await house.accounts.remove("alice")
            await house.accounts.add("alice", secrets.token_urlsafe())
        case "time":
            house.clock.advance(days=90)
        case "revoked":
            assert await house.identity_tokens.revoke_all("user:alice") == 1
    assert await house.identity_tokens.person(text) is None


async def test_what_is_none_stands_for_nobody(house: House) -> None:
    text = await house.identity_tokens.issue(await alice(house), "docker")
    prefix, whose, secret = text.rsplit(".", 2)
    for wrong in (
        *("", "moorage", "moorage.identity.", f"{prefix}.{whose}", f"{prefix}.{whose}.", f"{text}x"),
        *(f"{prefix}.{'0' * 32}.{secret}", f"{prefix}...{secret}", f"{prefix}.../{whose}.{secret}"),
        *(f"other.identity.{whose}.{secret}", f"{prefix}.{whose}\x00.{secret}", "x" * 100_000),
    ):
        assert await house.identity_tokens.person(wrong) is None, wrong


async def test_who_logs_in_again_and_again_loses_the_oldest(house: House) -> None:
    person = await alice(house)
    texts = []
    for _ in range(102):
        house.clock.advance(seconds=1)
        texts.append(await house.identity_tokens.issue(person, "docker"))
    good = [text for text in texts if await house.identity_tokens.person(text)]
    assert good == texts[2:]
    assert await house.identity_tokens.count("user:alice") == 100


async def test_those_whose_time_is_over_are_swept(house: House) -> None:
    person = await alice(house)
    await house.identity_tokens.issue(person, "docker")
    house.clock.advance(days=1)
    young = await house.identity_tokens.issue(person, "docker")
    house.clock.advance(days=89)
    assert await house.identity_tokens.sweep() == 1
    assert await house.identity_tokens.count("user:alice") == 1
    assert await house.identity_tokens.person(young)


async def test_machines_have_none(house: House) -> None:
    assert house.identity_tokens.fits(Principal("user:alice"))
    for text in ("key:ci", "issuer:gitlab:a", "anonymous", "operator"):
        assert not house.identity_tokens.fits(Principal(text))
    off = IdentityTokens(house.vault, house.people, house.clock.now, lifetime=timedelta(0))
    assert not off.fits(Principal("user:alice"))
