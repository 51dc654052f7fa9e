from __future__ import annotations

import pytest

from registry.access.exposure import OPEN_RULES, Exposed, foreign_host, require_rules


def test_the_network_needs_rules_and_the_refusal_has_them_ready() -> None:
    with pytest.raises(Exposed) as raised:
        require_rules(":5002", "mirrors[0].listen", is_loopback=False, has_rules=False)
    told = str(raised.value)
    assert OPEN_RULES in told
    assert "access: {rules_file: " in told
    assert ":5002 (mirrors[0].listen)" in told
    assert told.endswith("listen on 127.0.0.1:5002.")


@pytest.mark.parametrize(("is_loopback", "has_rules"), [(True, False), (True, True), (False, True)])
def test_everything_else_may_listen(is_loopback: bool, has_rules: bool) -> None:
    require_rules("x", "registry.listen", is_loopback=is_loopback, has_rules=has_rules)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:5000",
        "LOCALHOST:5000",
        "localhost.:5000",
        "127.0.0.1",
        "127.0.0.1:5000",
        "127.9.9.9:1",
        "[::1]:5000",
        "[::1]",
        "[::ffff:127.0.0.1]:5000",
        "registry.example:443",
        "Registry.Example",
        None,
    ],
)
def test_our_own_names_may_ask(host: str | None) -> None:
    assert foreign_host(host, None, known={"registry.example"}) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:5000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost:5000.evil.example",
        "localhost@evil.example",
        "evil.example@localhost",
        "192.168.1.1:5000",
        "0.0.0.0:5000",
        "[::]:5000",
        "[::2]",
        "2130706433",
        "localhost, evil.example",
        "localhost:",
        "localhost:123456",
        "[localhost]",
    ],
)
def test_others_may_not(host: str) -> None:
    refusal = foreign_host(host, None, known={"registry.example"})
    assert refusal is not None
    assert "url" in refusal
    assert "access.rules_file" in refusal


@pytest.mark.parametrize("origin", ["http://localhost:5000", "https://evil.example", "null", ""])
def test_no_web_page_may(origin: str) -> None:
    refusal = foreign_host("localhost:5000", origin, known=())
    assert refusal is not None
    assert "web pages" in refusal
