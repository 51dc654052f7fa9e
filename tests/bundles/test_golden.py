"""Bundles of every release that can be read: each is taken in by this one as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from registry.bundles.format import FORMAT, FORMATS, Head, format_of
from registry.bundles.settings import StreamSettings
from registry.bundles.verify_bundle import Verifier, folders, verify_folders
from registry.model.names import RepositoryName, Tag
from tests.bundles.sides import EVERYTHING, NOTHING, Side
from tests.inmemory import image

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


def test_what_can_be_written_has_one_each() -> None:
    assert {one.name for one in GOLDEN.iterdir()} >= set(FORMATS.values())


async def test_a_bundle_has_the_format_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, 0, "1.7")
    side = Side()
    await side.world.push(image("one"), Tag("v1"), RepositoryName("team/app"))
    selected = await side.select()
    stream = EVERYTHING.model_copy(update={"format": 0})
    for wanted, number, told in ((EVERYTHING, None, FORMAT), (EVERYTHING, 0, "1.7"), (stream, None, "1.7")):
        order = await side.bundles.order("weekly", wanted, selected, NOTHING, None, number)
        head, _ = await side.bundles.exporting.number(order)
        assert Head.decode(head.encode()).format == told


@pytest.mark.parametrize("number", [0, 2, 99])
def test_a_format_that_cannot_be_written_is_refused_with_those_that_can(number: int) -> None:
    with pytest.raises(ValueError, match=f"not written in format {number} here; there is 1"):
        format_of(number)
    with pytest.raises(ValidationError, match="there is 1"):
        StreamSettings.model_validate({"name": "weekly", "repositories": ["**"], "format": number})
    assert format_of(None) == FORMAT and format_of(1) == "1.0"
