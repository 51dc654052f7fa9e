from __future__ import annotations

import pickle

from registry.config import Config, load
from registry.config.environment import CONFIG_VARIABLE, variable
from registry.config.tree import leaves, sections


def test_the_leaves_are_settings_and_the_sections_hold_them() -> None:
    names = [leaf.name for leaf in leaves(Config)]
    assert {"storage.root", "registry.listen", "registry.tls.certificate", "workers", "url"} <= set(names)
    assert "storage" not in names
    assert ("uploads",) in list(sections(Config))
    assert ("registry", "tls") not in list(sections(Config)), "it may be absent"


def test_lists_are_known_as_such() -> None:
    assert [leaf.name for leaf in leaves(Config) if leaf.is_list] == [
        "retention.in_use",
        "retention.rules",
        "mirrors",
        "trusted_proxies",
        "quotas",
        "storage.s3.redirect.networks",
        "access.tokens.signing_key_files",
        "access.tokens.services",
        "access.issuers",
        "access.token_server.algorithms",
        "egress.allow",
        "egress.no_proxy",
        "bundles.export.streams",
        "bundles.import.trusted_keys",
        "bundles.import.repositories",
        "bundles.import.map",
        "bundles.import.image_keys",
    ]


def test_a_list_of_sections_says_what_they_are() -> None:
    sections = {leaf.name: leaf.section for leaf in leaves(Config) if leaf.section is not None}
    assert {
        "retention.in_use",
        "retention.rules",
        "mirrors",
        "quotas",
        "access.issuers",
        "bundles.export.streams",
    } == sections.keys()
    assert [leaf.name for leaf in leaves(sections["quotas"])] == ["prefix", "limit"]
    inner = [leaf.name for leaf in leaves(sections["access.issuers"])]
    assert inner[:3] == ["name", "issuer", "audience"]


def test_no_two_settings_share_a_variable() -> None:
    variables = [variable(leaf.path) for leaf in leaves(Config)]
    assert len(set(variables)) == len(variables)
    assert CONFIG_VARIABLE not in variables


def test_a_configuration_travels_to_other_processes() -> None:
    config = load(None, {"MOORAGE_TRUSTED_PROXIES": "10.0.0.0/8", "MOORAGE_CACHE_MANIFESTS": "1MiB"}, {})
    assert pickle.loads(pickle.dumps(config)) == config
