"""The sources of people that are configured: which there are, and in which order they are asked."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from registry.access.passwords import Passwords
from registry.access.settings import AccessSettings
from registry.access.sources import PeopleSources
from registry.access.watched import Unusable
from tests.api.server import environment
from tests.e2e.processes import run
from tests.equipment.absence import require_extra

LDAP = {"url": "ldaps://ldap.example", "user_base": "dc=example"}


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(cost=4, at_once=1)
    yield made
    made.close()


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "people"
    path.write_text(line("alice", "a"))
    return path


def line(name: str, password: str) -> str:
    return f"{name}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n"


def test_without_a_word_about_them_there_are_none(passwords: Passwords) -> None:
    found = PeopleSources(AccessSettings(), passwords)
    found.look()
    found.close()
    assert found.sources == {}


def test_the_file_is_asked_before_the_server(passwords: Passwords, people: Path) -> None:
    require_extra("ldap")
    settings = AccessSettings.model_validate({"htpasswd_file": people, "ldap": LDAP})
    found = PeopleSources(settings, passwords)
    assert list(found.sources) == ["htpasswd", "ldap"]
    found.close()


async def test_a_look_takes_up_what_has_changed(passwords: Passwords, people: Path) -> None:
    found = PeopleSources(AccessSettings(htpasswd_file=people), passwords)
    (source,) = found.sources.values()
    os.replace(people, people.with_name("old"))
    people.write_text(line("bob", "b"))
    assert await source.verify("alice", "a")
    found.look()
    assert await source.find("alice") is None
    assert await source.verify("bob", "b")


def test_a_file_that_is_no_good_from_the_beginning_is_unusable(passwords: Passwords, people: Path) -> None:
    people.write_text(secret := secrets.token_hex())
    with pytest.raises(Unusable) as raised:
        PeopleSources(AccessSettings(htpasswd_file=people), passwords)
    assert secret not in str(raised.value)
    with pytest.raises(Unusable):
        PeopleSources(AccessSettings(htpasswd_file=people.with_name("none")), passwords)


def test_a_file_of_certificates_that_is_none_is_unusable(passwords: Passwords, people: Path) -> None:
    require_extra("ldap")
    for file, told in ((people, "holds no certificate"), (people.with_name("none"), "No such file")):
        settings = AccessSettings.model_validate({"ldap": {**LDAP, "ca_file": file}})
        with pytest.raises(Unusable, match=told):
            PeopleSources(settings, passwords)


ASK = """
import sys
from registry.access.passwords import Passwords
from registry.access.settings import AccessSettings
from registry.access.sources import PeopleSources
PeopleSources(AccessSettings(htpasswd_file=sys.argv[1]), Passwords(cost=4, at_once=1))
assert "ldap" not in sys.modules
"""


def test_without_a_server_its_library_is_not_imported(people: Path) -> None:
    run([sys.executable, "-c", ASK, people], environ=environment())
