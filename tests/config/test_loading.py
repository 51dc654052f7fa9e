from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.config import Config, ConfigError, load, resolve, restored, written
from registry.config.loading import FLAGS
from registry.config.tree import leaves

NO_FLAGS: Mapping[str, str | None] = {}


def problems(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load(path, environ or {}, NO_FLAGS)
    return [str(problem).replace(f"{path}:", "line ") for problem in raised.value.problems]


def test_without_anything_all_is_default() -> None:
    resolved = resolve(None, {}, NO_FLAGS)
    assert resolved.config == Config()
    assert {source.kind for source in resolved.sources.values()} == {"default"}


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("workers: 2\nstorage:\n  root: /file\nuploads: {expire_after: 1d, max_chunks: 5}\n")
    environ = {"MOORAGE_WORKERS": "3", "MOORAGE_STORAGE_ROOT": "/env", "MOORAGE_UPLOADS_EXPIRE_AFTER": "2h"}
    resolved = resolve(path, environ, {"--workers": "4", "--root": None})
    config = resolved.config
    assert (config.workers, str(config.storage.root)) == (4, "/env")
    assert (config.uploads.expire_after, config.uploads.max_chunks) == (timedelta(hours=2), 5)
    names = ["workers", "storage.root", "uploads.expire_after", "uploads.max_chunks", "log.level"]
    assert [str(resolved.sources[name]) for name in names] == [
        "--workers",
        "MOORAGE_STORAGE_ROOT",
        "MOORAGE_UPLOADS_EXPIRE_AFTER",
        f"{path}:4",
        "default",
    ]


def test_the_file_can_be_named_in_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("workers: 2")
    other = tmp_path / "other.yaml"
    other.write_text("workers: 3")
    environ = {"MOORAGE_CONFIG": str(path)}
    assert load(None, environ, NO_FLAGS).workers == 2
    assert load(other, environ, NO_FLAGS).workers == 3


def test_every_flag_sets_what_it_says() -> None:
    flags = {"--listen": "127.0.0.1:1", "--root": "/r", "--workers": "7"}
    assert set(flags) == set(FLAGS)
    config = load(None, {}, flags)
    assert (config.registry.listen, str(config.storage.root), config.workers) == ("127.0.0.1:1", "/r", 7)


@pytest.mark.parametrize("root", ["", "  "])
def test_a_root_that_is_nowhere_is_not_the_current_directory(tmp_path: Path, root: str) -> None:
    said = f"storage.root = {root!r}: must name a directory"
    assert said in problems(tmp_path, f"storage: {{root: '{root}'}}")[0]
    with pytest.raises(ConfigError):
        load(None, {}, {"--root": root})
    assert load(None, {}, {"--root": "."}).storage.root == Path()


def test_no_token_lasts_less_than_a_minute(tmp_path: Path) -> None:
    """trap 53"""
    [told] = problems(tmp_path, "access: {tokens: {lifetime: 59s}}")
    assert told == "line 1: access.tokens.lifetime = '59s': must be 1m or more"


def test_bounds_are_told_in_the_units_that_settings_are_written_in(tmp_path: Path) -> None:
    [told] = problems(tmp_path, "", {"MOORAGE_UPLOADS_EXPIRE_AFTER": "1s"})
    assert told == "MOORAGE_UPLOADS_EXPIRE_AFTER: uploads.expire_after = '1s': must be 1m or more"
    [told] = problems(tmp_path, "access: {tokens: {lifetime: 2h}}")
    assert told == "line 1: access.tokens.lifetime = '2h': must be 1h or less"
    [told] = problems(tmp_path, "manifests: {max_size: 1KiB}")
    assert told == "line 1: manifests.max_size = '1KiB': must be 4MiB or more"
    [told] = problems(tmp_path, "workers: 0")
    assert told == "line 1: workers = '0': must be 1 or more"
    [told] = problems(tmp_path, "", {"MOORAGE_WORKERS": "0"})
    assert told == "MOORAGE_WORKERS: workers = '0': must be 1 or more"


def test_all_problems_are_told_at_once_with_place_value_and_remedy(tmp_path: Path) -> None:
    text = """\
workers: 0
url: ftp://host
uplods: {expire_after: 3d}
uploads:
  expire_aftr: 3d
  expire_interval: 5
manifests: {max_size: 4G, max_size: 5MiB}
trusted_proxies: [10.0.0.0/8, somewhere]
storage: here
log: {level: loud}
read_only: perhaps
registry: {listen: '5000', tls: {certificate: a}}
"""
    told = problems(tmp_path, text, {"MOORAGE_STORAG_ROOT": "x", "MOORAGE_OPS_LISTEN": "nowhere"})
    expected = [
        ("MOORAGE_STORAG_ROOT", "did you mean MOORAGE_STORAGE_ROOT?"),
        ("MOORAGE_OPS_LISTEN: ops.listen = 'nowhere'", "127.0.0.1:5000"),
        ("line 1: workers = '0'", "1 or more"),
        ("line 2: url = 'ftp://host'", "http:// or https://"),
        ("line 3: uplods: there is no such key", "did you mean uploads?"),
        ("line 5: uploads.expire_aftr: there is no such key", "did you mean uploads.expire_after?"),
        ("line 6: uploads.expire_interval = '5'", "unit"),
        ("line 7: manifests.max_size: the key is written twice", "first on line 7"),
        ("line 7: manifests.max_size = '4G'", "GiB or GB"),
        ("line 8: trusted_proxies[1] = 'somewhere'", "10.0.0.0/8"),
        ("line 9: storage = 'here'", "section"),
        ("line 10: log.level = 'loud'", "'debug', 'info', 'warning' or 'error'"),
        ("line 11: read_only = 'perhaps'", "true or false"),
        ("line 12: registry.listen = '5000'", ":5000"),
        ("line 12: registry.tls.key", "required"),
    ]
    for begin, remedy in expected:
        found = [one for one in told if one.startswith(begin)]
        assert len(found) == 1, (begin, told)
        assert remedy in found[0]
    assert len(told) == len(expected)


def test_a_key_in_the_wrong_section_is_told_its_right_one(tmp_path: Path) -> None:
    told = problems(tmp_path, "storage:\n  max_chunks: 3\nrules_file: x\n")
    assert told == [
        "line 2: storage.max_chunks: there is no such key; did you mean uploads.max_chunks?",
        "line 3: rules_file: there is no such key; did you mean access.rules_file?",
    ]


def test_what_stands_behind_an_unknown_key_or_in_a_url_is_not_shown(tmp_path: Path) -> None:
    password = "hunter" + "2"
    told = problems(tmp_path, f"pasword: {password}\nurl: https://admin:{password}@registry.example\n")
    assert len(told) == 2
    assert password not in " ".join(told)


def test_an_empty_section_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("uploads:\n  # max_chunks: 3\nregistry:\nlog: {level: debug}\n")
    assert load(path, {}, NO_FLAGS).log.level == "debug"


@pytest.mark.parametrize("text", ["- a\n", "just text\n"])
def test_a_file_without_keys_is_refused(tmp_path: Path, text: str) -> None:
    assert "sections and keys" in problems(tmp_path, text)[0]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: the configuration file cannot be read: No such"):
        load(tmp_path / "absent.yaml", {}, NO_FLAGS)


def test_a_variable_puts_a_key_into_a_section_that_the_file_leaves_null(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("registry: {tls: null}\n")
    environ = {"MOORAGE_REGISTRY_TLS_CERTIFICATE": "c.pem", "MOORAGE_REGISTRY_TLS_KEY": "k.pem"}
    tls = load(path, environ, NO_FLAGS).registry.tls
    assert tls is not None
    assert tls.key == Path("k.pem")


def test_a_variable_beside_a_scalar_where_a_section_belongs(tmp_path: Path) -> None:
    assert problems(tmp_path, "storage: here", {"MOORAGE_STORAGE_ROOT": "/x"}) == [
        "line 1: storage = 'here': must be a section of keys"
    ]


def test_what_is_missing_beside_a_variable_names_the_variable() -> None:
    with pytest.raises(ConfigError) as raised:
        load(None, {"MOORAGE_REGISTRY_TLS_KEY": "k.pem"}, NO_FLAGS)
    assert [str(one) for one in raised.value.problems] == [
        "MOORAGE_REGISTRY_TLS_KEY: registry.tls.certificate: this key is required"
    ]


PLACES = ["default", "file", "environment", "flag"]
VALUES = {
    ("storage", "root"): ("MOORAGE_STORAGE_ROOT", "--root", st.from_regex(r"/[a-z0-9]{1,9}", fullmatch=True)),
    ("workers",): ("MOORAGE_WORKERS", "--workers", st.integers(1, 256).map(str)),
    ("registry", "listen"): (
        "MOORAGE_REGISTRY_LISTEN",
        "--listen",
        st.integers(0, 65535).map(lambda port: f"127.0.0.1:{port}"),
    ),
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_strongest_place_that_sets_a_value_wins_and_is_its_source(
    tmp_path: Path, data: st.DataObject
) -> None:
    tree: dict[str, object] = {}
    environ: dict[str, str] = {}
    flags: dict[str, str | None] = {}
    expected: dict[tuple[str, ...], tuple[str | None, str]] = {}
    for path, (name, flag, values) in VALUES.items():
        expected[path] = None, "default"
        for kind in data.draw(
            st.lists(st.sampled_from(PLACES[1:]), unique=True).map(lambda x: sorted(x, key=PLACES.index))
        ):
            value = data.draw(values)
            expected[path] = value, kind
            if kind == "environment":
                environ[name] = value
            elif kind == "flag":
                flags[flag] = value
            elif len(path) == 1:
                tree[path[0]] = value
            else:
                tree[path[0]] = {path[1]: value}
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump(tree))
    resolved = resolve(file, environ, flags)
    for path, (wanted, kind) in expected.items():
        assert resolved.sources[".".join(path)].kind == kind
        found: object = resolved.config
        default: object = Config()
        for step in path:
            found, default = getattr(found, step), getattr(default, step)
        assert str(found) == (str(default) if wanted is None else wanted)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tree=st.recursive(
        st.sampled_from(["", "1", "true", "4MiB", "7d", "x"]) | st.none(),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(sorted({step for leaf in leaves(Config) for step in leaf.path} | {"other"})),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    ),
    variables=st.dictionaries(
        st.sampled_from(["MOORAGE_STORAGE_ROOT", "MOORAGE_REGISTRY_TLS_KEY", "MOORAGE_TRUSTED_PROXIES"]),
        st.text("a1,:/", max_size=4),
    ),
)
def test_any_tree_of_known_words_loads_or_is_explained(
    tmp_path: Path, tree: object, variables: dict[str, str]
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump(tree))
    try:
        load(file, variables, NO_FLAGS)
    except ConfigError as error:
        assert all(problem.message and problem.source.where for problem in error.problems), error


def test_what_was_written_down_is_the_same_again_where_the_settings_are(tmp_path: Path) -> None:
    rules, mine = tmp_path / "access.yaml", tmp_path / "c.yaml"
    mine.write_text(
        f"trusted_proxies: [10.0.0.0/8]\naccess: {{rules_file: {rules}}}\nuploads: {{expire_after: 2d}}"
    )
    password = secrets.token_hex()
    directory = {
        "MOORAGE_ACCESS_LDAP_URL": "ldaps://ldap.example",
        "MOORAGE_ACCESS_LDAP_USER_BASE": "dc=example",
        "MOORAGE_ACCESS_LDAP_BIND_DN": "cn=service",
        "MOORAGE_ACCESS_LDAP_BIND_PASSWORD": password,
    }
    config = resolve(mine, directory, {"--workers": "3"}).config
    assert restored(written(config)) == config
    assert password in written(config), "or whoever takes our place could not go on"
    assert password not in config.model_dump_json()
    assert restored('{"of_another_version": 1}') is None


ISSUERS = """\
access:
  issuers:
    - {name: github, issuer: https://a.test, audience: x, claims: {sub: a}, jwks_file: keys/a.json}
    - name: gitlab
      issuer: https://b.test
      audience: [x, y]
      claims: {ref: [a, b/*], sub: c}
      ca_file: /etc/ca.pem
"""


def test_a_list_of_sections_is_read_whole_and_knows_its_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(ISSUERS)
    resolved = resolve(path, {}, NO_FLAGS)
    first, second = resolved.config.access.issuers
    assert (first.name, second.name, second.audience) == ("github", "gitlab", ("x", "y"))
    assert second.claims == {"ref": ("a", "b/*"), "sub": ("c",)}
    assert first.jwks_file == tmp_path / "keys" / "a.json"
    assert second.ca_file == Path("/etc/ca.pem")
    assert str(resolved.sources["access.issuers"]) == f"{path}:2"
    assert restored(resolved.config.model_dump_json()) == resolved.config


def test_what_is_wrong_in_a_list_of_sections_is_told_with_its_place(tmp_path: Path) -> None:
    text = """\
access:
  issuers:
    - name: github
      issuer: https://a.test
      audiense: x
      claims: {sub: '*'}
    - {name: gitlab, issuer: https://b.test, audience: x, claims: {}, algorithms: [HS256, ES256]}
    - gitlab
"""
    told = problems(tmp_path, text)
    assert (
        "line 5: access.issuers[0].audiense: there is no such key; did you mean access.issuers[0].audience?"
        in told
    )
    assert "line 3: access.issuers[0].audience: this key is required" in told
    assert any(
        one.startswith("line 6: access.issuers[0].claims.sub[0] = '*': must name a value") for one in told
    )
    assert "line 7: access.issuers[1].claims = (keys): must not be empty" in told
    assert any(
        one.startswith("line 7: access.issuers[1].algorithms[0] = 'HS256': must be 'EdDSA',") for one in told
    )
    assert "line 8: access.issuers[2] = 'gitlab': must be a section of keys" in told
    assert len(told) == 6


def test_a_list_of_which_nothing_is_right_is_not_told_to_be_too_short(tmp_path: Path) -> None:
    text = """\
retention:
  rules:
    - {repositories: ["**"], newest_pushed: 1, tags: ["re:(a+)+", "re:["]}
    - {repositories: [], newest_pushed: 1}
"""
    told = problems(tmp_path, text)
    assert ["repeats no group" in one for one in told] == [True, False, False]
    assert told[1].startswith("line 3: retention.rules[0].tags[1] = 're:['")
    assert told[2] == "line 4: retention.rules[1].repositories = []: must have at least 1 item"


@pytest.mark.parametrize("what", ["name", "issuer"])
def test_two_issuers_differ(tmp_path: Path, what: str) -> None:
    values = {"name": ["github", "gitlab"], "issuer": ["https://a.test", "https://b.test"]}
    text = ISSUERS.replace(values[what][1], values[what][0])
    (told,) = problems(tmp_path, text)
    assert f"two have the {what} {values[what][0]}" in told
