"""The installer: what is there is left alone, what fails leaves nothing, and the rest goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.equipment import install
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


def test_an_unknown_name_is_a_usage_error(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        install.main(["--only", "crain"])
    assert ended.value.code == 2
    assert "crain" in capsys.readouterr().err


def test_a_tool_that_the_machine_has_is_not_built(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(install.BUILDERS, "python", untouched)
    monkeypatch.setattr(install, "find_program", lambda name: Path("/usr/bin") / name)
    assert install.main(["--only", "go"]) == 0
