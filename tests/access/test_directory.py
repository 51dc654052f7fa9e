"""People of a real directory server: OpenLDAP's, over each kind of connection."""

from __future__ import annotations

import asyncio
import secrets
import time
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from registry.access.directory.settings import LdapSettings
from registry.access.people import PeopleSource, Person, SourceUnavailable
from tests.access.slapd import GROUPS, PEOPLE, SUFFIX, Slapd, certificate, group, person, unit

# Drives a real server.
pytestmark = pytest.mark.e2e

Opened = Callable[..., PeopleSource]


@pytest.fixture
async def opened(slapd: Slapd) -> AsyncIterator[Opened]:
    """Opens the directory with settings besides the usual: `opened(start_tls=True)`."""
    # The library is an extra, which may be missing where the server is too.
    from registry.access.directory.people import Directory

    made: list[Directory] = []

    def open_(without: tuple[str, ...] = (), **more: Any) -> PeopleSource:
        settings = LdapSettings.model_validate(slapd.settings(more, without))
        made.append(Directory(settings))
        return made[-1]

    yield open_
    for one in made:
        one.close()


class Somebody:
    """A person whom nobody else uses."""

    def __init__(self, slapd: Slapd, *groups: str, name: str = "", **attributes: str) -> None:
        self.name = name or f"u{secrets.token_hex(4)}"
        self.password = secrets.token_urlsafe()
        self.dn = f"uid={self.name},{PEOPLE}"
        self._slapd = slapd
        slapd.add(person(self.name, userPassword=self.password, **attributes))
        if groups:
            slapd.add(*(group(one, self.dn) for one in groups))

    def change_password(self) -> None:
        self.password = secrets.token_urlsafe()
        self._slapd.modify(self.dn, f"replace: userPassword\nuserPassword: {self.password}\n")


def told(person: Person | None) -> tuple[str, set[str]]:
    assert person is not None
    return person.principal.text, set(person.principal.groups)


async def unavailable(source: PeopleSource, name: str, password: str) -> str:
    """Why the source cannot be asked; nothing in it, nor in what led to it, holds the password."""
    with pytest.raises(SourceUnavailable) as raised:
        await source.verify(name, password)
    assert password not in "".join(traceback.format_exception(raised.value))
    return str(raised.value)


WAYS: dict[str, Callable[[Slapd], Mapping[str, Any]]] = {
    "plain": lambda slapd: {},
    "start_tls": lambda slapd: {"start_tls": True, "ca_file": slapd.folder / "server.crt"},
    "ldaps": lambda slapd: {
        "url": f"ldaps://127.0.0.1:{slapd.tls_port}",
        "ca_file": slapd.folder / "server.crt",
    },
}


@pytest.mark.parametrize("way", WAYS)
async def test_who_has_the_password_is_taken_with_their_groups(
    slapd: Slapd, opened: Opened, way: str
) -> None:
    team = f"Team {secrets.token_hex(4)}"
    alice = Somebody(slapd, team)
    source = opened(**WAYS[way](slapd))
    found = await source.verify(alice.name, alice.password)
    assert told(found) == (f"ldap:{alice.name}", {f"ldap-group:{team.lower()}"})
    assert found == await source.find(alice.name)
    assert found is not None and found.enabled
    for wrong in (alice.password + "x", "x", " ", "é", alice.password[:-1]):
        assert await source.verify(alice.name, wrong) is None


async def test_nobody_is_let_in_without_a_password(slapd: Slapd, opened: Opened) -> None:
    alice, source = Somebody(slapd), opened()
    for empty in ("", "\x00", "\x00" + alice.password, alice.password + "\x00"):
        assert await source.verify(alice.name, empty) is None


async def test_however_it_is_typed_it_is_one_person(slapd: Slapd, opened: Opened) -> None:
    alice = Somebody(slapd, name=f"Alice.{secrets.token_hex(4).upper()}")
    source = opened()
    texts = {
        told(await source.verify(name, alice.password))[0]
        for name in (alice.name, alice.name.upper(), alice.name.lower())
    }
    assert texts == {f"ldap:{alice.name.lower()}"}
    # As it is asked for when a token is renewed.
    assert told(await source.find(alice.name.lower()))[0] == f"ldap:{alice.name.lower()}"


async def test_whoever_logs_in_by_mail_is_called_by_their_name(slapd: Slapd, opened: Opened) -> None:
    mail = f"{secrets.token_hex(4)}@example.test"
    alice = Somebody(slapd, mail=mail)
    source = opened(user_filter="(|(uid={username})(mail={username}))")
    found = await source.verify(mail, alice.password)
    assert told(found)[0] == f"ldap:{alice.name}"
    assert found == await source.verify(alice.name, alice.password) == await source.find(alice.name)


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "*", "u*", "nobody", "u)(uid=*", "u)(|(uid=*", "*)(objectClass=*", "\\2a", "\\", "\x00"),
        *("(", ")", "u\x00", "u\n", "{username}", "{dn}", "u,ou=people", "\ud800", "ü" * 200),
        pytest.param("u" * 10_000, id="10 kB"),
    ],
)
async def test_names_that_are_no_names_are_nobody(slapd: Slapd, opened: Opened, name: str) -> None:
    """People are there whom a filter that is not escaped would find."""
    alice, source = Somebody(slapd), opened()
    assert await source.verify(name, alice.password) is None
    assert await source.find(name) is None


async def test_names_that_look_like_filters_are_names(slapd: Slapd, opened: Opened) -> None:
    name = f"(we*rd) \\2a {secrets.token_hex(4)}"
    dn = f"cn={secrets.token_hex(4)},{PEOPLE}"
    password = secrets.token_hex()
    slapd.add(
        f"dn: {dn}\nobjectClass: inetOrgPerson\nsn: x\nuid: {name}\nuserPassword: {password}\n",
        group(team := secrets.token_hex(4), dn),
    )
    source = opened(without=("group_attribute",), group_base=GROUPS, group_filter="(&(cn=*)(member={dn}))")
    assert told(await source.verify(name, password)) == (f"ldap:{name}", {f"ldap-group:{team}"})


async def test_groups_are_those_of_now(slapd: Slapd, opened: Opened) -> None:
    first, second = secrets.token_hex(4), secrets.token_hex(4)
    alice = Somebody(slapd, first)
    source = opened()
    before = await source.verify(alice.name, alice.password)
    assert told(before)[1] == {f"ldap-group:{first}"}
    slapd.add(group(second, alice.dn, f"cn=service,{SUFFIX}"))
    slapd.delete(f"cn={first},{GROUPS}")
    after = await source.find(alice.name)
    assert told(after)[1] == {f"ldap-group:{second}"}
    assert before is not None and after is not None and before.stamp == after.stamp


async def test_groups_elsewhere_do_not_count_where_a_base_is_given(slapd: Slapd, opened: Opened) -> None:
    team, place = secrets.token_hex(4), secrets.token_hex(4)
    alice = Somebody(slapd, team)
    slapd.add(unit(place), group("admins", alice.dn, below=f"ou={place},{SUFFIX}"))
    assert told(await opened().find(alice.name))[1] == {f"ldap-group:{team}", "ldap-group:admins"}
    within = opened(group_base=GROUPS.upper())
    assert told(await within.find(alice.name))[1] == {f"ldap-group:{team}"}


@pytest.mark.parametrize("condition", ["(member={dn})", "(&(member=*)(description={username}))"])
async def test_groups_can_be_looked_for(slapd: Slapd, opened: Opened, condition: str) -> None:
    team = secrets.token_hex(4)
    alice, bob = Somebody(slapd), Somebody(slapd)
    slapd.add(group(team, alice.dn) + f"description: {alice.name}\n")
    source = opened(without=("group_attribute",), group_base=GROUPS, group_filter=condition)
    assert told(await source.verify(alice.name, alice.password))[1] == {f"ldap-group:{team}"}
    assert told(await source.verify(bob.name, bob.password))[1] == set()


async def test_in_groups_names_are_looked_for_as_they_are_spelled(slapd: Slapd, opened: Opened) -> None:
    """Case matters in `memberUid`."""
    alice = Somebody(slapd, name=f"Alice{secrets.token_hex(4)}")
    team = secrets.token_hex(4)
    head = f"dn: cn={team},{GROUPS}\nobjectClass: posixGroup\ncn: {team}\n"
    slapd.add(f"{head}gidNumber: 1\nmemberUid: {alice.name}\n")
    condition = "(&(objectClass=posixGroup)(memberUid={username}))"
    source = opened(without=("group_attribute",), group_base=GROUPS, group_filter=condition)
    assert told(await source.find(alice.name.upper()))[1] == {f"ldap-group:{team}"}


async def test_without_a_word_about_groups_there_are_none(slapd: Slapd, opened: Opened) -> None:
    alice = Somebody(slapd, secrets.token_hex(4))
    assert told(await opened(without=("group_attribute",)).find(alice.name))[1] == set()


async def test_the_stamp_changes_with_the_password_and_with_the_person(slapd: Slapd, opened: Opened) -> None:
    alice, source = Somebody(slapd), opened()
    stamps = [await source.find(alice.name)]
    slapd.modify(alice.dn, "replace: mail\nmail: new@example.test\n")
    assert stamps == [await source.find(alice.name)]
    changed = stamps[0]
    while changed == stamps[0]:
        # The server may write down no more than the second.
        alice.change_password()
        changed = await source.verify(alice.name, alice.password)
    stamps.append(changed)
    slapd.delete(alice.dn)
    assert await source.find(alice.name) is None
    Somebody(slapd, name=alice.name)
    stamps.append(await source.find(alice.name))
    assert len({one.stamp for one in stamps if one is not None}) == 3


async def test_somebody_locked_for_good_is_not_enabled(slapd: Slapd, opened: Opened) -> None:
    alice, source = Somebody(slapd), opened()
    slapd.modify(alice.dn, "add: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n")
    for found in (await source.find(alice.name), await source.verify(alice.name, alice.password)):
        assert found is not None and not found.enabled


async def test_two_entries_of_one_name_are_an_error_of_the_directory(slapd: Slapd, opened: Opened) -> None:
    place = secrets.token_hex(4)
    alice = Somebody(slapd)
    slapd.add(unit(place, PEOPLE))
    slapd.add(
        f"dn: uid={alice.name},ou={place},{PEOPLE}\nobjectClass: inetOrgPerson\ncn: x\nsn: x\n"
        f"uid: {alice.name}\nuserPassword: {alice.password}\n"
    )
    assert "more than one entry for (uid=" in await unavailable(opened(), alice.name, alice.password)


async def test_of_several_names_the_one_counts_that_the_entry_is_called_by(
    slapd: Slapd, opened: Opened
) -> None:
    alice, alias = Somebody(slapd), f"a{secrets.token_hex(4)}"
    slapd.modify(alice.dn, f"add: uid\nuid: {alias}\n")
    source = opened()
    assert told(await source.verify(alias, alice.password))[0] == f"ldap:{alice.name}"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"bind_password": "wrong"}, "the server does not take bind_dn with bind_password"),
        ({"bind_dn": f"cn=none,{SUFFIX}"}, "the server does not take bind_dn with bind_password"),
        ({"user_base": "dc=nowhere"}, "No such object"),
        ({"user_filter": "(&(uid={username})(!))"}, "Bad search filter"),
        ({"user_filter": "(|(uid={username})(objectClass=*))"}, "Size limit exceeded"),
    ],
    ids=["password", "account", "base", "filter", "everybody"],
)
async def test_wrong_settings_are_told(
    slapd: Slapd, opened: Opened, more: dict[str, Any], reason: str
) -> None:
    alice = Somebody(slapd)
    Somebody(slapd)
    text = await unavailable(opened(**more), alice.name, alice.password)
    assert text == f"ldap://127.0.0.1:{slapd.port}: {reason}"
    assert slapd.service_password not in text


async def test_who_may_look_nobody_up_finds_nobody(slapd: Slapd, opened: Opened) -> None:
    alice = Somebody(slapd)
    source = opened(without=("bind_dn", "bind_password"))
    with pytest.raises(SourceUnavailable, match="No such object"):
        await source.verify(alice.name, alice.password)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"ca_file": None}, "its certificate is not good: self-signed certificate"),
        ({"ca_file": "other.crt"}, "its certificate is not good: "),
        ({"host": "localhost"}, "its certificate is not good: Hostname mismatch"),
    ],
    ids=["unknown", "other", "name"],
)
@pytest.mark.parametrize("way", ["start_tls", "ldaps"])
async def test_a_server_that_cannot_prove_who_it_is_is_told_nothing(
    slapd: Slapd, opened: Opened, tmp_path: Path, way: str, more: dict[str, str], reason: str
) -> None:
    certificate(tmp_path, "other")
    settings = {"url": f"ldap://127.0.0.1:{slapd.port}", **WAYS[way](slapd)}
    if "ca_file" in more:
        settings["ca_file"] = tmp_path / more["ca_file"] if more["ca_file"] else None
    else:
        settings["url"] = settings["url"].replace("127.0.0.1", more["host"])
    alice = Somebody(slapd)
    assert reason in await unavailable(opened(**settings), alice.name, alice.password)


async def test_new_certificates_are_taken_up(slapd: Slapd, opened: Opened, tmp_path: Path) -> None:
    certificate(tmp_path, "other")
    trusted = tmp_path / "trusted.crt"
    trusted.write_bytes((tmp_path / "other.crt").read_bytes())
    alice = Somebody(slapd)
    source = opened(**{**WAYS["ldaps"](slapd), "ca_file": trusted})
    await unavailable(source, alice.name, alice.password)
    trusted.write_bytes((slapd.folder / "server.crt").read_bytes() + b"\n")
    source.look()  # type: ignore[attr-defined]
    assert await source.verify(alice.name, alice.password)
    trusted.write_text("no certificate")
    source.look()  # type: ignore[attr-defined]
    assert await source.verify(alice.name, alice.password)


@pytest.mark.parametrize("way", WAYS)
async def test_a_server_that_hangs_costs_its_time_and_no_thread(
    slapd: Slapd, opened: Opened, way: str
) -> None:
    alice = Somebody(slapd)
    source = opened(**WAYS[way](slapd), timeout_seconds=0.3, max_in_flight=2)
    slapd.pause()
    try:
        began = time.monotonic()
        texts = await asyncio.gather(*(unavailable(source, alice.name, alice.password) for _ in range(6)))
        assert time.monotonic() - began < 5
        assert all(text.endswith("no answer within 0.3 s") for text in texts)
    finally:
        slapd.resume()
    assert await opened(**WAYS[way](slapd)).verify(alice.name, alice.password)
    # The same threads that had waited in vain.
    source._settings = source._settings.model_copy(update={"timeout_seconds": 10.0})  # type: ignore[attr-defined]
    assert await source.verify(alice.name, alice.password)


async def test_more_than_can_wait_are_told_so(slapd: Slapd, opened: Opened) -> None:
    alice = Somebody(slapd)
    source = opened(timeout_seconds=0.3, max_in_flight=1)
    slapd.pause()
    try:
        texts = await asyncio.gather(*(unavailable(source, alice.name, alice.password) for _ in range(70)))
    finally:
        slapd.resume()
    assert sum("too many wait" in text for text in texts) == 6


async def test_many_at_once_are_all_answered(slapd: Slapd, opened: Opened) -> None:
    everybody = [Somebody(slapd) for _ in range(4)]
    source = opened(max_in_flight=3)
    pairs = [(one.name, other.password) for one in everybody for other in everybody] * 3
    found = await asyncio.gather(*(source.verify(name, password) for name, password in pairs))
    right = [one.name if one is other else None for one in everybody for other in everybody] * 3
    assert [None if one is None else one.principal.name for one in found] == right


async def test_a_server_that_is_away_is_unavailable_until_it_is_back(slapd: Slapd, opened: Opened) -> None:
    alice, source = Somebody(slapd), opened()
    slapd.stop()
    try:
        assert "no connection: Connection refused" in await unavailable(source, alice.name, alice.password)
    finally:
        slapd.start(slapd.port, slapd.tls_port)
    assert await source.verify(alice.name, alice.password)


async def test_whoever_leaves_early_leaves_nothing_behind(slapd: Slapd, opened: Opened) -> None:
    alice = Somebody(slapd)
    source = opened(max_in_flight=1)
    slapd.pause()
    try:
        asking = asyncio.create_task(source.verify(alice.name, alice.password))
        await asyncio.sleep(0)
        while not source._executor._threads:  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    finally:
        slapd.resume()
    assert await source.verify(alice.name, alice.password)
