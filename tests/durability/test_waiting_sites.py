"""What waited of a bundle and was taken away does not come back by a power cut."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from registry.model.names import Tag
from registry.model.staged import staged_prefix, staged_repository
from registry.removal.waiting import remove_waiting
from registry.upkeep.crash.ledger import Ledger
from storage.contract import Driver
from storage.local import LocalDriver
from tests.durability.cuts import Cut
from tests.durability.sites import REGISTRY, Site, Weakened, sites_of
from tests.inmemory import World, image
from tests.storage.powercut import PowerCutFiles

SITES = sites_of(REGISTRY / "removal" / "waiting.py")
BUNDLE = f"b-{'0' * 20}"


async def is_gone(root: Path, weak: Site | None, seen: set[Site]) -> bool:
    """Whether nothing waits in whatever a power cut leaves right after it was taken away."""
    files = PowerCutFiles(root)
    driver = LocalDriver(root, files=files, allow_case_folding=True)
    await driver.start()
    world = World(driver=cast(Driver, Weakened(driver, weak, seen)))
    await world.push(image("one", layers=[b"one"]), Tag("v1"), staged_repository(BUNDLE, "team/app"))
    files.settle()
    seen.clear()
    await remove_waiting(world.store, BUNDLE)
    trees = list(Cut(files.moment(), Ledger()).trees())
    await driver.aclose()
    files.close_all()
    assert trees
    return not any(staged_prefix(BUNDLE) in key for tree in trees for key in tree)


async def test_nothing_waits_after_a_power_cut(tmp_path: Path) -> None:
    assert await is_gone(tmp_path, None, set())


@pytest.mark.parametrize("site", SITES, ids=str)
async def test_without_any_one_durable_call_something_waits_again(tmp_path: Path, site: Site) -> None:
    seen: set[Site] = set()
    assert not await is_gone(tmp_path, site, seen)
    assert site in seen


def test_the_places_are_found() -> None:
    assert len(SITES) == 1
