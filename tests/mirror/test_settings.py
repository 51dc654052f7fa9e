"""Settings of namespaces: what is refused before anything is served, and what is meant without them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from registry.mirror.settings import MirrorSettings, MirrorsSettings

UPSTREAM = {"url": "https://registry-1.docker.io"}
HUB = {"name": "hub", "upstreams": [UPSTREAM]}
LOGIN = {**UPSTREAM, "username": "acme", "password_file": "/etc/moorage/hub"}


def made(**settings: Any) -> MirrorSettings:
    return MirrorSettings.model_validate({**HUB, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "Hub"}, "must be a name such as hub"),
        ({"name": "hub/**"}, "must be a name such as hub"),
        ({"upstreams": [{"url": "registry-1.docker.io"}]}, "must be https://"),
        ({"upstreams": [{"url": "https://name:word@host"}]}, "must be https://"),
        ({"upstreams": [{**UPSTREAM, "username": "acme"}]}, "go together"),
        ({"upstreams": [{**LOGIN, "url": "http://host"}], "repositories": ["**"]}, "without TLS"),
        ({"upstreams": [LOGIN]}, "needs repositories"),
        ({"upstreams": []}, "needs upstreams"),
        ({"answers_for": ["https://docker.io"]}, "must be a host"),
        ({"answers_for": ["Docker.IO"]}, "must be a host"),
        ({"repositories": []}, "at least 1"),
        ({"repositories": ["a//b"]}, "empty segment"),
        ({"strict": ["lying"]}, "Input should be"),
        ({"patience": "0s"}, "greater than"),
        ({"absent_for": "2h"}, "less than or equal"),
        ({"bytes_per_second": "1KiB"}, "at least 64KiB"),
        ({"sync": [{"repositories": []}]}, "at least 1"),
        ({"sync": [{"repositories": ["app"], "platforms": ["amd64"]}]}, "must be a platform"),
        ({"sync": [{"repositories": ["app"], "newest": 0}]}, "greater than or equal"),
        ({"sync_interval": "1s"}, "greater than or equal"),
        ({"sync_schedule": "0 3 * *"}, "five fields"),
        ({"sync_schedule": "0 0 3 * * *"}, "five fields"),
        ({"sync_schedule": "0 25 * * *"}, "bad hour"),
        ({"sync_schedule": "0 0 30 2 *"}, "bad day of month"),
        ({"sync_schedule": "* * */20 * 1L"}, "never comes"),
        ({"sync_schedule": "0 3 * * *", "sync_interval": "1d"}, "set one of them"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        made(**settings)


def test_a_login_says_what_it_is_good_for() -> None:
    assert made(upstreams=[LOGIN], repositories=["acme/**"]).upstreams[0].username == "acme"


@pytest.mark.parametrize(
    ("settings", "adds"),
    [
        ({}, False),
        ({"answers_for": ["docker.io"]}, True),
        ({"answers_for": ["quay.io"]}, False),
        ({"answers_for": ["docker.io"], "library": False}, False),
        ({"library": True}, True),
    ],
)
def test_library_is_added_where_docker_hub_is_meant(settings: dict[str, Any], adds: bool) -> None:
    assert made(**settings).adds_library is adds


@pytest.mark.parametrize(
    ("mirrors", "message"),
    [
        ([HUB, HUB], "hub lies in hub"),
        ([HUB, {**HUB, "name": "hub/inner"}], "hub/inner lies in hub"),
        (
            [{**HUB, "answers_for": ["docker.io"]}, {**HUB, "name": "other", "answers_for": ["docker.io"]}],
            "two answer for docker.io",
        ),
    ],
)
def test_namespaces_are_apart(mirrors: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MirrorsSettings.model_validate({"mirrors": mirrors})


def test_names_that_only_begin_alike_are_apart() -> None:
    mirrors = [HUB, {**HUB, "name": "hub-two"}, {**HUB, "name": "hubs"}]
    assert len(MirrorsSettings.model_validate({"mirrors": mirrors}).mirrors) == 3


def test_what_is_left_out() -> None:
    left_out = made()
    assert left_out.fresh_for == timedelta(minutes=5)
    assert (left_out.strict, left_out.precedence, left_out.sync) == ((), "local", ())
