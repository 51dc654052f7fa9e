"""A directory server that hangs, lies, sends one elsewhere or talks nonsense: nobody is let in."""

from __future__ import annotations

import asyncio
import secrets
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.access.directory.settings import LdapSettings
from registry.access.people import PeopleSource, Person, SourceUnavailable
from tests.access.liar import (
    BASE,
    BIND,
    EXTENDED,
    SEARCH,
    Liar,
    Request,
    element,
    entry,
    honest,
    lying,
    message,
    octets,
    reference,
    result,
)
from tests.equipment.absence import require_extra

pytestmark = pytest.mark.e2e

SECONDS = 0.5
ALICE = f"uid=alice,{BASE}"
SERVICE = "cn=service"

Opened = Callable[..., PeopleSource]


class Passwords:
    """Those of one test: whatever happens, no error tells them."""

    def __init__(self) -> None:
        self.service, self.alice = secrets.token_urlsafe(), secrets.token_urlsafe()

    def known(self) -> dict[str, str]:
        """By DN."""
        return {SERVICE: self.service, ALICE: self.alice}


@pytest.fixture
def passwords() -> Passwords:
    return Passwords()


@pytest.fixture
def opened(passwords: Passwords) -> Iterator[Opened]:
    require_extra("ldap")
    from registry.access.directory.people import Directory

    made: list[Directory] = []

    def open_(server: Liar, **more: Any) -> PeopleSource:
        written = {
            "url": f"ldap://127.0.0.1:{server.port}",
            "bind_dn": SERVICE,
            "bind_password": passwords.service,
            "user_base": BASE,
            "group_attribute": "memberOf",
            "timeout_seconds": SECONDS,
            **more,
        }
        made.append(Directory(LdapSettings.model_validate(written)))
        return made[-1]

    yield open_
    for one in made:
        one.close()


async def asked(
    source: PeopleSource, passwords: Passwords, password: str | None = None
) -> Person | str | None:
    """Who is let in, or why the source cannot be asked, which tells no password."""
    began = time.monotonic()
    try:
        return await source.verify("alice", passwords.alice if password is None else password)
    except SourceUnavailable as error:
        told = "".join(traceback.format_exception(error))
        assert passwords.alice not in told and passwords.service not in told
        return str(error).partition(": ")[2]
    finally:
        assert time.monotonic() - began < SECONDS + 2


def found(request: Request) -> bytes:
    """One entry, as it should be."""
    return entry(request, ALICE, uid="alice") + result(request, 0)


async def test_when_it_is_honest_people_are_let_in(opened: Opened, passwords: Passwords) -> None:
    """So that what is below is not passed by everything."""
    async with lying(honest(passwords.known(), found)) as server:
        person = await asked(opened(server), passwords)
        assert isinstance(person, Person) and person.principal.text == "ldap:alice"
        assert await asked(opened(server), passwords, "wrong") is None
        assert [one.dn for one in server.requests if one.kind == BIND] == [SERVICE, ALICE] * 2


FINDS: dict[str, tuple[Callable[[Request], bytes], str | None]] = {
    "nobody": (lambda one: result(one, 0), None),
    "two": (lambda one: found(one)[: -len(result(one, 0))] + found(one), "more than one entry"),
    "many": (lambda one: found(one)[: -len(result(one, 0))] * 50 + result(one, 0), "more than 2 entries"),
    "no-dn": (lambda one: entry(one, "", uid="alice") + result(one, 0), "without a DN"),
    "no-dn-at-all": (lambda one: entry(one, "nonsense", uid="alice") + result(one, 0), "without a DN"),
    "bad-dn": (lambda one: entry(one, b"uid=\xff," + BASE.encode(), uid="alice") + result(one, 0), ""),
    "nul-dn": (lambda one: entry(one, f"uid=a\x00,{BASE}", uid="alice") + result(one, 0), ""),
    "another-place": (
        lambda one: entry(one, "uid=alice,ou=people,dc=example,dc=evil", uid="alice") + result(one, 0),
        "not below user_base",
    ),
    "above": (lambda one: entry(one, "dc=example", uid="alice") + result(one, 0), "not below user_base"),
    "no-name": (lambda one: entry(one, ALICE, cn="alice") + result(one, 0), "not what to call them (uid)"),
    "two-names": (
        lambda one: entry(one, f"cn=x,{BASE}", uid=["alice", "bob"]) + result(one, 0),
        "not what to call them (uid)",
    ),
    "odd-name": (lambda one: entry(one, ALICE, uid="alice\n") + result(one, 0), "not what to call"),
    "long-name": (lambda one: entry(one, ALICE, uid="a" * 10_000) + result(one, 0), "not what to call"),
    "no-text": (lambda one: entry(one, ALICE, uid=b"\xff\xfe") + result(one, 0), "not what to call"),
    "elsewhere": (lambda one: reference(one, "ldap://127.0.0.1:1/") + result(one, 0), None),
    "no-search": (lambda one: result(one, 0, kind=0x61), ""),
    "entry-only": (lambda one: entry(one, ALICE, uid="alice"), "no answer within"),
    "other-number": (lambda one: found(Request(one.number + 5, one.kind)), "no answer within"),
    "no-attributes": (lambda one: message(one.number, 0x64, octets(ALICE)) + result(one, 0), ""),
    "cut-entry": (lambda one: message(one.number, 0x64, b"\x04\x7fx") + result(one, 0), ""),
}


@pytest.mark.parametrize("what", FINDS)
async def test_what_it_finds_has_to_be_one_person(opened: Opened, passwords: Passwords, what: str) -> None:
    """Whoever is found could bind: the server says yes to every password."""
    search, reason = FINDS[what]

    def answers(request: Request) -> bytes | None:
        return search(request) if request.kind == SEARCH else result(request, 0)

    async with lying(answers) as server:
        got = await asked(opened(server), passwords)
        if reason is None:
            assert got is None
        else:
            assert isinstance(got, str) and reason in got
        assert not any(one.dn == "" for one in server.requests if one.kind == BIND)


async def test_the_sign_for_kelvin_is_no_k(opened: Opened, passwords: Passwords) -> None:
    def karl(request: Request) -> bytes:
        return entry(request, ALICE, uid="\u212aarl") + result(request, 0)

    async with lying(honest(passwords.known(), karl)) as server:
        person = await asked(opened(server), passwords)
        assert isinstance(person, Person) and person.principal.text == "ldap:\u212aarl"


@pytest.mark.parametrize("code", range(1, 128))
async def test_no_result_but_success_lets_anybody_in(opened: Opened, passwords: Passwords, code: int) -> None:
    """Each may echo what it was told."""

    def answers(request: Request) -> bytes | None:
        if request.kind == BIND and request.dn == ALICE:
            return result(request, code, f"no {request.password} {passwords.service}")
        return honest(passwords.known(), found)(request)

    async with lying(answers) as server:
        assert not isinstance(await asked(opened(server), passwords), Person)


@pytest.mark.parametrize("kind", [0x65, 0x64, 0x78, 0x79, 0x6B], ids=hex)
async def test_what_is_no_answer_to_a_bind_lets_nobody_in(
    opened: Opened, passwords: Passwords, kind: int
) -> None:
    def answers(request: Request) -> bytes | None:
        if request.kind == BIND and request.dn == ALICE:
            return result(request, 0, kind=kind)
        return honest(passwords.known(), found)(request)

    async with lying(answers) as server:
        assert not isinstance(await asked(opened(server), passwords), Person)


@pytest.mark.parametrize("kind", [BIND, SEARCH], ids=["bind", "search"])
async def test_nobody_follows_where_it_sends_one(opened: Opened, passwords: Passwords, kind: int) -> None:
    async with lying(honest(passwords.known(), found)) as elsewhere:

        def answers(request: Request) -> bytes | None:
            if request.kind == kind and request.dn != SERVICE:
                url = f"ldap://127.0.0.1:{elsewhere.port}/{BASE}"
                return result(request, 10, referral=url)
            return honest(passwords.known(), found)(request)

        async with lying(answers) as server:
            got = await asked(opened(server), passwords)
            assert isinstance(got, str) and got == "Referral"
        assert elsewhere.connections == 0


STOPS: dict[str, Callable[[bytes], bytes | None]] = {
    "hangs": lambda answer: None,
    "hangs-in-the-middle": lambda answer: answer[: len(answer) // 2],
    "hangs-in-the-head": lambda answer: answer[:1],
    "announces-much": lambda answer: b"\x30\x84\x7f\xff\xff\xff" + answer,
    "closes": lambda answer: b"",
    "noise": lambda answer: b"\xff" * 1000,
    "http": lambda answer: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "zeros": lambda answer: b"\x00" * 1000,
    "endless-length": lambda answer: b"\x30\x80",
    "huge-length": lambda answer: b"\x30\xff" + b"\xff" * 127,
}


@pytest.mark.parametrize("when", ["service", "search", "alice"])
@pytest.mark.parametrize("how", STOPS)
async def test_a_server_that_stops_is_unavailable_in_time_and_frees_its_thread(
    opened: Opened, passwords: Passwords, when: str, how: str
) -> None:
    stops = True

    def answers(request: Request) -> bytes | None:
        good = honest(passwords.known(), found)(request)
        at = "search" if request.kind == SEARCH else "alice" if request.dn == ALICE else "service"
        return STOPS[how](good or b"") if stops and at == when else good

    async with lying(answers) as server:
        source = opened(server, max_in_flight=1)
        for _ in range(2):
            assert isinstance(await asked(source, passwords), str)
        stops = False
        source._settings = source._settings.model_copy(update={"timeout_seconds": 10.0})  # type: ignore[attr-defined]
        assert isinstance(await source.verify("alice", passwords.alice), Person)


async def test_a_server_that_never_ends_is_cut_off(opened: Opened, passwords: Passwords) -> None:
    async with lying(lambda one: result(one, 0) if one.kind == BIND else ENDLESS) as server:
        got = await asked(opened(server, timeout_seconds=30.0), passwords)
        assert got == "Can't contact LDAP server"


ENDLESS = entry(Request(2, SEARCH), ALICE, uid="x" * (1 << 20)) * 40

START_TLS: dict[str, tuple[Callable[[Request], bytes | None], str]] = {
    "hangs": (lambda one: None, "no answer within"),
    "hangs-in-the-middle": (lambda one: b"\x30\x0c\x02", "no answer within"),
    "hangs-up": (lambda one: b"", "gave no answer when asked for TLS"),
    "refuses": (lambda one: result(one, 2), "does not want to speak TLS"),
    "refers": (lambda one: result(one, 10, referral="ldap://127.0.0.1:1"), "does not want to speak TLS"),
    "too-soon": (lambda one: result(one, 0) + result(Request(2, BIND), 0), "answered nonsense"),
    "bind": (lambda one: result(one, 0, kind=0x61), "answered nonsense"),
    "other-number": (lambda one: result(Request(3, EXTENDED), 0), "answered nonsense"),
    "noise": (lambda one: b"\xff" * 10_000, "gave no answer when asked for TLS"),
    "http": (lambda one: b"HTTP/1.1 400 Bad Request\r\n\r\n" * 4, "answered nonsense"),
    "empty": (lambda one: b"\x30\x00", "answered nonsense"),
    "agrees-and-hangs": (lambda one: result(one, 0), "no answer within"),
    "agrees-as-active-directory": (
        lambda one: message(1, 0x78, element(0x0A, b"\x00"), octets(""), octets(""), long=True),
        "no answer within",
    ),
}


@pytest.mark.parametrize("what", START_TLS)
async def test_without_tls_nothing_is_said(opened: Opened, passwords: Passwords, what: str) -> None:
    answer, reason = START_TLS[what]

    def answers(request: Request) -> bytes | None:
        # It would say yes to everything.
        return answer(request) if request.kind == EXTENDED else result(request, 0)

    async with lying(answers) as server:
        got = await asked(opened(server, start_tls=True), passwords)
        assert isinstance(got, str) and reason in got
        assert [one.kind for one in server.requests] == [EXTENDED]
        # What comes after a yes is the greeting of TLS.
        agreed = what.startswith("agrees")
        assert server.other_bytes[:2] == (b"\x16\x03" if agreed else b"")
        assert passwords.service.encode() not in server.other_bytes


async def test_a_server_that_does_not_speak_tls_is_told_nothing(opened: Opened, passwords: Passwords) -> None:
    async with lying(honest(passwords.known(), found)) as server:
        got = await asked(opened(server, url=f"ldaps://127.0.0.1:{server.port}"), passwords)
        assert isinstance(got, str) and "no answer within" in got
        assert server.requests == [] and server.other_bytes[:2] == b"\x16\x03"


async def test_no_connection_is_made_for_what_can_be_nobody(opened: Opened, passwords: Passwords) -> None:
    async with lying(lambda one: result(one, 0)) as server:
        source = opened(server)
        for name, password in (
            ("alice", ""),
            ("alice", "\x00"),
            ("alice", "x\x00y"),
            ("alice", "x" * 4097),
            ("alice", "\udc80"),
            ("", "x"),
            ("a" * 257, "x"),
            ("a\x00", "x"),
            ("a\nb", "x"),
        ):
            assert await source.verify(name, password) is None
        assert server.connections == 0


@pytest.mark.parametrize(
    ("attributes", "is_enabled"),
    [
        ({}, True),
        ({"userAccountControl": "512"}, True),
        ({"userAccountControl": "514"}, False),
        ({"useraccountcontrol": "66050"}, False),
        ({"userAccountControl": "nonsense"}, False),
        ({"nsAccountLock": "TRUE"}, False),
        ({"nsAccountLock": "false"}, True),
        ({"pwdAccountLockedTime": "000001010000Z"}, False),
        ({"pwdAccountLockedTime": "20300101000000Z"}, True),
    ],
    ids=str,
)
async def test_who_is_switched_off_is_not_enabled(
    opened: Opened, passwords: Passwords, attributes: dict[str, str], is_enabled: bool
) -> None:
    def search(request: Request) -> bytes:
        return entry(request, ALICE, uid="alice", **attributes) + result(request, 0)

    async with lying(honest(passwords.known(), search)) as server:
        person = await asked(opened(server), passwords)
        assert isinstance(person, Person) and person.enabled is is_enabled


async def test_the_stamp_changes_with_what_directories_write_down_of_a_password(
    opened: Opened, passwords: Passwords
) -> None:
    stamps = []
    for attributes in (
        {},
        {"pwdLastSet": "1"},
        {"pwdLastSet": "2"},
        {"pwdChangedTime": "2"},
        {"objectGUID": "2"},
    ):

        def search(request: Request, attributes: dict[str, str] = attributes) -> bytes:
            return entry(request, ALICE, uid="alice", **attributes) + result(request, 0)

        async with lying(honest(passwords.known(), search)) as server:
            found = await opened(server).find("alice")
            assert found is not None
            stamps.append(found.stamp)
    assert len(set(stamps)) == 5


async def test_groups_that_are_none_do_not_count(opened: Opened, passwords: Passwords) -> None:
    groups = [
        *("cn=Devs,ou=groups", "CN=Two\\, of them,ou=groups", "cn=a+ou=b,dc=x", "nonsense", "", "cn=,dc=x"),
        f"cn={'x' * 300},dc=x",
        "cn=a\\0Ab,dc=x",
    ]

    def search(request: Request) -> bytes:
        return entry(request, ALICE, uid="alice", MEMBEROF=groups) + result(request, 0)

    async with lying(honest(passwords.known(), search)) as server:
        person = await asked(opened(server), passwords)
        assert isinstance(person, Person)
        assert person.principal.groups == {"ldap-group:devs", "ldap-group:two, of them", "ldap-group:a"}


async def test_a_list_of_groups_that_is_not_whole_is_none(opened: Opened, passwords: Passwords) -> None:
    """Whom a rule denies something as a member of the last one would be let in."""
    searches = 0

    def search(request: Request) -> bytes:
        nonlocal searches
        searches += 1
        if searches % 2:
            return found(request)
        return entry(request, "cn=devs", cn="devs") + result(request, 4)

    async with lying(honest(passwords.known(), search)) as server:
        source = opened(server, group_attribute=None, group_base="ou=groups", group_filter="(member={dn})")
        assert await asked(source, passwords) == "Size limit exceeded"


def mutated(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    """With some bytes changed."""
    made = bytearray(data)
    for place, value in changes:
        made[place % len(made)] = value
    return bytes(made)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from([BIND, SEARCH]),
    changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 3),
)
def test_whatever_it_answers_it_is_a_person_nobody_or_unavailable(
    opened: Opened, passwords: Passwords, kind: int, changes: list[tuple[int, int]], cut: int
) -> None:
    def answers(request: Request) -> bytes | None:
        good = honest(passwords.known(), found)(request) or b""
        return mutated(good, changes)[: len(good) - cut] if request.kind == kind else good

    async def ask() -> None:
        async with lying(answers) as server:
            source = opened(server, timeout_seconds=0.05)
            got = await asked(source, passwords)
            assert got is None or isinstance(got, Person | str)

    asyncio.run(ask())
