from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from registry.access.errors import BadCredentials
from registry.access.issuing import narrowed
from registry.access.logins import Origin
from registry.access.policy import Policy
from registry.access.principals import Principal
from registry.access.rules import read_rules
from registry.model.patterns import RepositoryPattern
from tests.access.house import House

RULES = """\
- {who: anonymous, repositories: ['public/**'], may: [pull]}
- {who: 'group:team', repositories: ['team/**'], may: [pull, push]}
- {who: 'issuer:ci', claims: {ref: main}, repositories: ['{claims.project}/*'], may: [push]}
"""
WANTED: dict[str, Any] = {"scopes": ["repository:team/a:pull,push"], "service": ""}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    (tmp_path / "rules.yaml").write_text(RULES)
    made = await House(Policy(read_rules(tmp_path / "rules.yaml"))).begin()
    yield made
    made.close()


async def alice(house: House) -> str:
    password = secrets.token_urlsafe(12)
    await house.accounts.add("alice", password, ["team", "unheard-of"])
    return password


async def test_the_answer_is_as_clients_read_it(house: House) -> None:
    password = await alice(house)
    answer = await house.issuing.for_password(
        "alice", password, Origin("10.0.0.1"), client="docker", offline=True, **WANTED
    )
    assert answer["token"] == answer["access_token"]
    assert answer["expires_in"] == 300 and answer["issued_at"] == "2026-01-01T00:00:00Z"
    assert answer["scope"] == "repository:team/a:pull,push"
    verified = house.tokens.verify(str(answer["token"]))
    assert verified.principal == Principal("user:alice", frozenset({"group:team"})), "and no group more"
    again = await house.issuing.for_identity(str(answer["refresh_token"]), Origin(), **WANTED)
    assert again["refresh_token"] == answer["refresh_token"] and again["scope"] == answer["scope"]


async def test_no_identity_token_where_none_was_asked_for(house: House) -> None:
    password = await alice(house)
    answer = await house.issuing.for_password(
        "alice", password, Origin("10.0.0.1"), client="", offline=False, **WANTED
    )
    assert "refresh_token" not in answer


async def test_a_key_that_is_revoked_gets_no_token_from_the_next_request_on(house: House) -> None:
    _, text = await house.api_keys.add(
        "ci", owner=None, repositories=[RepositoryPattern("team/**")], may=["pull"], expires=None
    )
    asked = {"client": "", "offline": True, **WANTED}
    answer = await house.issuing.for_password("ci", text, Origin("10.0.0.1"), **asked)
    assert answer["scope"] == "repository:team/a:pull" and "refresh_token" not in answer
    assert await house.api_keys.used_at("ci") == house.clock.at
    other = House(driver=house.driver, clock=house.clock)
    await other.api_keys.revoke("ci")
    other.close()
    with pytest.raises(BadCredentials):
        await house.issuing.for_password("ci", text, Origin("10.0.0.1"), **asked)


async def test_bad_credentials_get_nothing(house: House) -> None:
    with pytest.raises(BadCredentials):
        await house.issuing.for_password("a", "b", Origin("10.0.0.1"), client="", offline=True, **WANTED)
    with pytest.raises(BadCredentials):
        await house.issuing.for_identity("moorage.identity.a.b", Origin(), **WANTED)


async def test_anybody_gets_what_everybody_may(house: House) -> None:
    answer = house.issuing.for_anybody(
        scopes=["repository:public/a:pull,push", "repository:team/a:pull"], service=""
    )
    assert answer["scope"] == "repository:public/a:pull"
    assert house.tokens.verify(str(answer["token"])).principal.is_anonymous


def test_a_token_carries_what_some_rule_asks_for_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    policy = Policy(read_rules(tmp_path / "rules.yaml"))
    principal = Principal(
        "issuer:ci:x",
        frozenset({"group:team"} | {f"ldap-group:{number}" for number in range(1000)}),
        (("project", "acme"), ("ref", "main"), ("secret", "x" * 5000)),
    )
    assert narrowed(principal, policy) == Principal(
        "issuer:ci:x", frozenset({"group:team"}), (("project", "acme"), ("ref", "main"))
    )
