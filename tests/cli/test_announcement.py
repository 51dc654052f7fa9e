from __future__ import annotations

import os

from registry.access.policy import Policy
from registry.cli.announcement import announcement
from registry.config import Config, load
from tests.cli.conftest import URLS

OPEN = Policy.open()


def test_the_external_address_is_what_to_push_to() -> None:
    config = load(None, {"MOORAGE_URL": "https://registry.example:8443/"}, {})
    told = announcement(config, OPEN, URLS)
    assert "docker push registry.example:8443/busybox" in told
    assert "plain HTTP" not in told


def test_plain_http_to_other_machines_is_explained_and_loopback_is_not() -> None:
    elsewhere = announcement(Config(), OPEN, {**URLS, "registry": "http://registry.example:5000"})
    assert '{"insecure-registries": ["registry.example:5000"]}' in elsewhere
    assert "plain HTTP" not in announcement(Config(), OPEN, URLS)
    assert "plain HTTP" not in announcement(Config(), OPEN, {**URLS, "registry": "http://localhost:5000"})
    assert "plain HTTP" not in announcement(Config(), OPEN, {**URLS, "registry": "http://[::1]:5000"})


def test_a_read_only_registry_suggests_no_push() -> None:
    told = announcement(Config(read_only=True), OPEN, URLS)
    assert "push" not in told
    assert "docker pull 127.0.0.1:5000/" in told


def test_the_data_s_place_is_absolute() -> None:
    assert f"The data lie in {os.path.realpath('data')}" in announcement(Config(), OPEN, URLS)


def test_a_listener_at_every_address_says_so() -> None:
    config = load(None, {"MOORAGE_REGISTRY_LISTEN": ":5000", "MOORAGE_ACCESS_RULES_FILE": "r"}, {})
    told = announcement(config, OPEN, {**URLS, "registry": "http://localhost:5000"})
    assert "listens on http://localhost:5000 (every address, port 5000; metrics" in told
    assert '{"insecure-registries": ["THIS-MACHINE:5000"]}' in told
    assert "plain HTTP" not in announcement(config, OPEN, {**URLS, "registry": "https://localhost:5000"})


def test_a_listener_of_a_namespace_is_told_of_in_a_read_only_registry_too() -> None:
    told = announcement(Config(read_only=True), OPEN, {**URLS, "mirror:hub": "http://127.0.0.1:5002"})
    assert "\nNames below hub/ are pulled without that prefix from http://127.0.0.1:5002 (docker's" in told
    assert "Names below" not in announcement(Config(), OPEN, URLS)


def test_nothing_is_suggested_that_the_rules_do_not_grant() -> None:
    config = load(None, {"MOORAGE_ACCESS_RULES_FILE": "/etc/rules.yaml"}, {})
    told = announcement(config, Policy(()), URLS)
    assert "docker push" not in told
    assert "/etc/rules.yaml" in told
