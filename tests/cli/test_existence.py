from __future__ import annotations

from pathlib import Path

import pytest

from registry.cli.composition import Imported
from registry.cli.existence import NoStore, require_directory, require_store
from registry.config import Config
from tests.cli.conftest import Fake, Run


@pytest.mark.parametrize("tree", ["docker/registry/v2", "_moorage"])
def test_either_tree_is_a_store(tmp_path: Path, tree: str) -> None:
    (tmp_path / tree).mkdir(parents=True)
    require_store(tmp_path)


def test_a_missing_directory_is_none_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(NoStore, match=f"there is no store in {tmp_path}/absent; name its directory"):
        require_store(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def test_inside_and_above_of_a_store_it_is_named(tmp_path: Path) -> None:
    inside = tmp_path / "registry" / "docker" / "registry" / "v2"
    inside.mkdir(parents=True)
    for wrong in (inside, inside / "none", inside.parents[1], tmp_path):
        with pytest.raises(NoStore) as raised:
            require_store(wrong)
        assert f"there is no store in {wrong}; did you mean --root {tmp_path / 'registry'}?" in str(
            raised.value
        )


def test_of_two_below_none_is_guessed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "_moorage").mkdir(parents=True)
    with pytest.raises(NoStore, match="name its directory"):
        require_store(tmp_path)


def test_a_verb_on_a_wrong_directory_fails_and_opens_nothing(run: Run, tmp_path: Path) -> None:
    ended = run("storage", "check", "--root", "wrong", composition=real())
    assert (ended.code, ended.out) == (1, "")
    assert f"moorage: there is no store in {tmp_path / 'wrong'}" in ended.err
    assert list(tmp_path.iterdir()) == []


def real() -> Fake:
    """The real verbs, on a storage that is not opened."""
    return Fake(list(Imported().operations(Config())))


def test_a_directory_may_be_required_that_holds_no_store_yet(tmp_path: Path) -> None:
    require_directory(tmp_path)
    with pytest.raises(NoStore, match=f"there is no directory {tmp_path}/absent"):
        require_directory(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []
