"""What an operator may set about an LDAP server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from registry.settings import Secret, Settings
from registry.settings.hosts import is_loopback

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*")


def _url(text: str) -> str:
    try:
        place = urlsplit(text)
        fits = place.scheme in ("ldap", "ldaps") and place.hostname and place.port != 0
    except ValueError:
        fits = False
    if not fits or place.path.strip("/") or place.query or place.fragment or "@" in place.netloc:
        raise ValueError(
            "must be ldaps://HOST or ldap://HOST, with :PORT where it is another than 636 or 389"
        )
    return text


def _attribute(text: str) -> str:
    if _ATTRIBUTE.fullmatch(text) is None:
        raise ValueError("must be the name of an attribute, such as uid or sAMAccountName")
    return text


def _filter(text: str, placeholders: frozenset[str]) -> str:
    """A filter whose parentheses match and that asks for at least one of the placeholders, and no other."""
    depth = 0
    for number, one in enumerate(text):
        depth += {"(": 1, ")": -1}.get(one, 0)
        if depth < 0 or (depth == 0 and number < len(text) - 1):
            depth = -1
            break
    if depth != 0 or not text:
        raise ValueError("must be one LDAP filter in parentheses, which all have to match")
    words = " and ".join(f"{{{name}}}" for name in sorted(placeholders))
    found = set(_PLACEHOLDER.findall(text))
    if not found or not found <= placeholders or set("{}") & set(_PLACEHOLDER.sub("", text)):
        raise ValueError(f"must hold {words}, which it is filled with, and no other braces")
    return text


def _user_filter(text: str) -> str:
    return _filter(text, frozenset({"username"}))


def _group_filter(text: str) -> str:
    return _filter(text, frozenset({"username", "dn"}))


Attribute = Annotated[str, AfterValidator(_attribute)]


class LdapSettings(Settings):
    """A directory server that knows people, and how it writes down who they are."""

    url: Annotated[str, AfterValidator(_url)]
    # ldap:// becomes encrypted before anything is said.
    start_tls: bool = False
    # Passwords may cross a network in the clear.
    allow_plaintext: bool = False
    # Who vouches for the server, PEM; None: whom the machine trusts.
    ca_file: Path | None = None
    # The account that looks people up; None: nobody in particular may.
    bind_dn: Annotated[str, Field(min_length=1)] | None = None
    bind_password: Secret | None = None
    user_base: Annotated[str, Field(min_length=1)]
    user_filter: Annotated[str, AfterValidator(_user_filter)] = "(uid={username})"
    name_attribute: Attribute = "uid"
    # The groups are named in the person's entry …
    group_attribute: Attribute | None = None
    # … or found below a place, by a filter. With the attribute, only groups below the place count.
    group_base: Annotated[str, Field(min_length=1)] | None = None
    group_filter: Annotated[str, AfterValidator(_group_filter)] | None = None
    group_name_attribute: Attribute = "cn"
    # For one question, from connecting to the last answer.
    timeout_seconds: Seconds = 5.0
    # Questions that a process asks at once; each takes a thread.
    max_in_flight: Annotated[int, Field(ge=1, le=64)] = 4

    @property
    def host(self) -> str:
        """The server's host."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return urlsplit(self.url).port or (636 if self._speaks_tls else 389)

    @property
    def is_encrypted(self) -> bool:
        """Whether nothing but the wish for TLS is said in the clear."""
        return self._speaks_tls or self.start_tls

    @property
    def _speaks_tls(self) -> bool:
        return urlsplit(self.url).scheme == "ldaps"

    @model_validator(mode="after")
    def _fits(self) -> LdapSettings:
        if self._speaks_tls and self.start_tls:
            raise ValueError("`start_tls` is for ldap://; ldaps:// is encrypted already")
        if not self.is_encrypted and not self.allow_plaintext and not is_loopback(self.host):
            raise ValueError(
                "passwords would cross the network in the clear; use ldaps://, or `start_tls: true`, or write"
                " `allow_plaintext: true` if they may"
            )
        if (self.bind_dn is None) != (self.bind_password is None):
            raise ValueError("`bind_dn` and `bind_password` (or `bind_password_file`) belong together")
        if f"({self.name_attribute}={{username}})".lower() not in self.user_filter.lower():
            raise ValueError(
                f"`user_filter` must hold ({self.name_attribute}={{username}}), since people are called by"
                " their `name_attribute`"
            )
        if self.group_filter is not None and (self.group_base is None or self.group_attribute is not None):
            raise ValueError("`group_filter` needs `group_base`, and goes without `group_attribute`")
        if self.group_base is not None and self.group_filter is None and self.group_attribute is None:
            raise ValueError("`group_base` needs `group_filter` or `group_attribute`")
        return self
