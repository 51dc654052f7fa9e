from __future__ import annotations

from pathlib import Path

import pytest

from registry.access.exposure import Exposed
from registry.config import ConfigError, check, load

RULES = "- {who: anonymous, repositories: ['**'], may: [pull]}\n"


def problems(path: Path | None, environ: dict[str, str], **flags: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        check(path, environ, {f"--{name}": value for name, value in flags.items()})
    return [str(problem) for problem in raised.value.problems]


def test_everything_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "workers: none\nregistry: {tls: {certificate: a.crt, key: a.key}}\n"
        "access: {rules_file: access.yaml}\n"
    )
    (tmp_path / "access.yaml").write_text(RULES.replace("anonymous", "bob"))
    told = problems(tmp_path / "c.yaml", {})
    assert len(told) == 3
    assert any("workers" in one for one in told)
    assert any(f"{tmp_path}/a.crt and {tmp_path}/a.key cannot be read" in one for one in told)
    assert any(f"{tmp_path}/access.yaml:1: who" in one for one in told)


def test_missing_rules_are_a_problem(tmp_path: Path) -> None:
    (told,) = problems(None, {"MOORAGE_ACCESS_RULES_FILE": str(tmp_path / "none.yaml")})
    assert "none.yaml: the file cannot be read: No such file" in told


def test_what_is_no_pair_is_a_problem(tmp_path: Path) -> None:
    for name in ("crt", "key"):
        (tmp_path / name).write_text("nothing")
    tls = {
        f"MOORAGE_REGISTRY_TLS_{kind}": str(tmp_path / name)
        for kind, name in (("CERTIFICATE", "crt"), ("KEY", "key"))
    }
    (told,) = problems(None, tls)
    assert told.startswith("MOORAGE_REGISTRY_TLS_CERTIFICATE: registry.tls: ")
    assert "no certificate chain and key in PEM" in told


@pytest.mark.parametrize(
    ("listen", "ops"),
    [
        ("127.0.0.1:5001", "127.0.0.1:5001"),
        ("localhost:5001", "127.0.0.1:5001"),
        ("127.0.0.1:5009", ":5009"),
        ("[::1]:5009", "[::]:5009"),
        ("127.0.0.1:5009", "0.0.0.0:5009"),
    ],
)
def test_two_listeners_cannot_share_a_port(listen: str, ops: str) -> None:
    (told,) = problems(None, {"MOORAGE_OPS_LISTEN": ops}, listen=listen)
    assert told.startswith(
        f"--listen: registry.listen = '{listen}': ops.listen (metrics and health) is {ops}"
    )
    assert "MOORAGE_OPS_LISTEN=127.0.0.1:50" in told


@pytest.mark.parametrize(
    ("listen", "ops"),
    [("127.0.0.1:0", "127.0.0.1:0"), ("127.0.0.1:1", "127.0.0.2:1"), ("[::1]:1", "0.0.0.0:1")],
)
def test_listeners_that_do_not_clash_are_fine(listen: str, ops: str) -> None:
    assert check(None, {"MOORAGE_OPS_LISTEN": ops}, {"--listen": listen}).policy.rules is None


def test_exposure_alone_is_refused_as_such() -> None:
    with pytest.raises(Exposed):
        check(None, {}, {"--listen": ":5000"})
    assert problems(None, {"MOORAGE_WORKERS": "0"}, listen=":5000") == [
        "MOORAGE_WORKERS: workers = '0': must be 1 or more"
    ]


def test_files_in_the_file_are_beside_it_and_those_in_the_environment_are_not(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("access: {rules_file: access.yaml}\nstorage: {root: data}\n")
    config = load(tmp_path / "c.yaml", {}, {})
    assert config.access.rules_file == tmp_path / "access.yaml"
    assert str(config.storage.root) == "data"
    config = load(tmp_path / "c.yaml", {"MOORAGE_ACCESS_RULES_FILE": "here.yaml"}, {})
    assert str(config.access.rules_file) == "here.yaml"
