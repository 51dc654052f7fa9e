from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from registry.config import Config, ConfigError, load, resolve
from registry.config.environment import variable
from registry.config.tree import leaves

PATHS = [leaf.path for leaf in leaves(Config)]


def test_a_list_is_separated_by_commas() -> None:
    config = load(None, {"MOORAGE_TRUSTED_PROXIES": "10.0.0.0/8, ::1,"}, {})
    assert config.trusted_proxies == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128"))


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    assert load(None, dict.fromkeys(map(variable, PATHS), ""), {}) == load(None, {}, {})
    file = tmp_path / "c.yaml"
    file.write_text("url: https://a.example\ntrusted_proxies: [10.0.0.1]\nworkers: 3\n")
    empty = {"MOORAGE_URL": "", "MOORAGE_TRUSTED_PROXIES": "", "MOORAGE_WORKERS": ""}
    resolved = resolve(file, empty, {})
    assert resolved.config == load(file, {}, {})
    assert str(resolved.sources["workers"]) == f"{file}:3"


@pytest.mark.parametrize("name", ["MOORAGE_WORKER", "MOORAGE_STORAGE", "MOORAGE_PORT", "MOORAGE_X"])
def test_a_variable_that_sets_nothing_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: no setting has this variable"):
        load(None, {name: "5000"}, {})


def test_who_somebody_is_that_asks_a_server_is_no_setting() -> None:
    assert load(None, {"MOORAGE_USERNAME": "alice", "MOORAGE_PASSWORD": "x"}, {}) == load(None, {}, {})


def test_the_nearest_variable_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean MOORAGE_WORKERS"):
        load(None, {"MOORAGE_WORKER": "2"}, {})


def test_what_is_like_none_is_given_no_suggestion() -> None:
    for name in ("MOORAGE_X", "MOORAGE_SOMETHING"):
        with pytest.raises(ConfigError) as raised:
            load(None, {name: "2"}, {})
        assert "did you mean" not in str(raised.value)


def test_seconds_have_no_unit() -> None:
    with pytest.raises(ConfigError, match="must be a number of seconds, without a unit"):
        load(None, {"MOORAGE_GRACE_SECONDS": "30s"}, {})


def test_what_kubernetes_adds_for_a_service_of_our_name_is_left_alone() -> None:
    added = {
        "MOORAGE_SERVICE_HOST": "10.0.0.1",
        "MOORAGE_SERVICE_PORT": "5000",
        "MOORAGE_SERVICE_PORT_HTTP": "5000",
        "MOORAGE_PORT": "tcp://10.0.0.1:5000",
        "MOORAGE_PORT_5000_TCP": "tcp://10.0.0.1:5000",
        "MOORAGE_PORT_5000_TCP_PROTO": "tcp",
        "MOORAGE_OPS_SERVICE_HOST": "10.0.0.2",
        "MOORAGE_OPS_PORT": "tcp://10.0.0.2:5001",
    }
    assert load(None, added, {}) == load(None, {}, {})


def test_variables_of_others_are_none_of_ours() -> None:
    assert load(None, {"PATH": "/bin", "MOORAGEX": "1"}, {}) == load(None, {}, {})


def test_a_list_of_sections_is_for_the_file_only() -> None:
    with pytest.raises(ConfigError) as raised:
        load(None, {"MOORAGE_ACCESS_ISSUERS": "github"}, {})
    (told,) = raised.value.problems
    assert str(told) == (
        "MOORAGE_ACCESS_ISSUERS: access.issuers is a list of sections, and can be written in the file only"
    )
