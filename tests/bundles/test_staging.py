"""What of a bundle waits where nobody goes on with it: it goes, and what is told of a full store."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.bundles.decision_operations import Decide
from registry.bundles.decision_operations import operations as decision_operations
from registry.bundles.folders import Inbox
from registry.bundles.staging import Staging
from registry.errors import OutOfSpace
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from registry.work.operations import Context
from storage.errors import OutOfSpace as StoreFull
from tests.actors import Died, Shelf
from tests.bundles.failing import Failing
from tests.bundles.sides import Gap, Side
from tests.inmemory import Clock, image

APP = RepositoryName("team/app")
WAITS: dict[str, object] = {"approvals": 1}


async def gap_with(tmp_path: Path, settings: dict[str, object]) -> Gap:
    """A bundle of one image."""
    gap = Gap(tmp_path, settings)
    await gap.near.world.push(image("one", layers=[b"one"]), Tag("v1"), APP)
    await gap.near.export(tmp_path / "bundle", gap.key)
    return gap


async def staged_keys(side: Side) -> list[str]:
    """What lies there of repositories that wait."""
    return [key for key in await side.world.keys() if "/staged/" in key or "/staged0" in key]


async def test_what_is_half_staged_goes_two_days_later(tmp_path: Path) -> None:
    gap, clock = await gap_with(tmp_path, WAITS), Clock()
    settings = gap.far.bundles.settings.model_dump(exclude_unset=True)
    shelf = Shelf(clock=lambda: clock.now)
    number = 0
    while not any("/staged/" in key and "/tags/" in key for key in shelf.holding()):
        number += 1
        shelf = Shelf(clock=lambda: clock.now)
        with pytest.raises(Died):
            await Side(settings, Failing(shelf, Died, left=number)).take_in(tmp_path / "bundle")
    side = Side(settings, shelf)
    await side.bundles.finish_all()
    assert await staged_keys(side)
    side.world.clock.advance(days=3)
    clock.advance(days=3)
    await side.bundles.finish_all()
    assert await staged_keys(side) == []
    assert await side.bundles.importing.received.staged(gap_id(shelf)) is None
    judged = await side.take_in(tmp_path / "bundle")
    assert judged.is_staged and await staged_keys(side)
    # What is staged whole waits for as long as people take.
    side.world.clock.advance(days=100)
    await side.bundles.finish_all()
    assert await staged_keys(side)


def gap_id(shelf: Shelf) -> str:
    """The bundle that has come."""
    prefix = f"{layout.BUNDLES_RECEIVED}/"
    return next(key for key in shelf.holding() if key.startswith(prefix))[len(prefix) :].split("/")[0]


async def test_manifests_of_which_none_is_tagged_are_staged_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.bundles.planting.MANIFESTS_AT_ONCE", 1)
    gap = Gap(tmp_path, WAITS)
    await gap.near.world.push(signed := image("one"), Tag("v1"), APP)
    signature = image("signature", subject=Digest.of(signed))
    await gap.near.world.push(signature, Digest.of(signature), APP)
    await gap.near.export(tmp_path / "bundle", gap.key)
    judged = await gap.far.take_in(tmp_path / "bundle")
    assert judged.is_staged
    keys = await staged_keys(gap.far)
    assert len({key for key in keys if "/_manifests/revisions/" in key}) == 2
    assert len([key for key in keys if key.endswith("/tags/v1/current/link")]) == 1


async def test_what_is_rejected_while_it_is_staged_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gap = await gap_with(tmp_path, WAITS)
    far, begin = gap.far, Staging.begin

    async def rejected(staging: Staging, bundle: str) -> None:
        await begin(staging, bundle)
        await far.bundles.approving.reject(bundle, "alice", "")
        await far.finish(bundle)

    monkeypatch.setattr(Staging, "begin", rejected)
    await far.take_in(tmp_path / "bundle")
    await far.bundles.finish_all()
    assert await staged_keys(far) == []


async def test_who_needs_approvals_by_now_sees_what_was_accepted_without(tmp_path: Path) -> None:
    gap = await gap_with(tmp_path, {})
    settings = gap.far.bundles.settings.model_dump(exclude_unset=True)
    shelf = Shelf()
    number = 0
    while not any(key.endswith("/staged") for key in shelf.holding()):
        number += 1
        shelf = Shelf()
        with pytest.raises(Died):
            await Side(settings, Failing(shelf, Died, left=number)).take_in(tmp_path / "bundle")
    settings["import"]["approvals"] = 1
    side = Side(settings, shelf)
    assert await staged_keys(side) == []
    await side.take_in(tmp_path / "bundle")
    assert await staged_keys(side) and await side.tags() == {}


async def test_nothing_stays_of_where_it_waited(tmp_path: Path) -> None:
    gap = await gap_with(tmp_path, WAITS)
    judged = await gap.far.take_in(tmp_path / "bundle")
    assert await staged_keys(gap.far)
    await gap.far.bundles.approving.approve(judged.head.id, "alice", "", allow_rollback=False)
    await gap.far.finish(judged.head.id)
    assert await staged_keys(gap.far) == []


class Once(Failing):
    """There is no room for one write, and then somebody has made some."""

    def __init__(self, inner: Shelf) -> None:
        super().__init__(inner, self._full, writes=True)

    def _full(self) -> BaseException:
        self.left = None
        return StoreFull("", "no room left on the disk")


async def test_a_full_store_says_what_to_do(tmp_path: Path) -> None:
    gap = await gap_with(tmp_path, WAITS)
    disk = Once(Shelf())
    far = Side(gap.far.bundles.settings.model_dump(exclude_unset=True), disk)
    judged = await far.take_in(tmp_path / "bundle")
    [reject] = [one for one in decision_operations(lambda: far.bundles) if one.name == "bundle.reject"]
    disk.left = 0
    with pytest.raises(OutOfSpace, match=f"the store is full, so {judged.head.id} .*make room"):
        async for _ in reject.run(Decide(judged.head.id, ""), Context("alice")):
            pass
    assert [_ async for _ in reject.run(Decide(judged.head.id, ""), Context("alice"))]
    assert await staged_keys(far) == []


async def test_a_folder_is_tried_again_when_the_store_was_full(tmp_path: Path) -> None:
    inbox, receipts = tmp_path / "inbox", tmp_path / "receipts"
    inbox.mkdir()
    gap = await gap_with(tmp_path, {"dir": str(inbox), "receipts_dir": str(receipts)})
    (tmp_path / "bundle").rename(inbox / "bundle")
    disk = Once(Shelf())
    far = Side(gap.far.bundles.settings.model_dump(exclude_unset=True), disk)
    looking = Inbox(far.bundles, who="tester")
    for room in range(2, 5):
        # The lease is what is written first.
        disk.left = room
        await looking.if_due()
        assert "make room" in (receipts / "bundle.refused.txt").read_text()
        assert await far.tags() == {}
    await looking.if_due()
    assert await far.tags() == await gap.near.tags()
    assert [one.name for one in receipts.iterdir()] == ["bundle.receipt.txt"]
