"""What an operator may set about others whose tokens are believed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from registry.access.templates import ClaimPattern
from registry.settings import Settings, Url
from registry.settings.hosts import is_loopback

# None of them takes a secret that both sides know, and `none` is none of them.
Algorithm = Literal["EdDSA", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
# What every token says, and what is looked at anyway.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_NO_CONDITION = ("iss", "aud", "exp", "nbf", "iat", "jti")


def _name(text: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise ValueError("must be lowercase letters, digits, '.', '_' and '-', at most 64 of them")
    return text


def _claim_pattern(text: str) -> str:
    ClaimPattern(text)
    return text


def _claim(name: str) -> str:
    if name in _NO_CONDITION:
        raise ValueError("is no condition: every token says it, and it is looked at anyway")
    return name


def _one_or_many(value: object) -> object:
    if value in ([], {}, ""):
        raise ValueError("must not be empty")
    return [value] if isinstance(value, str) else value


def _some(value: object) -> object:
    if value in ([], {}):
        raise ValueError("must not be empty")
    return value


Text = Annotated[str, Field(min_length=1, max_length=1024)]
Algorithms = Annotated[tuple[Algorithm, ...], BeforeValidator(_some)]


class IssuerSettings(Settings):
    """A trusted issuer of workloads' tokens (OpenID Connect): whom they must be for, what they must say."""

    name: Annotated[str, AfterValidator(_name)]
    issuer: Url
    audience: Annotated[tuple[Text, ...], BeforeValidator(_one_or_many)]
    # Every claim must be like one of its patterns.
    claims: Annotated[
        Mapping[
            Annotated[Text, AfterValidator(_claim)],
            Annotated[
                tuple[Annotated[str, AfterValidator(_claim_pattern)], ...], BeforeValidator(_one_or_many)
            ],
        ],
        BeforeValidator(_some),
    ]
    # Which claim names the workload.
    subject: Text = "sub"
    algorithms: Algorithms = ("RS256", "ES256")
    # Where its keys are: a file, an address, or (neither) where its discovery document says.
    jwks_file: Path | None = None
    jwks_url: Url | None = None
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _fits(self) -> IssuerSettings:
        if self.jwks_file is not None:
            if self.jwks_url is not None or self.ca_file is not None:
                raise ValueError("with jwks_file nothing is fetched: leave out jwks_url and ca_file")
            return self
        asked = urlsplit(self.jwks_url or self.issuer)
        if asked.scheme != "https" and not is_loopback(asked.hostname or ""):
            raise ValueError(
                "its keys would be fetched without TLS, so that anybody on the way could give others: write"
                " https://, or name a jwks_file"
            )
        return self


class TokenServerSettings(Settings):
    """A token server of others, as in Distribution's `auth.token`; its tokens count instead of ours."""

    realm: Url
    service: Text
    issuer: Text
    # Authorities and keys in certificates; keys as JSON Web Keys. One of them, or both.
    certificates: Path | None = None
    jwks_file: Path | None = None
    algorithms: Algorithms = (
        *("EdDSA", "ES256", "ES384", "ES512"),
        *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    )

    @model_validator(mode="after")
    def _has_keys(self) -> TokenServerSettings:
        if self.certificates is None and self.jwks_file is None:
            raise ValueError("needs certificates or a jwks_file to verify tokens with")
        return self


def distinct(issuers: tuple[IssuerSettings, ...]) -> tuple[IssuerSettings, ...]:
    """The issuers, if no two have the same name or are the same. Raises ValueError."""
    for what in ("name", "issuer"):
        values = [getattr(issuer, what) for issuer in issuers]
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise ValueError(f"two have the {what} {twice[0]}, and each needs one of its own")
    return issuers
