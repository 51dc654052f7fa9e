"""Each call that the program wants durable is one without which a power cut takes what was promised."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from registry.upkeep.crash.acts import ACTS
from tests.durability.contending import delete_a_needed_blob, delete_a_tag_twice
from tests.durability.cuts import Cut, cuts_during, different
from tests.durability.sites import Site, Weakened, sites
from tests.durability.test_power_loss import is_anything_lost, is_lost, quick

__all__ = ["quick"]

CONTENDING = "delete a blob that is needed"
ALL = ACTS | {CONTENDING: delete_a_needed_blob, "delete a tag twice": delete_a_tag_twice}


async def cuts_of(root: Path, act: str, weak: Site | None = None) -> tuple[list[Cut], set[Site]]:
    """The cuts that may come during an act, one place being weak, and the places that it comes by."""
    seen: set[Site] = set()

    def observe(driver: Any) -> Any:
        return Weakened(driver, weak, seen)

    cuts, _ = await cuts_during(root, ALL[act], observe=observe)
    return cuts, seen


@pytest.fixture(scope="module")
def acts_at(tmp_path_factory: pytest.TempPathFactory) -> dict[Site, list[str]]:
    """The acts that come by each place."""
    found: dict[Site, list[str]] = {}
    for act in ALL:
        _, seen = asyncio.run(cuts_of(tmp_path_factory.mktemp("acts") / "root", act))
        for site in seen:
            found.setdefault(site, []).append(act)
    return found


@pytest.mark.e2e  # too long for every `make check`
@pytest.mark.parametrize("site", sites(), ids=str)
async def test_without_any_one_durable_call_something_is_lost(
    quick: Path, acts_at: dict[Site, list[str]], site: Site
) -> None:
    assert site in acts_at, "no act comes by here: make one that does, or say durable=False"
    for act in acts_at[site]:
        cuts, _ = await cuts_of(quick / act, act, site)
        if act == CONTENDING:
            if [True for tree, ledger in different(cuts) if await is_lost(tree, ledger)]:
                return
        elif is_anything_lost(cuts):
            return
    raise AssertionError(f"nothing is lost by {acts_at[site]}: say durable=False, or tell what is promised")


def test_the_places_are_found() -> None:
    assert {"put", "write", "delete"} == {site.text.partition("(")[0] for site in sites()}
    assert len(sites()) > 20
