"""What may be written about an LDAP server, and what is said of the rest."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from registry.access.directory.settings import LdapSettings

GOOD: dict[str, Any] = {"url": "ldaps://ldap.example", "user_base": "dc=example"}


def made(**more: Any) -> LdapSettings:
    return LdapSettings.model_validate({**GOOD, **more})


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("ldaps://ldap.example", "ldap.example", 636),
        ("ldaps://ldap.example/", "ldap.example", 636),
        ("ldaps://ldap.example:1636", "ldap.example", 1636),
        ("ldap://127.0.0.1", "127.0.0.1", 389),
        ("ldap://127.9.9.9:3890", "127.9.9.9", 3890),
        ("ldap://[::1]:3890", "::1", 3890),
        ("ldap://localhost", "localhost", 389),
    ],
)
def test_a_server_is_a_host_and_a_port(url: str, host: str, port: int) -> None:
    settings = made(url=url)
    assert (settings.host, settings.port) == (host, port)


@pytest.mark.parametrize(
    "url",
    [
        *("", "ldap.example", "https://ldap.example", "ldapi:///run/ldapi", "ldaps://", "ldaps://:636"),
        *("ldaps://a:b@ldap.example", "ldaps://ldap.example/dc=x", "ldaps://ldap.example?uid"),
        *("ldaps://ldap.example:x", "ldaps://ldap.example:99999", "ldaps://ldap.example:0", "ldaps://[::1"),
    ],
)
def test_what_is_no_server_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="must be ldaps://HOST or ldap://HOST"):
        made(url=url)


def test_passwords_do_not_cross_a_network_in_the_clear_unless_that_is_written_down() -> None:
    for url in ("ldap://ldap.example", "ldap://10.0.0.1", "ldap://localhost.example", "ldap://127.0.0.1.nip"):
        with pytest.raises(ValidationError, match="in the clear; use ldaps://, or `start_tls: true`"):
            made(url=url)
        assert not made(url=url, allow_plaintext=True).is_encrypted
        assert made(url=url, start_tls=True).is_encrypted
    with pytest.raises(ValidationError, match="ldaps:// is encrypted already"):
        made(start_tls=True)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"bind_dn": "cn=x"}, "belong together"),
        ({"bind_password": "x"}, "belong together"),
        ({"bind_dn": ""}, "at least 1 character"),
        ({"user_base": ""}, "at least 1 character"),
        ({"user_filter": "uid={username}"}, "one LDAP filter in parentheses"),
        ({"user_filter": "(uid={username}"}, "one LDAP filter in parentheses"),
        ({"user_filter": "(uid={username}))"}, "one LDAP filter in parentheses"),
        ({"user_filter": "(uid={username})(cn=x)"}, "one LDAP filter in parentheses"),
        ({"user_filter": ""}, "one LDAP filter in parentheses"),
        ({"user_filter": "(uid=alice)"}, "must hold {username}"),
        ({"user_filter": "(uid={user})"}, "must hold {username}"),
        ({"user_filter": "(&(uid={username})(cn={dn}))"}, "must hold {username}"),
        ({"user_filter": "(uid={username}{)"}, "no other braces"),
        ({"user_filter": "(mail={username})"}, r"must hold (uid={username}), since"),
        ({"name_attribute": "uid)(cn"}, "must be the name of an attribute"),
        ({"group_filter": "(member={dn})"}, "`group_filter` needs `group_base`"),
        (
            {"group_filter": "(member={dn})", "group_base": "dc=x", "group_attribute": "memberOf"},
            "goes without `group_attribute`",
        ),
        ({"group_filter": "(member=alice)", "group_base": "dc=x"}, "must hold {dn} and {username}"),
        ({"group_base": "dc=x"}, "`group_base` needs"),
        ({"timeout_seconds": 0}, "greater than 0"),
        ({"max_in_flight": 0}, "greater than or equal to 1"),
        ({"tls": True}, "Extra inputs"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(more: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as raised:
        made(**more)
    assert told in str(raised.value)


def test_what_fits_together_is_taken() -> None:
    made(user_filter="(&(objectClass=user)(SAMACCOUNTNAME={username}))", name_attribute="sAMAccountName")
    made(user_filter="(|(uid={username})(mail={username}))", group_attribute="memberOf", group_base="dc=x")
    nested = "(member:1.2.840.113556.1.4.1941:={dn})"
    made(group_base="dc=x", group_filter=nested, bind_dn="cn=x", bind_password="x")
