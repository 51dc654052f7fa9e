from __future__ import annotations

import pytest

from registry.settings.hosts import is_loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_this_machine_alone(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        *("", "0.0.0.0", "::", "192.168.1.1", "::ffff:192.168.1.1", "::2", "2130706433"),
        *("localhost.example", "127.0.0.1.example", "[::1]", "127.0.0.1:5000"),
    ],
)
def test_what_others_may_be_behind(host: str) -> None:
    assert not is_loopback(host)
