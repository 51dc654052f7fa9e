from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.config import Config, ConfigError, load, resolve, restored
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
    config = resolve(mine, {}, {"--workers": "3"}).config
    assert restored(config.model_dump_json()) == config
    assert restored('{"of_another_version": 1}') is None
