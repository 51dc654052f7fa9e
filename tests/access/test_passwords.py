from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator

import bcrypt
import pytest

from registry.access.passwords import Passwords, PasswordUnfit, fit
from registry.errors import Unavailable


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(cost=4, at_once=2)
    yield made
    made.close()


async def test_a_password_matches_its_hash_and_no_other(passwords: Passwords) -> None:
    password = secrets.token_urlsafe()
    hashed = await passwords.hash(password)
    assert password not in hashed
    assert await passwords.matches(password, hashed)
    assert await passwords.matches(password, hashed.replace("$2b$", "$2y$"))
    assert not await passwords.matches(password + "x", hashed)
    assert not await passwords.matches("", hashed)
    assert not await passwords.matches(password, None)
    assert not await passwords.matches(password, "plain")
    assert not await passwords.matches(password, "")


async def test_what_bcrypt_would_not_look_at_does_not_pass(passwords: Passwords) -> None:
    password = "ä" * 36
    hashed = await passwords.hash(password)
    assert await passwords.matches(password, hashed)
    assert not await passwords.matches(password + "more", hashed)
    assert await passwords.matches(password + "more", hashed, cut=True)
    assert not await passwords.matches(password[:-1] + "\x00", hashed)
    assert not await passwords.matches("\x00" * 8, await passwords.hash("?" * 8))


@pytest.mark.parametrize(
    "password",
    ["", "seven77", "ä" * 7, "x" * 73, "ä" * 37, *("eight888" + end for end in ("\x00", "\n", "\r"))],
)
def test_a_new_password_that_is_unfit_is_refused(password: str) -> None:
    with pytest.raises(PasswordUnfit):
        fit(password)


async def test_a_short_password_that_was_taken_before_goes_on_being_good(passwords: Passwords) -> None:
    assert await passwords.matches("x", bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode())


async def test_more_than_can_wait_are_turned_away(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.access.passwords._WAITING", 3)
    hashed = await passwords.hash("right one")
    found = await asyncio.gather(
        *(passwords.matches("right one", hashed) for _ in range(5)), return_exceptions=True
    )
    assert found[:3] == [True] * 3
    assert all(isinstance(one, Unavailable) and one.headers["Retry-After"] for one in found[3:])
    assert await passwords.matches("right one", hashed), "there is room again"


async def test_somebody_unknown_takes_as_long(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    real = bcrypt.checkpw

    def checked(password: bytes, hashed: bytes) -> bool:
        seen.append(hashed[:7])
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", checked)
    known = await passwords.hash("right one")
    await passwords.matches("wrong", known)
    await passwords.matches("wrong", None)
    assert seen == [b"$2b$04$"] * 2, "the same function at the same cost, once each"
