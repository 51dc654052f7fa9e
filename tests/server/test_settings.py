"""What an operator may write about listeners and processes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from registry.server import LogSettings, ServerSettings
from registry.settings import Address


def test_the_defaults_stay_on_this_machine_and_apart() -> None:
    settings = ServerSettings()
    places = [Address.parse(settings.registry.listen), Address.parse(settings.ops.listen)]
    assert all(place.loopback for place in places)
    assert places[0].port == 5000 != places[1].port
    # Go clients keep idle connections for 90 s; closing one earlier loses a POST.
    assert settings.timeouts.idle_seconds > 90


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
