"""A key for a registry that had none: what is there is sealed once, and nothing unsealed counts then."""

from __future__ import annotations

import json
from pathlib import Path

from registry.access.seal import new_key
from tests.api.conftest import Serve
from tests.api.people import add_users, rules_file
from tests.api.server import merged, moorage

RULES = "- {who: [user:alice, user:mallory], repositories: ['**'], may: [pull, push, list]}\n"


def test_a_registry_gets_a_key_and_believes_nothing_without_it_any_more(serve: Serve, tmp_path: Path) -> None:
    login = add_users(tmp_path / "data", ["alice"])["alice"]
    rules = rules_file(tmp_path, RULES)
    server = serve(settings=rules)
    assert server.registry.ask("GET", "/v2/_catalog", login.basic).status == 200
    server.stop()

    key = tmp_path / "seal.key"
    key.write_text(new_key())
    key.chmod(0o600)
    storage = {"storage": {"root": str(tmp_path / "data")}, "access": {"seal_key_file": str(key)}}
    config = tmp_path / "sealed.json"
    config.write_text(json.dumps(merged(rules, storage)))
    refused = moorage("user", "show", "alice", "--config", str(config), code=1)
    assert "is not sealed" in refused.err and "`moorage access seal`" in refused.err
    without = moorage("access", "seal", "--root", str(tmp_path / "data"), code=1)
    assert "access.seal_key_file" in without.err

    def sealed(*words: str) -> list[dict[str, str]]:
        out = moorage("access", "seal", *words, "--config", str(config), "--json").out
        found: list[dict[str, str]] = json.loads(out)["sealed"]
        return found

    would = sealed("--dry-run")
    assert {"kind": "accounts", "name": "alice"} in would and {one["kind"] for one in would} > {"accounts"}
    assert sealed() == would and sealed() == []

    server = serve(settings=merged(rules, {"access": {"seal_key_file": str(key)}}))
    assert server.registry.ask("GET", "/v2/_catalog", login.basic).status == 200
    # Whoever can write to the store makes an account there, without the key.
    mallory = add_users(tmp_path / "elsewhere", ["mallory"])["mallory"]
    (folder,) = (tmp_path / "elsewhere/_moorage/v1/secret/accounts").iterdir()
    folder.rename(tmp_path / "data/_moorage/v1/secret/accounts" / folder.name)
    answer = server.registry.ask("GET", "/v2/_catalog", mallory.basic)
    assert answer.status == 503, "somebody has to look at that"
    assert server.registry.ask("GET", "/v2/_catalog", login.basic).status == 200
