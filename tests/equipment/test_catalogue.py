"""The catalogue: every tool is pinned, and its place in the cache tells by what."""

from __future__ import annotations

import dataclasses
from importlib import metadata
from pathlib import Path

import pytest

from tests.equipment.catalogue import (
    KINDS,
    Missing,
    Tool,
    cache_root,
    distribution,
    folder,
    load,
    locked,
    program,
)


def test_every_tool_is_pinned_and_has_what_its_kind_needs() -> None:
    for tool in load().values():
        assert tool.programs or tool.kind in ("wheels", "extra"), tool
        if tool.kind == "go":
            assert tool.version.startswith("v") and tool.module and len(tool.programs) == 1, tool
        if tool.kind in ("python", "node", "wheels"):
            assert tool.version and tool.lock.is_file(), tool
        if tool.kind in ("debian", "root", "extra"):
            assert tool.packages, tool
        if tool.kind == "extra":
            assert locked(tool.lock, tool.requirement), tool


def test_nothing_in_the_catalogue_is_an_address() -> None:
    assert not any("://" in str(dataclasses.asdict(tool)) for tool in load().values())


def test_a_kind_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tools.toml").write_text('[brew.crane]\nversion = "1"\n')
    with pytest.raises(ValueError, match=f"brew.*{', '.join(KINDS)}"):
        load(tmp_path / "tools.toml")


def test_the_cache_lies_where_the_environment_says() -> None:
    assert cache_root({"MOORAGE_CACHE": "/a/b", "XDG_CACHE_HOME": "/c"}) == Path("/a/b")
    assert cache_root({"XDG_CACHE_HOME": "/c"}) == Path("/c/moorage")
    assert cache_root({}) == Path.home() / ".cache" / "moorage"


def test_another_package_makes_another_root() -> None:
    root = Tool("root", "root", "1", ("sh",), packages=("a", "b"), suite="s")
    assert root.folder != dataclasses.replace(root, packages=("a", "c")).folder
    assert root.folder == dataclasses.replace(root).folder


def test_what_is_not_built_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORAGE_CACHE", str(tmp_path))
    crane = load()["crane"]
    with pytest.raises(Missing, match=r"missing crane: .* has not been built; type: make tools ONLY=crane$"):
        program(crane)
    (tmp_path / crane.folder).mkdir()
    assert folder(crane) == tmp_path / crane.folder
    assert program(crane) == tmp_path / crane.folder / "bin" / "crane"


def test_a_package_that_is_not_installed_says_what_to_type() -> None:
    absent = Tool("absent", "debian", "", ("no-such-program-anywhere",), packages=("a", "b"))
    with pytest.raises(Missing, match=r"apt-get install a b \(as root\)$"):
        program(absent)


def test_an_extra_is_there_in_the_version_that_is_locked_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extra = load()["ldap"]
    wanted = locked(extra.lock, "python-ldap")
    monkeypatch.setattr(metadata, "version", lambda name: wanted)
    assert distribution(extra) == wanted
    monkeypatch.setattr(metadata, "version", lambda name: "0.1")
    told = (
        rf"missing python-ldap: the environment has 0\.1, and {wanted} is wanted; type: make tools ONLY=ldap$"
    )
    with pytest.raises(Missing, match=told):
        distribution(extra)
