from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import bcrypt
import pytest

from registry.access.exposure import Exposed
from registry.config import ConfigError, check, load
from tests.api.server import environment
from tests.e2e.processes import run
from tests.equipment.absence import require_extra

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


def test_people_are_looked_at(tmp_path: Path) -> None:
    hashed = bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode()
    (tmp_path / "people").write_text(f"alice:{hashed}\nbob:$apr1$x$y\nalice:{hashed}\ncarol:{hashed[:-1]}")
    (tmp_path / "c.yaml").write_text("access: {htpasswd_file: people}\n")
    told = problems(tmp_path / "c.yaml", {})
    assert [one.partition(": ")[0] for one in told] == [f"{tmp_path}/people:{line}" for line in (2, 3, 4)]
    assert hashed[8:40] not in str(told)


def test_without_its_library_a_directory_is_a_problem(tmp_path: Path) -> None:
    """Where it is not installed, as far as Python can tell."""
    (tmp_path / "ldap.py").write_text("raise ImportError('there is none')\n")
    (tmp_path / "c.yaml").write_text("access: {ldap: {url: 'ldaps://ldap.example', user_base: dc=example}}\n")
    path = os.pathsep.join((str(tmp_path), environment()["PYTHONPATH"]))
    ended = run(
        [sys.executable, "-m", "registry.cli", "config", "check", "--config", tmp_path / "c.yaml"],
        environ={**environment(), "PYTHONPATH": path},
        code=2,
    )
    assert "access.ldap: python-ldap is needed for that, and cannot be imported (there is none)" in ended.err
    assert "requirements/ldap.txt" in ended.err


def test_the_certificates_and_the_password_for_a_directory_are_read(tmp_path: Path) -> None:
    require_extra("ldap")
    (tmp_path / "c.yaml").write_text(
        "access:\n  ldap:\n    url: ldaps://ldap.example\n    user_base: dc=example\n    ca_file: ca.crt\n"
        "    bind_dn: cn=x\n    bind_password_file: password\n"
    )
    (tmp_path / "password").write_text("secret\n")
    (told,) = problems(tmp_path / "c.yaml", {})
    assert told == f"{tmp_path}/ca.crt: the file cannot be used: No such file or directory"
    (tmp_path / "password").unlink()
    assert any("access.ldap.bind_password_file" in one for one in problems(tmp_path / "c.yaml", {}))


def test_passwords_in_the_clear_are_a_problem_that_names_the_section(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("access:\n  ldap: {url: 'ldap://ldap.example', user_base: dc=example}\n")
    (told,) = problems(tmp_path / "c.yaml", {})
    assert told.startswith(f"{tmp_path}/c.yaml:2: access.ldap = (keys): passwords would cross the network")


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
    ("first", "second", "told"),
    [
        ("127.0.0.1:5000", "127.0.0.1:0", "mirrors[0].listen = '127.0.0.1:5000': registry.listen is 127.0"),
        ("127.0.0.1:0", "localhost:5001", "mirrors[1].listen = 'localhost:5001': ops.listen (metrics and h"),
        ("127.0.0.1:5", "127.0.0.1:5", "mirrors[0].listen = '127.0.0.1:5': mirrors[1].listen is 127.0.0.1:5"),
    ],
)
def test_nor_can_a_namespace_s_own(tmp_path: Path, first: str, second: str, told: str) -> None:
    (problem,) = problems(mirrors(tmp_path, first, second), {})
    assert problem.startswith(f"{tmp_path}/c.yaml:1: {told}")


def test_listeners_of_namespaces_that_do_not_clash_are_fine(tmp_path: Path) -> None:
    check(mirrors(tmp_path, "127.0.0.1:0", "127.0.0.1:0"), {}, {})


def test_a_namespace_s_listener_is_closed_to_the_network_without_rules(tmp_path: Path) -> None:
    path = mirrors(tmp_path, "127.0.0.1:0", ":5002")
    with pytest.raises(Exposed, match=r"listen on :5002 \(mirrors\[1\]\.listen\)"):
        check(path, {}, {})
    (tmp_path / "access.yaml").write_text(RULES)
    check(path, {"MOORAGE_ACCESS_RULES_FILE": str(tmp_path / "access.yaml")}, {})


def test_with_people_the_network_needs_an_address_for_a_namespace_s_listener_too(tmp_path: Path) -> None:
    (tmp_path / "access.yaml").write_text(RULES.replace("anonymous", "user:bob"))
    rules = {"MOORAGE_ACCESS_RULES_FILE": str(tmp_path / "access.yaml")}
    (told,) = problems(mirrors(tmp_path, "127.0.0.1:0", ":5002"), rules)
    assert told.startswith("url: must be the address that clients use")
    check(mirrors(tmp_path, "127.0.0.1:0", "127.0.0.1:0"), rules, {})


def mirrors(tmp_path: Path, *listen: str) -> Path:
    """A configuration of namespaces that listen there."""
    sections = [{"name": f"m{n}", "answers_for": [f"m{n}.test"], "listen": at} for n, at in enumerate(listen)]
    path = tmp_path / "c.yaml"
    path.write_text(f"mirrors: {json.dumps(sections)}\n")
    return path


@pytest.mark.parametrize(
    ("listen", "ops"),
    [("127.0.0.1:0", "127.0.0.1:0"), ("127.0.0.1:1", "127.0.0.2:1"), ("[::1]:1", "0.0.0.0:1")],
)
def test_listeners_that_do_not_clash_are_fine(listen: str, ops: str) -> None:
    assert check(None, {"MOORAGE_OPS_LISTEN": ops}, {"--listen": listen}).policy.rules is None


def test_the_audit_file_has_a_place(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("audit: {file: none/audit.log}\n")
    (told,) = problems(tmp_path / "c.yaml", {})
    assert told.startswith(
        f"{tmp_path}/c.yaml:1: audit.file = '{tmp_path}/none/audit.log': there is no directory"
    )
    (tmp_path / "none").mkdir()
    assert check(tmp_path / "c.yaml", {}, {}).resolved.config.audit.file == tmp_path / "none/audit.log"
    assert os.listdir(tmp_path / "none") == []


def test_an_upstream_can_be_asked_and_its_files_be_read(tmp_path: Path) -> None:
    password = tmp_path / "password"
    upstreams = [
        {"url": "https://registry.example"},
        {"url": "https://127.0.0.1:5000", "username": "us", "password_file": str(password)},
        {"url": "http://0x7f.1:5000", "ca_file": str(tmp_path)},
        {"url": "http://10.0.0.7:5000"},
    ]
    written = {"mirrors": [{"name": "hub", "repositories": ["**"], "upstreams": upstreams}]}
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(written))
    told = problems(path, {})
    assert [one.partition(" = ")[0].rpartition(": ")[2] for one in told] == [
        "mirrors[0].upstreams[1].url",
        "mirrors[0].upstreams[1].password_file",
        "mirrors[0].upstreams[2].url",
    ]
    assert "would never be asked (it is this machine itself); if it is to be, list 127.0.0.1 in" in told[0]
    password.touch()
    path.write_text(json.dumps({**written, "egress": {"allow": ["127.0.0.0/8"]}}))
    check(path, {}, {})


def test_exposure_alone_is_refused_as_such() -> None:
    with pytest.raises(Exposed):
        check(None, {}, {"--listen": ":5000"})
    assert problems(None, {"MOORAGE_WORKERS": "0"}, listen=":5000") == [
        "MOORAGE_WORKERS: workers = '0': must be 1 or more"
    ]


def test_a_relative_root_is_beside_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("storage: {root: here/data}\n")
    path = tmp_path / "config.yaml"
    assert load(path, {}, {}).storage.root == tmp_path / "here/data"
    assert load(path, {"MOORAGE_STORAGE_ROOT": "there"}, {}).storage.root == Path("there")
    assert load(path, {}, {"--root": "there"}).storage.root == Path("there")
    path.write_text("storage: {}\n")
    assert load(path, {}, {}).storage.root == Path("data")


def test_files_in_the_file_are_beside_it_and_those_in_the_environment_are_not(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("access: {rules_file: access.yaml}\n")
    config = load(tmp_path / "c.yaml", {}, {})
    assert config.access.rules_file == tmp_path / "access.yaml"
    config = load(tmp_path / "c.yaml", {"MOORAGE_ACCESS_RULES_FILE": "here.yaml"}, {})
    assert str(config.access.rules_file) == "here.yaml"


def test_files_of_keys_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "access:\n"
        "  token_server:\n"
        "    {realm: https://a.test, service: s, issuer: i, certificates: a.pem, jwks_file: none.json}\n"
        "  issuers:\n"
        "    - {name: a, issuer: https://a.test, audience: x, claims: {sub: a}, jwks_file: a.json}\n"
        "    - {name: b, issuer: https://b.test, audience: x, claims: {sub: a}, ca_file: a.pem}\n"
    )
    (tmp_path / "a.json").write_text('{"keys": [{"kty": "oct", "k": "AAAA"}]}')
    (tmp_path / "a.pem").write_text("nothing")
    told = problems(tmp_path / "c.yaml", {})
    wanted = [
        ("access.issuers[0].jwks_file", f"{tmp_path}/a.json: none of its keys can verify"),
        ("access.issuers[1].ca_file", f"{tmp_path}/a.pem holds no certificates in PEM"),
        ("access.token_server.certificates", f"{tmp_path}/a.pem: it holds no certificates in PEM"),
        ("access.token_server.jwks_file", f"{tmp_path}/none.json: the file cannot be read: No such file"),
    ]
    assert len(told) == len(wanted)
    for name, reason in wanted:
        assert any(f"{name}: {reason}" in one for one in told), (name, told)


@pytest.mark.parametrize(
    ("url", "redirect", "name"),
    [
        ("https://registry.example.com", "https://registry.example.com:9000", "redirect.endpoint"),
        ("https://s3.example.com:5000", None, "endpoint"),
        (None, "http://127.0.0.1:9000", "redirect.endpoint"),
        ("https://registry.example.com", "https://store.example.com", None),
    ],
)
def test_clients_are_not_redirected_to_the_registry_itself(
    tmp_path: Path, url: str | None, redirect: str | None, name: str | None
) -> None:
    s3 = {
        "bucket": "registry",
        "endpoint": "https://s3.example.com",
        "redirect": {"enabled": True, "endpoint": redirect},
    }
    settings = {"url": url, "storage": {"driver": "s3", "s3": s3}, "access": {"seal": "none"}}
    (tmp_path / "c.yaml").write_text(json.dumps(settings))
    if name is None:
        check(tmp_path / "c.yaml", {}, {})
        return
    (told,) = problems(tmp_path / "c.yaml", {})
    assert f"storage.s3.{name} = " in told and "is where the registry itself is" in told
