"""What an operator may write about listeners and processes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from registry.server import Address, LogSettings, ServerSettings


def test_the_defaults_stay_on_this_machine_and_apart() -> None:
    settings = ServerSettings()
    places = [Address.parse(settings.registry.listen), Address.parse(settings.ops.listen)]
    assert all(place.loopback for place in places)
    assert places[0].port == 5000 != places[1].port
    # Go clients keep idle connections for 90 s; closing one earlier loses a POST.
    assert settings.timeouts.idle_seconds > 90


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:5000", "127.0.0.1", 5000, True),
        ("[::1]:5000", "::1", 5000, True),
        ("localhost:0", "localhost", 0, True),
        ("127.9.9.9:1", "127.9.9.9", 1, True),
        (":5000", "", 5000, False),
        ("0.0.0.0:65535", "0.0.0.0", 65535, False),
        ("[::]:5000", "::", 5000, False),
        ("registry.example:443", "registry.example", 443, False),
        ("localhost.example:443", "localhost.example", 443, False),
    ],
)
def test_addresses(text: str, host: str, port: int, loopback: bool) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, address.loopback) == (host, port, loopback)
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "5000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:http", "::1:5000", "[::1]"),
        *("[]:5000", "[127.0.0.1]:5000", "http://127.0.0.1:5000", "host:5000/", " :5000", ":5000\n", ":-1"),
    ],
)
def test_what_is_no_address_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(ValidationError, match=r"127\.0\.0\.1:5000|no IPv6 address"):
        ServerSettings.model_validate({"registry": {"listen": text}})


@pytest.mark.parametrize(
    "wrong",
    [
        {"listen": ":5000"},
        {"workers": 0},
        {"grace_seconds": -1},
        {"drain_seconds": float("inf")},
        {"timeouts": {"idle_seconds": 0}},
        {"registry": {"tls": {"certificate": "a.pem"}}},
        {"registry": {"tls": {"certificate": "a", "key": "b", "minimum_version": "1.0"}}},
        {"ops": {"tls": {"certificate": "a", "key": "b"}}},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ServerSettings.model_validate(wrong)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        LogSettings().level = "debug"
