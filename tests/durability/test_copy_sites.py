"""What a copy has told is there after a power cut of the target: without any one durable call it is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from registry.model.names import Tag
from registry.store import layout
from registry.store.store import Store
from registry.upkeep.copying import SETTLE, Copying
from registry.upkeep.crash.ledger import Ledger
from storage.contract import Driver
from storage.local import LocalDriver
from tests.durability.cuts import Cut
from tests.durability.sites import REGISTRY, Site, Weakened, sites_of
from tests.inmemory import World, effects, image
from tests.storage.powercut import PowerCutFiles

SITES = sites_of(REGISTRY / "upkeep" / "copying.py")


@pytest.fixture
async def source() -> World:
    """Content, a tag's history, a secret, and something in the audit trail."""
    world = World()
    await world.push(image("one"))
    await world.push(image("two"), Tag("v2"))
    await world.driver.put(layout.secret("accounts", "alice"), b"sealed")
    await world.driver.put(layout.audit_entry("1"), b"{}")
    return world


async def is_kept(root: Path, source: World, weak: Site | None, seen: set[Site]) -> bool:
    """Whether a last pass that has ended left all, and no more, after a power cut."""
    root.mkdir()
    files = PowerCutFiles(root)
    driver = LocalDriver(root, files=files, allow_case_folding=True)
    await driver.start()

    async def copy(target: Driver) -> None:
        store = Store(target, effects(source.clock), manifest_cache_bytes=0)
        async for _ in Copying(source.store, store, with_secrets=True).run():
            pass

    await copy(driver)
    await driver.delete([layout.secret("accounts", "alice")])
    files.settle()
    await source.push(image("three"))
    await source.repository().delete_tag(Tag("v2"))
    await source.store.marks.set_read_only(on=True)
    source.clock.advance(seconds=SETTLE.total_seconds())
    await copy(cast(Driver, Weakened(driver, weak, seen)))
    wanted = {key: await source.driver.get(key, limit=1 << 20) async for key in content(source.driver)}
    # The harshest cut: of what was not synced nothing is left.
    tree = Cut(files.moment(), Ledger())._tree(frozenset(), {})
    await driver.aclose()
    files.close_all()
    return {key: data for key, data in tree.items() if is_content(key)} == wanted


def is_content(key: str) -> bool:
    """Whether a pass promises anything of it."""
    return not key.startswith((layout.INTENTS, layout.READ_ONLY, layout.FORMAT, layout.UPLOADS))


async def content(driver: Driver) -> AsyncIterator[str]:
    """All such keys."""
    async for key in driver.walk(""):
        if is_content(key):
            yield key


async def test_what_was_told_is_so_after_a_power_cut(tmp_path: Path, source: World) -> None:
    assert await is_kept(tmp_path / "root", source, None, set())


@pytest.mark.parametrize("site", SITES, ids=str)
async def test_without_any_one_durable_call_something_is_lost(
    tmp_path: Path, source: World, site: Site
) -> None:
    seen: set[Site] = set()
    kept = await is_kept(tmp_path / "root", source, site, seen)
    assert site in seen, "the copy does not come by here: have it, or say durable=False"
    assert not kept, "nothing is lost: say durable=False, or tell what is promised"


def test_the_places_are_found() -> None:
    assert len(SITES) >= 4
