"""Large folders that tests leave go whole, and nothing beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.folders import remove_tree


@pytest.mark.parametrize(("wide", "deep"), [(0, 0), (1, 9), (3, 4), (100, 1)])
def test_a_tree_goes_and_what_it_links_to_stays(tmp_path: Path, wide: int, deep: int) -> None:
    (kept := tmp_path / "kept/below").mkdir(parents=True)
    (kept / "file").touch()
    root = tmp_path / "root"
    for one in range(wide):
        (folder := root.joinpath(str(one), *"d" * deep)).mkdir(parents=True)
        (folder / "file").touch()
        for place in (folder, root / str(one), root):
            (place / f"link{one}").symlink_to(tmp_path / "kept")
    root.mkdir(exist_ok=True)
    remove_tree(root)
    assert not root.exists()
    assert (kept / "file").exists()
