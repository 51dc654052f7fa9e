"""Bundles of every release that can be read: each is taken in by this one as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.bundles.format import FORMAT
from registry.bundles.verify_bundle import Verifier, folders, verify_folders
from tests.bundles.sides import Side

GOLDEN = Path(__file__).with_name("golden")


def test_this_release_has_one() -> None:
    assert (GOLDEN / FORMAT).is_dir(), "a new format needs a bundle of its own here, for all later releases"


@pytest.mark.parametrize("folder", sorted(GOLDEN.iterdir()), ids=lambda folder: folder.name)
async def test_is_sound_and_is_taken_in(folder: Path) -> None:
    verifier = Verifier()
    verify_folders(verifier, folders([str(folder / "bundle")]))
    assert not verifier.problems
    side = Side({"import": {"trusted_keys": [str(folder / "near.pub")]}})
    judged = await side.take_in(folder / "bundle")
    assert judged.head.format == folder.name
    assert set(await side.tags()) == {"team/app:v1", "team/base:latest"}
    for name in await side.tags():
        repository, tag = name.split(":")
        assert len(await side.whole(repository, tag)) >= 3
