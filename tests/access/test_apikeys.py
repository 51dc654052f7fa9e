from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any, cast

import pytest

from registry.access.apikeys import KeyRefused, NoKey, is_key
from registry.access.people import PeopleSource, Person, SourceUnavailable
from registry.access.principals import Principal
from registry.model.patterns import RepositoryPattern
from tests.access.house import House

TEAM = (RepositoryPattern("team/**"),)


async def made(house: House, name: str = "ci", **more: Any) -> str:
    asked: dict[str, Any] = {"owner": None, "repositories": TEAM, "may": ["pull", "push"], "expires": None}
    return (await house.api_keys.add(name, **(asked | more)))[1]


async def test_a_key_is_shown_once_and_kept_as_a_hash(house: House) -> None:
    text = await made(house, description="builds")
    assert is_key(text) and len(text.split("_", 2)[2]) >= 43
    stored = [await house.driver.get(key, limit=10_000) async for key in house.driver.walk("")]
    assert not [one for one in stored if text.split("_", 2)[2].encode() in one]
    principal = await house.api_keys.verify(text)
    assert principal is not None and principal.text == "key:ci" and principal.bound is not None
    assert principal.bound.rights == {"pull", "create", "overwrite"} and principal.bound.owner is None


async def test_what_is_no_key_is_nobodys(house: House) -> None:
    text = await made(house)
    prefix, name, secret = text.split("_", 2)
    for wrong in (
        *("", "moorage", "moorage_", "moorage_ci", "moorage_ci_", f"other_{name}_{secret}"),
        *(f"{prefix}_{name}_{secret[:-1]}", f"{text}x", f"{prefix}_cj_{secret}", f"{prefix}_../ci_{secret}"),
        *(f"{prefix}_{'x' * 10_000}_{secret}", f"{prefix}_{name}\x00_{secret}", text.upper()),
    ):
        assert await house.api_keys.verify(wrong) is None, wrong


async def test_a_key_is_good_until_its_time_is_over_or_it_is_revoked(house: House) -> None:
    text = await made(house, expires=timedelta(days=1))
    forever = await made(house, "forever")
    house.clock.advance(days=1, seconds=-1)
    assert await house.api_keys.verify(text)
    house.clock.advance(seconds=1)
    assert await house.api_keys.verify(text) is None
    assert await house.api_keys.verify(forever)
    await house.api_keys.revoke("forever")
    assert await house.api_keys.verify(forever) is None
    with pytest.raises(NoKey):
        await house.api_keys.revoke("forever")
    assert await made(house, "forever") != forever
    assert await house.api_keys.verify(forever) is None


async def test_it_is_told_which_keys_are_good_for_nothing(house: House) -> None:
    class Silent:
        asked = 0

        async def find(self, name: str) -> Person | None:
            self.asked += 1
            if self.asked == 1:
                raise SourceUnavailable("no answer")
            return Person(Principal(f"ldap:{name}"), "")

    async def states() -> dict[str, str]:
        keys = [key async for key in house.api_keys.all()]
        told = zip(keys, await house.api_keys.states(keys), strict=True)
        found: dict[str, str] = {key.name: state for key, state in told}
        # It is good for something exactly when it is said to be.
        for name, state in found.items():
            if state != "owner not known":
                assert (await house.api_keys.verify(texts[name]) is not None) == (state == "good")
        return found

    for name in ("alice", "bob"):
        await house.accounts.add(name, secrets.token_urlsafe())
    texts = {
        name: await made(house, name, owner=owner, expires=expires)
        for name, owner, expires in (
            ("a", "user:alice", None),
            ("b", "user:bob", None),
            ("old", "user:alice", timedelta(days=1)),
            ("operators", None, None),
        )
    }
    assert set((await states()).values()) == {"good"}
    house.clock.advance(days=2)
    await house.accounts.enable("alice", on=False)
    await house.accounts.remove("bob")
    assert await states() == {"a": "owner disabled", "b": "owner gone", "old": "expired", "operators": "good"}
    await house.accounts.add("bob", secrets.token_urlsafe())
    assert (await states())["b"] == "owner gone", "another one of that name"
    source = Silent()
    house.people["ldap"] = cast(PeopleSource, source)
    source.asked = 1
    for name in ("x", "y"):
        texts[name] = await made(house, name, owner=f"ldap:{name}")
    source.asked = 0
    assert {name: state for name, state in (await states()).items() if name in "xy"} == {
        "x": "owner not known",
        "y": "owner not known",
    }
    assert source.asked == 1
    assert {(await states())[name] for name in "xy"} == {"good"}
    del house.people["ldap"]
    assert {(await states())[name] for name in "xy"} == {"owner gone"}


async def test_a_key_goes_with_its_owner(house: House) -> None:
    await house.accounts.add("alice", secrets.token_urlsafe(), ["a"])
    text = await made(house, owner="user:alice")
    await house.accounts.set_groups("alice", ["b"])
    principal = await house.api_keys.verify(text)
    assert principal is not None and principal.bound is not None and principal.bound.owner is not None
    assert principal.bound.owner.groups == {"group:b"}, "as they are now"
    await house.accounts.enable("alice", on=False)
    assert await house.api_keys.verify(text) is None
    await house.accounts.enable("alice", on=True)
    assert await house.api_keys.verify(text)
    await house.accounts.set_password("alice", secrets.token_urlsafe())
    assert await house.api_keys.verify(text), "another password makes nobody else of them"
    await house.accounts.remove("alice")
    assert await house.api_keys.verify(text) is None


@pytest.mark.parametrize("is_of_before", [False, True])
async def test_a_key_does_not_pass_to_whoever_gets_the_name_of_its_owner(
    house: House, is_of_before: bool
) -> None:
    await house.accounts.add("alice", secrets.token_urlsafe())
    house.clock.advance(seconds=1)
    text = await made(house, owner="user:alice")
    if is_of_before:
        document = await house.vault.get("apikeys", "ci")
        assert document is not None
        del document["owner_since"]
        await house.vault.put("apikeys", "ci", document)
    assert await house.api_keys.verify(text)
    await house.accounts.remove("alice")
    house.clock.advance(seconds=1)
    await house.accounts.add("alice", secrets.token_urlsafe())
    assert await house.api_keys.verify(text) is None
    with pytest.raises(NoKey, match="user:alice, is no more"):
        await house.api_keys.principal(await house.api_keys.get("ci"))
    later = await made(house, "later", owner="user:alice")
    assert await house.api_keys.verify(later)


@pytest.mark.parametrize(
    ("name", "more", "told"),
    [
        ("CI", {}, "lower-case"),
        ("a_b", {}, "lower-case"),
        ("", {}, "lower-case"),
        ("x" * 64, {}, "lower-case"),
        ("ci", {"may": ["fly"]}, "fly is no right"),
        ("ci", {"may": []}, "needs repositories"),
        ("ci", {"repositories": ()}, "needs repositories"),
        ("ci", {"owner": "user:nobody"}, "nobody who could own"),
        ("ci", {"owner": "alice"}, "with the source, out of user, like user:alice"),
        ("ci", {"owner": "ldap:alice"}, "nobody who could own"),
    ],
)
async def test_a_key_that_makes_no_sense_is_refused(
    house: House, name: str, more: dict[str, Any], told: str
) -> None:
    with pytest.raises(KeyRefused, match=told):
        await made(house, name, **more)


async def test_a_name_is_given_once(house: House) -> None:
    text = await made(house)
    with pytest.raises(KeyRefused, match="already"):
        await made(house)
    assert await house.api_keys.verify(text)
    assert [key.name async for key in house.api_keys.all()] == ["ci"]


async def test_its_last_use_is_known_to_a_minute(house: House) -> None:
    principal = await house.api_keys.verify(await made(house))
    assert principal is not None
    assert await house.api_keys.used_at("ci") is None
    await house.api_keys.note_use(principal)
    first = house.clock.at
    house.clock.advance(seconds=59)
    await house.api_keys.note_use(principal)
    assert await house.api_keys.used_at("ci") == first
    house.clock.advance(seconds=1)
    await house.api_keys.note_use(principal)
    assert await house.api_keys.used_at("ci") == house.clock.at
