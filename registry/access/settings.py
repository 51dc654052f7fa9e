"""What an operator may set about who may do what."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from registry.access.directory.settings import LdapSettings
from registry.access.trust.settings import IssuerSettings, TokenServerSettings, distinct
from registry.settings import Duration, Settings

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class TokenSettings(Settings):
    """The tokens that clients get for their credentials."""

    # Clients take shorter ones for as long as this anyhow, and would go on with dead ones.
    lifetime: Annotated[Duration, Field(ge=timedelta(minutes=1), le=timedelta(hours=1))] = timedelta(
        minutes=5
    )
    # Identity tokens, which `docker login` keeps instead of a password; 0s hands out none.
    refresh_lifetime: Annotated[Duration, Field(ge=timedelta(0))] = timedelta(days=90)
    # Private keys, PEM; the first signs, all are believed. Without any, keys are kept in the store.
    signing_key_files: tuple[Path, ...] = ()
    # Further services that tokens are made for: the `service` of registries whose token server this is.
    services: tuple[str, ...] = ()


class PasswordSettings(Settings):
    """How passwords are kept and checked."""

    # The work factor of bcrypt for new hashes: one more takes twice as long.
    cost: Annotated[int, Field(ge=10, le=16)] = 12
    # How many are checked at once; more wait.
    at_once: Annotated[int, Field(ge=1, le=64)] = 2


class AccessSettings(Settings):
    """The files that say who may do what. Without rules, on loopback only, everything is allowed."""

    rules_file: Path | None = None
    # The key that seals what the registry keeps secret in its store.
    seal_key_file: Path | None = None
    # Written down by who keeps those secrets unsealed in a bucket, where whoever reads it can act as us.
    seal: Literal["none"] | None = None
    # Between two looks at these files, and at what other processes have changed.
    check_seconds: Seconds = 5.0
    tokens: TokenSettings = TokenSettings()
    passwords: PasswordSettings = PasswordSettings()
    # Whose tokens are believed besides.
    issuers: Annotated[tuple[IssuerSettings, ...], AfterValidator(distinct)] = ()
    token_server: TokenServerSettings | None = None
    # People besides those with an account here.
    htpasswd_file: Path | None = None
    ldap: LdapSettings | None = None


class AuditSettings(Settings):
    """What is noted of what was done, where, and how long the store keeps of it what it keeps."""

    # None: into the log on standard output.
    file: Path | None = None
    # Whether pulls of manifests are noted too.
    pulls: bool = False
    keep_for: Annotated[Duration, Field(ge=timedelta(days=1))] = timedelta(days=365)
