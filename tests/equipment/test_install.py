"""The installer: what is there is left alone, what fails leaves nothing, and the rest goes on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.equipment import debian, install, pythons
from tests.equipment.catalogue import Missing, Tool, load


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOORAGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def made(tool: Tool, target: Path) -> None:
    (target / "bin").mkdir()
    (target / "bin" / tool.programs[0]).write_text(str(target))


def broken(tool: Tool, target: Path) -> None:
    (target / "half").touch()
    raise Missing("a compiler", "there is none", "install one")


def untouched(tool: Tool, target: Path) -> None:
    raise AssertionError("it was there already")


def test_a_tool_appears_whole_and_is_not_built_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(install.BUILDERS, "go", made)
    assert install.main(["--only", "crane"]) == 0
    folder = cache / load()["crane"].folder
    built = Path((folder / "bin" / "crane").read_text())
    assert built.parent == cache and built != folder, "it is built beside its place"
    assert [path.name for path in cache.iterdir()] == [folder.name]
    monkeypatch.setitem(install.BUILDERS, "go", untouched)
    assert install.main(["--only", "crane"]) == 0


def test_a_failure_leaves_nothing_and_the_others_are_built(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(install.BUILDERS, "go", broken)
    monkeypatch.setitem(install.BUILDERS, "python", made)
    assert install.main(["--only", "crane", "oras-client"]) == 1
    assert [path.name for path in cache.iterdir()] == [load()["oras-client"].folder]
    assert "crane: missing a compiler: there is none; type: install one" in capsys.readouterr().out


def test_what_takes_long_is_built_for_soak_or_by_name(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    quick, slow = Tool("quick", "go", "v1", ("quick",)), Tool("slow", "go", "v1", ("slow",), soak=True)
    tools = {"quick": quick, "slow": slow, "mmdebstrap": load()["mmdebstrap"]}
    monkeypatch.setattr(install, "load", lambda: tools)
    monkeypatch.setattr(install, "install_packages", lambda tools: 0)

    def build(tool: Tool) -> int:
        built.append(tool.name)
        return 0

    monkeypatch.setattr(install, "build", build)
    for arguments in ([], ["--soak"], ["--only", "slow"]):
        built.append("--")
        assert install.main(arguments) == 0
    assert built == ["--", "quick", "--", "quick", "slow", "--", "slow"]


def test_an_unknown_name_is_a_usage_error(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        install.main(["--only", "crain"])
    assert ended.value.code == 2
    assert "crain" in capsys.readouterr().err


def test_a_tool_that_the_machine_has_is_not_built(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(install.BUILDERS, "python", untouched)
    monkeypatch.setattr(install, "find_program", lambda name: Path("/usr/bin") / name)
    assert install.main(["--only", "go"]) == 0


def test_an_extra_goes_into_the_environment_that_runs_and_is_built_with_what_it_needs(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages: list[str] = []
    places: list[tuple[str, Path]] = []

    def installed(tool: Tool, target: Path) -> None:
        places.append((tool.lock.name, target))
        monkeypatch.setattr(install, "is_here", lambda tool: True)

    monkeypatch.setattr(install, "is_here", lambda tool: False)
    monkeypatch.setattr(debian, "install", packages.extend)
    monkeypatch.setattr(pythons, "build", installed)
    assert install.main(["--only", "ldap"]) == 0
    assert "libldap-dev" in packages
    assert places == [("ldap.txt", Path(sys.prefix))]
    assert install.main(["--only", "ldap"]) == 0
    assert len(places) == 1, "what is there is left alone"
