from __future__ import annotations

from pathlib import Path

import pytest

from registry.access.exposure import Exposed
from registry.access.policy import Policy
from registry.access.principals import ANONYMOUS, Principal
from registry.config import ConfigError, host_guard, load, load_policy
from registry.model.names import RepositoryName

RULES = "- {who: anonymous, repositories: ['**'], may: [pull]}\n"


def rules(tmp_path: Path, text: str = RULES) -> dict[str, str]:
    path = tmp_path / "access.yaml"
    path.write_text(text)
    return {"MOORAGE_ACCESS_RULES_FILE": str(path)}


def test_loopback_without_rules_is_open() -> None:
    assert load_policy(load(None, {}, {})) == Policy.open()


@pytest.mark.parametrize("listen", [":5000", "0.0.0.0:5000", "[::]:5000", "192.0.2.1:5000", "registry:5000"])
def test_beyond_loopback_rules_are_required(tmp_path: Path, listen: str) -> None:
    flags = {"--listen": listen}
    with pytest.raises(Exposed):
        load_policy(load(None, {}, flags))
    policy = load_policy(load(None, rules(tmp_path), flags))
    assert policy.decide(ANONYMOUS, "pull", RepositoryName("a")).allowed
    assert not policy.decide(ANONYMOUS, "create", RepositoryName("a")).allowed


def test_rules_hold_on_loopback_too(tmp_path: Path) -> None:
    assert (
        not load_policy(load(None, rules(tmp_path), {}))
        .decide(ANONYMOUS, "create", RepositoryName("a"))
        .allowed
    )


def test_rules_that_are_wrong_are_problems_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"access\.yaml:1: who"):
        load_policy(load(None, rules(tmp_path, RULES.replace("anonymous", "alice")), {}))


def test_the_guard_stands_where_no_rules_are_and_knows_the_url(tmp_path: Path) -> None:
    assert host_guard(load(None, rules(tmp_path), {})) is None
    guard = host_guard(load(None, {"MOORAGE_URL": "https://Registry.example:8443"}, {}))
    assert guard is not None
    assert guard("registry.example:8443", None) is None
    assert guard("localhost:5000", None) is None
    assert guard("evil.example", None) is not None


def test_whoever_has_to_log_in_must_be_sent_somewhere(tmp_path: Path) -> None:
    text = "- {who: user:alice, repositories: ['**'], may: [pull]}"
    flags = {"--listen": ":5000"}
    with pytest.raises(ConfigError, match=r"url.*the address that clients use"):
        load_policy(load(None, rules(tmp_path, text), flags))
    environ = {**rules(tmp_path, text), "MOORAGE_URL": "https://registry.example.com"}
    assert load_policy(load(None, environ, flags)).knows_people
    assert load_policy(load(None, rules(tmp_path, text), {})).knows_people, "on loopback it is known"


def test_another_token_server_stands_for_rules(tmp_path: Path) -> None:
    named = {
        "realm": "https://a.test",
        "service": "s",
        "issuer": "i",
        "certificates": str(tmp_path / "a.pem"),
    }
    environ = {f"MOORAGE_ACCESS_TOKEN_SERVER_{name.upper()}": value for name, value in named.items()}
    config = load(None, environ, {"--listen": ":5000"})
    policy = load_policy(config)
    assert policy.decide(Principal("token:a"), "pull", RepositoryName("a")).allowed
    assert not policy.decide(ANONYMOUS, "pull", RepositoryName("a")).allowed
    assert host_guard(config) is None
    both = load_policy(load(None, environ | rules(tmp_path), {}))
    assert not both.decide(Principal("token:a"), "create", RepositoryName("a")).allowed
    assert both.decide(ANONYMOUS, "pull", RepositoryName("a")).allowed
