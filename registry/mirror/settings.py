"""What an operator may set about namespaces whose content comes from other registries."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, InstanceOf, PlainSerializer, model_validator

from registry.errors import NameInvalid
from registry.model.names import RepositoryName
from registry.settings import Duration, Listen, Settings, Size, Url
from registry.settings.selections import Repositories, SelectionSettings, made
from registry.work.cron import Cron

_SLOWEST = 64 << 10  # bytes a second
DOCKER_HUB = "docker.io"
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?")


def _namespace(text: str) -> str:
    try:
        return RepositoryName(text)
    except NameInvalid:
        raise ValueError("must be a name such as hub or mirrors/hub, without a pattern") from None


def _host(text: str) -> str:
    if _HOST.fullmatch(text) is None:
        raise ValueError("must be a host such as docker.io or quay.example:8443, in small letters")
    return text


def _pace(rate: int) -> int:
    if 0 < rate < _SLOWEST:
        raise ValueError("must be 0B, for no limit, or at least 64KiB")
    return rate


Host = Annotated[str, AfterValidator(_host)]
Failure = Literal["unreachable", "barred", "slow", "failing", "limited", "refusing", "absent"]


class UpstreamSettings(Settings):
    """A registry that is asked, and who we are to it."""

    url: Url
    username: Annotated[str, Field(min_length=1)] | None = None
    # Read when a server begins, so also when it is renewed (HUP).
    password_file: Path | None = None
    # Hosts besides its own whose token service is asked, and sent the password.
    realms: tuple[Host, ...] = ()
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _fits(self) -> UpstreamSettings:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file go together; set both or neither")
        if self.username is not None and urlsplit(self.url).scheme != "https":
            raise ValueError("the password would be sent without TLS: write https://, or leave it out")
        return self


class SyncSettings(SelectionSettings):
    """Images that are fetched whole without being asked for, by the upstreams' own names."""

    # Whether those of the tags that are gone there go here, too.
    delete: bool = False


def pusher(namespace: str) -> str:
    """Who is said to have pushed what came from elsewhere into a namespace, in the history of tags."""
    return f"mirror:{namespace}"


class MirrorSettings(Settings):
    """A namespace: what is asked for below its name, and not held, is fetched and kept."""

    name: Annotated[str, AfterValidator(_namespace)]
    # Asked in this order; without any, only what is held is given.
    upstreams: tuple[UpstreamSettings, ...] = ()
    # Hosts whose names mean this namespace, in `?ns=`.
    answers_for: tuple[Host, ...] = ()
    # A listener at which names leave this one out: for docker's `registry-mirrors`.
    listen: Listen | None = None
    # Which of the upstreams' repositories; None is all, if no password is sent.
    repositories: Annotated[tuple[Repositories, ...], Field(min_length=1)] | None = None
    # Whether a name of one segment means library/ and that: None where it answers for Docker Hub.
    library: bool | None = None
    # How long a tag is given without asking whether it has moved.
    fresh_for: Annotated[Duration, Field(ge=timedelta(0))] = timedelta(minutes=5)
    # How long an upstream is waited for before what is held is given, while it is still being asked.
    patience: Annotated[Duration, Field(gt=timedelta(0), le=timedelta(minutes=5))] = timedelta(seconds=5)
    # How long an upstream may take to begin an answer, or to send more of one, before it has failed.
    give_up_after: Annotated[Duration, Field(gt=timedelta(0), le=timedelta(minutes=5))] = timedelta(
        seconds=20
    )
    # How long one that cannot be reached, or has taken that long, is not asked.
    rest_for: Annotated[Duration, Field(ge=timedelta(0), le=timedelta(hours=1))] = timedelta(seconds=10)
    # How long it is remembered that the upstreams do not have something, or do not let us have it.
    absent_for: Annotated[Duration, Field(ge=timedelta(0), le=timedelta(hours=1))] = timedelta(seconds=30)
    # Failures that are passed on, rather than answered with what is held.
    strict: tuple[Failure, ...] = ()
    # For all that is fetched together; 0B is no limit.
    bytes_per_second: Annotated[Size, AfterValidator(_pace)] = 0
    sync: tuple[SyncSettings, ...] = ()
    sync_interval: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(days=1)
    # At these times instead.
    sync_schedule: Annotated[InstanceOf[Cron], made(Cron), PlainSerializer(str, return_type=str)] | None = (
        None
    )
    # How much may be held that came from there; beyond that the least recently used goes. None: all is kept.
    max_size: Annotated[Size, Field(gt=0)] | None = None
    evict_interval: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(hours=1)
    # Whose tag it is that both have: the one that was pushed here, or the upstreams'.
    precedence: Literal["local", "upstream"] = "local"

    @property
    def adds_library(self) -> bool:
        """Whether a name of one segment is one below `library/`."""
        return DOCKER_HUB in self.answers_for if self.library is None else self.library

    @model_validator(mode="after")
    def _has_one_time(self) -> MirrorSettings:
        if self.sync_schedule is not None and "sync_interval" in self.model_fields_set:
            raise ValueError("sync_interval and sync_schedule both say when to mirror: set one of them")
        return self

    @model_validator(mode="after")
    def _lends_no_password(self) -> MirrorSettings:
        if self.repositories is None and any(one.username is not None for one in self.upstreams):
            raise ValueError(
                "needs repositories: whoever may pull below this name pulls with the upstream's password, so"
                " say which repositories that is for"
            )
        if not (self.upstreams or self.answers_for):
            raise ValueError("needs upstreams, or the hosts that it answers_for with what was brought here")
        if self.max_size is not None and not self.upstreams:
            raise ValueError("max_size needs upstreams: what would go could not be fetched again")
        return self


def _apart(mirrors: tuple[MirrorSettings, ...]) -> tuple[MirrorSettings, ...]:
    names = sorted(f"{one.name}/" for one in mirrors)
    for before, after in pairwise(names):
        if after.startswith(before):
            raise ValueError(f"{after[:-1]} lies in {before[:-1]}, and each needs a name of its own")
    hosts = [host for one in mirrors for host in one.answers_for]
    if twice := {host for host in hosts if hosts.count(host) > 1}:
        raise ValueError(f"two answer for {min(twice)}")
    return mirrors


Mirrors = Annotated[tuple[MirrorSettings, ...], AfterValidator(_apart)]


class MirrorsSettings(Settings):
    """All namespaces whose content comes from elsewhere."""

    mirrors: Mirrors = ()
