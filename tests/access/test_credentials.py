from __future__ import annotations

import contextlib
import secrets
from typing import Any

import bcrypt
import pytest

from registry.access.errors import BadCredentials
from registry.access.logins import TOLD_SECONDS, Origin
from registry.access.people import Person, SourceUnavailable
from registry.access.principals import Principal
from registry.access.tokens import TokenInvalid
from registry.errors import RegistryError, TooManyRequests, Unavailable
from registry.model.patterns import RepositoryPattern
from tests.access.house import House


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The passwords that were hashed to be compared."""
    seen: list[bytes] = []
    real = bcrypt.checkpw

    def checked(password: bytes, hashed: bytes) -> bool:
        seen.append(password)
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", checked)
    return seen


async def alice(house: House) -> str:
    password = secrets.token_urlsafe(12)
    await house.accounts.add("alice", password)
    return password


async def test_a_name_and_its_password(house: House) -> None:
    password = await alice(house)
    person = await house.credentials.person("alice", password, Origin("10.0.0.1"))
    assert person.principal.text == "user:alice"
    wrong: list[tuple[str, str]] = [
        *[("alice", password + "x"), ("bob", password), ("", password), ("alice", ""), ("", "")],
        *[("alice\x00", password), ("alice", password + "\x00"), ("a" * 10_000, password)],
        *[("alice", "x" * 100_000), ("Alicia", password), ("user:alice", password), ("alice", "\ud800")],
    ]
    for name, given in wrong:
        with pytest.raises(BadCredentials) as raised:
            await house.credentials.person(name, given, Origin("10.0.0.2"))
        assert str(raised.value) == "the user name or password is incorrect"


async def test_a_password_is_hashed_once_and_not_for_each_request(house: House, hashes: list[bytes]) -> None:
    password = await alice(house)
    for _ in range(10):
        house.clock.advance(seconds=20)
        await house.credentials.person("alice", password, Origin("10.0.0.1"))
        await house.credentials.person("alice", password, Origin("10.0.0.1"), fresh=True)
    assert len(hashes) == 1
    house.clock.advance(minutes=5)
    await house.credentials.person("alice", password, Origin("10.0.0.1"))
    assert len(hashes) == 2, "nothing is believed for ever"


async def test_whoever_was_disabled_or_has_another_password_is_out_at_once_for_tokens_and_soon_for_the_rest(
    house: House,
) -> None:
    password = await alice(house)
    await house.credentials.person("alice", password, Origin("10.0.0.1"))
    other = House(driver=house.driver, clock=house.clock)
    await other.accounts.enable("alice", on=False)
    with pytest.raises(BadCredentials):
        await house.credentials.person("alice", password, Origin("10.0.0.1"), fresh=True)
    await other.accounts.enable("alice", on=True)
    await house.credentials.person("alice", password, Origin("10.0.0.1"), fresh=True)
    await other.accounts.set_password("alice", secrets.token_urlsafe())
    house.clock.advance(seconds=10)
    with pytest.raises(BadCredentials):
        await house.credentials.person("alice", password, Origin("10.0.0.1"))
    other.close()


async def test_unknown_and_known_cost_one_hash_each(house: House, hashes: list[bytes]) -> None:
    await alice(house)
    for name in ("alice", "nobody"):
        hashes.clear()
        with pytest.raises(BadCredentials):
            await house.credentials.person(name, "wrong", Origin("10.0.0.1"))
        assert hashes == [b"wrong"]


class Source:
    """A source of one person."""

    def __init__(self, text: str, password: str) -> None:
        self.person: Person | None = Person(Principal(text), "1")
        self.password = password
        self.fails = False
        self.asked: list[str] = []

    async def find(self, name: str) -> Person | None:
        if self.fails:
            raise SourceUnavailable("canary-of-the-source")
        return self.person if name == "alice" else None

    async def verify(self, name: str, password: str) -> Person | None:
        self.asked.append(name)
        return self.person if name == "alice" and password == self.password else None


async def test_a_failure_elsewhere_costs_what_one_here_does(house: House, hashes: list[bytes]) -> None:
    """So that the time tells neither who is known nor where: the last source answers for the unknown."""
    source = house.people["ldap"] = Source("ldap:alice", "theirs")
    await house.accounts.add("carol", secrets.token_urlsafe(12))
    for name, asked in (("alice", ["alice"]), ("nobody", ["nobody"]), ("carol", [])):
        hashes.clear()
        source.asked.clear()
        with pytest.raises(BadCredentials):
            await house.credentials.person(name, "wrong", Origin("10.0.0.1"))
        assert (len(hashes), source.asked) == (1, asked)
    hashes.clear()
    await house.credentials.person("alice", "theirs", Origin("10.0.0.1"))
    assert hashes == [], "who gets in need not wait"


async def test_the_first_source_that_knows_a_name_decides(house: House) -> None:
    house.people["ldap"] = Source("ldap:alice", "theirs")
    person = await house.credentials.person("alice", "theirs", Origin("10.0.0.1"))
    assert person.principal.text == "ldap:alice"
    ours = await alice(house)
    with pytest.raises(BadCredentials):
        await house.credentials.person("alice", "theirs", Origin("10.0.0.1"), fresh=True)
    assert (await house.credentials.person("alice", ours, Origin("10.0.0.1"))).principal.text == "user:alice"
    await house.accounts.enable("alice", on=False)
    for password in (ours, "theirs"):
        with pytest.raises(BadCredentials):
            await house.credentials.person("alice", password, Origin("10.0.0.1"), fresh=True)


class Forgiving(Source):
    """One that takes more names for alice's than anybody else would."""

    async def find(self, name: str) -> Person | None:
        return await super().find("alice" if name.lower().strip() in ("alice", "a.lice") else name)

    async def verify(self, name: str, password: str) -> Person | None:
        return await super().verify("alice" if await self.find(name) else name, password)


async def test_whoever_is_known_earlier_decides_however_a_later_source_lets_the_name_be_written(
    house: House,
) -> None:
    house.people["ldap"] = Forgiving("ldap:alice", "theirs")
    names = ("alice", "ALICE", "A.Lice")
    for name in names:
        person = await house.credentials.person(name, "theirs", Origin("10.0.0.1"))
        assert person.principal.text == "ldap:alice"
    ours = await alice(house)
    for name in names:
        with pytest.raises(BadCredentials):
            await house.credentials.person(name, "theirs", Origin("10.0.0.2"), fresh=True)
        person = await house.credentials.person(name, ours, Origin("10.0.0.3"))
        assert person.principal.text == "user:alice"
    await house.accounts.enable("alice", on=False)
    for name in names:
        for password in (ours, "theirs"):
            with pytest.raises(BadCredentials):
                await house.credentials.person(name, password, Origin("10.0.0.4"), fresh=True)


async def test_another_spelling_is_no_other_name_to_guess_for(house: House) -> None:
    await alice(house)
    for name in ("alice", "Alice", "ALice", "ALIce", "ALICe", "ALICE"):
        with pytest.raises(BadCredentials):
            await house.credentials.person(name, "wrong", Origin("10.0.0.1"))
    assert house.clock.slept


async def test_a_source_that_cannot_be_asked_is_said_and_lets_nobody_in(house: House) -> None:
    source = house.people["ldap"] = Source("ldap:alice", "theirs")
    source.fails = True
    with pytest.raises(Unavailable) as raised:
        await house.credentials.person("alice", "theirs", Origin("10.0.0.1"))
    assert raised.value.headers["Retry-After"] and "canary" not in str(raised.value)


async def test_a_key_is_a_password_whatever_the_name(house: House) -> None:
    _, text = await house.api_keys.add(
        "ci", owner=None, repositories=[RepositoryPattern("**")], may=["pull"], expires=None
    )
    for name in ("ci", "alice", ""):
        assert (await house.credentials.person(name, text, Origin("10.0.0.1"))).principal.text == "key:ci"
    await house.api_keys.revoke("ci")
    with pytest.raises(BadCredentials):
        await house.credentials.person("ci", text, Origin("10.0.0.1"))


class Workloads:
    """An issuer of one token."""

    async def verify(self, token: str) -> Principal:
        if token != "eyA.b.c":
            raise TokenInvalid("it is another")
        return Principal("issuer:ci:repo")


async def test_a_workloads_token_is_a_password_too() -> None:
    house = House(workloads=Workloads())
    assert (
        await house.credentials.person("oidc", "eyA.b.c", Origin("10.0.0.1"))
    ).principal.text == "issuer:ci:repo"
    with pytest.raises(BadCredentials):
        await house.credentials.person("oidc", "eyA.b.d", Origin("10.0.0.1"))
    house.close()


async def test_those_who_guess_are_slowed(house: House) -> None:
    password = await alice(house)
    for guess in range(8):
        with pytest.raises(BadCredentials):
            await house.credentials.person("alice", f"guess{guess}", Origin("10.0.0.1"))
    assert sum(house.clock.slept) > 5
    before = sum(house.clock.slept)
    await house.credentials.person("alice", password, Origin("10.0.0.2"))
    assert sum(house.clock.slept) - before < 1


async def test_what_is_remembered_of_who_guesses_keys_is_small_however_long_they_are(house: House) -> None:
    for guess in range(20):
        with pytest.raises((BadCredentials, TooManyRequests)):
            await house.credentials.person(
                "ci", f"moorage_{guess}{'x' * 16_000}_y", Origin(f"10.0.0.{guess}")
            )
    assert sum(len(key) for _, key in house.patience._failures) < 10_000


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        (["Basic"], "Basic credentials are none"),
        (["Basic !!!"], "Basic credentials are none"),
        (["Basic YQ=="], "Basic credentials are none"),
        (["Basic /w=="], "Basic credentials are none"),
        (["Digest a=b"], "Basic and Bearer"),
        (["Bearer a", "Bearer a"], "more than one"),
        (["Bearer"], "token is not good"),
        (["Bearer x"], "token is not good"),
        ([""], "Basic and Bearer"),
    ],
)
async def test_headers_that_are_none(house: House, headers: list[str], told: str) -> None:
    await house.begin()
    with pytest.raises(RegistryError, match=told) as raised:
        await house.gate.caller(headers, Origin("10.0.0.1"))
    assert raised.value.status == 401
    problem: Any = getattr(raised.value, "problem", "")
    assert problem == ("invalid_token" if "token" in told else "")


async def test_an_empty_name_and_password_are_nobody_in_particular(house: House) -> None:
    """Trap 49."""
    await house.begin()
    caller = await house.gate.caller(["Basic Og=="], Origin("10.0.0.1"))
    assert caller.principal.is_anonymous and caller.grants is None


async def test_the_trail_is_told_once_of_the_same_login_until_it_is_old_or_from_elsewhere(
    house: House,
) -> None:
    password = await alice(house)
    for origin in (Origin("10.0.0.1"), Origin("10.0.0.1"), Origin("10.0.0.2")):
        await house.credentials.person("alice", password, origin)
    house.clock.advance(seconds=TOLD_SECONDS)
    await house.credentials.person("alice", password, Origin("10.0.0.2"))
    assert [(entry.event, entry.who, entry.address) for entry in house.told] == [
        ("login.succeeded", "user:alice", address) for address in ("10.0.0.1", "10.0.0.2", "10.0.0.2")
    ]


async def test_the_trail_is_told_of_who_is_slowed_and_of_who_is_sent_away_unheard(house: House) -> None:
    await alice(house)
    attempts = [house.credentials.person("alice", f"guess{n}", Origin("10.0.0.1")) for n in range(5)]
    for attempt in attempts:
        with pytest.raises(BadCredentials):
            await attempt
    assert [entry.detail.startswith("slowed by ") for entry in house.told] == [False] * 3 + [True] * 2
    # As many at once as cannot all wait for their turn.
    house.clock.is_stopped = True
    for _ in range(40):
        with contextlib.suppress(BadCredentials, TooManyRequests):
            await house.credentials.person("alice", "guess", Origin("10.0.0.1"))
    assert (house.told[-1].event, house.told[-1].outcome) == ("login.failed", "refused")
    assert house.told[-1].rule.startswith("too many logins have failed")


async def test_the_trail_is_told_of_a_source_that_is_down(house: House) -> None:
    source = house.people["ldap"] = Source("ldap:alice", "theirs")
    source.fails = True
    with pytest.raises(Unavailable):
        await house.credentials.person("bob", "secret", Origin("10.0.0.3", [(b"user-agent", b"x")]))
    (entry,) = house.told
    assert (entry.event, entry.who, entry.agent) == ("login.failed", "bob", "x")
    assert (entry.outcome, entry.rule) == ("failed", "canary-of-the-source")
    assert "secret" not in str(entry)
