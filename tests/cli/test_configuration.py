from __future__ import annotations

import json
from pathlib import Path

import pytest

from registry.cli.configuration import described
from registry.config.loading import Resolved, merge
from registry.config.tree import Config
from registry.settings import Secret
from tests.certificates import self_signed
from tests.cli.conftest import Run


def test_a_sound_configuration(run: Run) -> None:
    ended = run("config", "check")
    assert ended.code == 0
    assert "sound; settings from file, environment or flags: 0." in ended.out
    assert "everything is allowed" in ended.out


def test_problems_are_told_as_text_and_as_json(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("workers: 0\nstorge: {}\n")
    ended = run("config", "check", "--config", "c.yaml")
    assert ended.code == 2
    assert "2 problems" in ended.err
    ended = run("config", "check", "--config", "c.yaml", "--json")
    assert (ended.code, ended.out) == (2, "")
    document = json.loads(ended.err)
    assert document["exit"] == 2
    assert document["problems"] == [
        {
            "path": "workers",
            "message": "must be 1 or more",
            "source": "c.yaml:1",
            "value": "'0'",
            "nearest": None,
        },
        {
            "path": "storge",
            "message": "there is no such key",
            "source": "c.yaml:2",
            "value": None,
            "nearest": "storage",
        },
    ]


def test_the_rules_are_checked_too(run: Run, tmp_path: Path) -> None:
    (tmp_path / "access.yaml").write_text("- {who: bob, repositories: [a], may: [pull]}")
    (tmp_path / "c.yaml").write_text("access: {rules_file: access.yaml}")
    ended = run("config", "check", "--config", "c.yaml")
    assert ended.code == 2
    assert "access.yaml:1: who[0] = 'bob'" in ended.err


def test_an_exposed_listener_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORAGE_REGISTRY_LISTEN", ":5000")
    assert run("config", "check").code == 3


def test_every_value_is_shown_with_its_source(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.yaml").write_text("uploads:\n  expire_after: 36h\n")
    monkeypatch.setenv("MOORAGE_WORKERS", "2")
    ended = run("config", "show", "--config", "c.yaml", "--root", "r", "--json")
    shown = json.loads(ended.out)
    assert shown["uploads.expire_after"] == {"value": "1d12h", "source": "c.yaml:2"}
    assert shown["workers"] == {"value": 2, "source": "MOORAGE_WORKERS"}
    assert shown["storage.root"] == {"value": "r", "source": "--root"}
    assert shown["log.level"] == {"value": "info", "source": "default"}
    assert shown["registry.tls"] == {"value": None, "source": "default"}
    assert "registry.tls.key" not in shown
    text = run("config", "show", "--config", "c.yaml").out
    assert ["uploads.expire_after", '"1d12h"', "c.yaml:2"] in [line.split() for line in text.splitlines()]


def test_what_is_shown_can_be_written_back(run: Run, tmp_path: Path) -> None:
    shown = json.loads(run("config", "show", "--json").out)
    tree: dict[str, object] = {}
    for name, entry in shown.items():
        section = tree
        *above, last = name.split(".")
        for step in above:
            inner = section.setdefault(step, {})
            assert isinstance(inner, dict)
            section = inner
        section[last] = entry["value"]
    (tmp_path / "again.yaml").write_text(json.dumps(tree))
    again = json.loads(run("config", "show", "--json", "--config", "again.yaml").out)
    assert {name: entry["value"] for name, entry in again.items()} == {
        name: entry["value"] for name, entry in shown.items()
    }


def test_a_token_server_that_decides_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "auth.pem").write_bytes(self_signed("auth").pem)
    (tmp_path / "c.yaml").write_text(
        "access: {token_server: {realm: https://a.test, service: s, issuer: i, certificates: auth.pem}}\n"
    )
    ended = run("config", "check", "--config", "c.yaml")
    assert (ended.code, ended.out.splitlines()[-1]) == (
        0,
        "There are no access rules: the tokens of access.token_server decide.",
    )
    assert json.loads(run("config", "check", "--config", "c.yaml", "--json").out)["rules"] == 0


def test_a_list_of_sections_is_shown_as_json(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "access: {issuers: [{name: ci, issuer: https://a.test, audience: x, claims: {sub: a}}]}\n"
    )
    shown = json.loads(run("config", "show", "--config", "c.yaml", "--json").out)["access.issuers"]
    assert shown["source"] == "c.yaml:1"
    assert shown["value"][0]["name"] == "ci"
    assert shown["value"][0]["audience"] == ["x"]
    line = next(
        one for one in run("config", "show", "--config", "c.yaml").out.splitlines() if "issuers" in one
    )
    assert json.dumps(shown["value"]) in line
    lines = run("config", "show", "--config", "c.yaml").out.splitlines()
    assert sorted(map(len, lines))[-2] < 130, "no other line is as long for it"


def test_secrets_stay_hidden() -> None:
    password = "hunter" + "2"

    class WithSecret(Config):
        password: Secret | None = None

    merged = merge(WithSecret, None, {"MOORAGE_PASSWORD": password}, {})
    rows = described(Resolved(merged.config, merged.sources))
    assert ("password", "[hidden]", "MOORAGE_PASSWORD") in rows
    assert password not in str(rows)
