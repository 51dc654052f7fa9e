"""Deciding about bundles: two people, two at once, what cannot be applied; and what both sides hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from registry.bundles.bundles import Place
from registry.bundles.decision_operations import Decide
from registry.bundles.decision_operations import operations as decision_operations
from registry.bundles.errors import BundleRefused
from registry.bundles.exporting import NOTHING, Belief, Order
from registry.bundles.format import Head
from registry.bundles.importing import Judged, Wish
from registry.bundles.list_operations import state_of
from registry.bundles.plan_operations import Plan
from registry.bundles.plan_operations import operations as plan_operations
from registry.bundles.received import Received
from registry.bundles.records import read_contents
from registry.bundles.remote_source import RemoteSource
from registry.bundles.selecting import Images, Selected
from registry.bundles.statement import key_of
from registry.bundles.telling_operations import Ask, Forget
from registry.bundles.telling_operations import operations as telling_operations
from registry.errors import Denied, DigestInvalid
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.remote.upstream import RemoteHead, RemoteManifest, Upstream
from registry.work.operations import Context
from tests.bundles.handmade import files_of, images, write_folder
from tests.bundles.sides import Gap, done
from tests.inmemory import image

APP, OTHER, V1 = RepositoryName("team/app"), RepositoryName("team/other"), Tag("v1")


@pytest.fixture
def gap(tmp_path: Path) -> Gap:
    """Two sides with nothing in them; one person must approve."""
    return Gap(tmp_path, {"approvals": 1})


async def approve(gap: Gap, bundle: str, by: str, *, allow_rollback: bool = False) -> None:
    """Approve a bundle, and apply it."""
    await gap.far.bundles.approving.approve(bundle, by, "", allow_rollback=allow_rollback)
    await gap.far.finish(bundle)


# Who decides.


async def test_who_brought_what_a_supplement_completes_does_not_approve_it(gap: Gap) -> None:
    first = [next(iter(images().statement.blobs))]
    rest = [key for key, _ in images().statement.all if key not in first]

    async def take(name: str, by: str, **how: Any) -> Judged:
        path = write_folder(files_of(images(), gap.key, **how), gap.folder / name)
        judged = None
        async for step in gap.far.bundles.take_in([path], gap.far.bundles.rules(()), Wish(by)):
            judged = step if isinstance(step, Judged) else judged
        assert judged is not None
        return judged

    whole = await take("first", "alice", without=first)
    assert whole.missing
    supplement = await take("second", "robot", without=rest, supplements=whole.head.id)
    assert supplement.is_staged
    for person in ("alice", "robot"):
        with pytest.raises(BundleRefused, match="another one must approve"):
            await approve(gap, supplement.head.id, person)
    await approve(gap, supplement.head.id, "bob")
    assert await gap.far.tags()


async def test_what_is_still_coming_is_rejected_by_who_imports_alone(gap: Gap) -> None:
    media = write_folder(files_of(images(), gap.key, piece_bytes=30_000), gap.folder / "media")
    judged = await gap.far.take_in(media / "medium-001")
    rights = {"approve": None, "admin": "no"}
    anybody = Context("mallory", refusal=lambda right, *_: rights[right])
    verbs = decision_operations(lambda: gap.far.bundles)
    with pytest.raises(Denied):
        await done(verbs, "bundle.reject", Decide(judged.head.id), anybody)
    assert (await gap.far.take_in(media)).is_staged
    await done(decision_operations(lambda: gap.far.bundles), "bundle.reject", Decide(judged.head.id), anybody)


async def test_of_two_that_are_approved_at_once_the_later_state_stays(
    gap: Gap, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gap.near.world.push(image("one"), V1, APP)
    older = await gap.carry()
    await gap.near.world.push(image("two"), V1, APP)
    newer = await gap.carry()
    look, others = Received.newer, [newer.head.id]

    async def looked(received: Received, head: Head, *, is_standing: bool = False) -> Head | None:
        found = await look(received, head, is_standing=is_standing)
        if head.id == older.head.id and others:
            await approve(gap, others.pop(), "carol")
        return found

    monkeypatch.setattr(Received, "newer", looked)
    await approve(gap, older.head.id, "bob")
    assert await gap.far.tags() == await gap.near.tags()
    assert await state_of(gap.far.bundles, older.head.id) == "approved"


async def test_of_two_with_one_number_that_are_approved_at_once_one_is_applied(
    gap: Gap, tmp_path: Path
) -> None:
    await gap.near.world.push(image("one"), V1, APP)
    await gap.near.export(gap.folder / "bundle", gap.key)
    twin = Gap(tmp_path / "twin")
    await twin.near.world.push(image("another"), V1, APP)
    await twin.near.export(tmp_path / "twin/bundle", gap.key, belief=NOTHING)
    both = [await gap.far.take_in(one) for one in (gap.folder / "bundle", tmp_path / "twin/bundle")]
    approving, received = gap.far.bundles.approving, gap.far.bundles.importing.received
    await approving.approve(both[0].head.id, "bob", "", allow_rollback=False)
    decision = await received.decision(both[0].head.id)
    await received.open(both[1].head.id)
    await received.put(both[1].head.id, "decision", decision)
    await gap.far.bundles.finish_all()
    assert await gap.far.tags() in (await gap.near.tags(), await twin.near.tags())
    assert await received.open_ones() == []


async def test_a_rollback_that_is_allowed_is_done(gap: Gap) -> None:
    await gap.near.world.push(image("one"), V1, APP)
    before, older = await gap.near.tags(), await gap.carry()
    await gap.near.world.push(image("two"), V1, APP)
    await approve(gap, (await gap.carry()).head.id, "bob")
    await approve(gap, older.head.id, "bob", allow_rollback=True)
    assert await gap.far.tags() == before


async def test_what_cannot_be_applied_can_be_undone(gap: Gap) -> None:
    await gap.near.world.push(image("one", layers=[b"bad"]), V1, APP)
    judged = await gap.carry()
    # As a purge does it.
    gap.far.world.store.blocked.digests = frozenset({Digest.of(b"bad")})
    with pytest.raises(Denied):
        await approve(gap, judged.head.id, "bob")
    await gap.far.bundles.approving.undo(judged.head.id, "bob", "")
    await gap.far.finish(judged.head.id)
    assert await state_of(gap.far.bundles, judged.head.id) == "undone"
    assert await gap.far.bundles.importing.received.open_ones() == [] and await gap.far.tags() == {}


# What is held, and what is there.


async def test_an_inventory_that_is_given_out_again_is_held_again(gap: Gap) -> None:
    await gap.far.world.push(image("one"), V1, APP)
    holds = gap.far.bundles.holds

    async def tell(verb: str, asked: Any) -> Any:
        return await done(telling_operations(lambda: gap.far.bundles), verb, asked)

    first = await tell("bundle.inventory", Ask())
    await tell("bundle.forget", Forget(first.sha256))
    assert not await holds.held()
    assert (await tell("bundle.inventory", Ask())).sha256 == first.sha256
    assert await holds.held()


async def test_a_supplement_brings_what_is_a_blob_here_and_a_manifest_there(tmp_path: Path) -> None:
    gap = Gap(tmp_path)
    await gap.near.world.push(image("one"), V1, APP)
    await gap.acknowledge(await gap.carry())
    await gap.near.world.push(image("of it", layers=[image("one")]), V1, OTHER)
    judged = await gap.carry()
    assert judged.missing == [str(Digest.of(image("one")))]
    near, sent = gap.near, await gap.near.bundles.exporting.sent.get("weekly", 2)
    assert sent is not None
    statement = await read_contents(near.world.store, sent.head)
    held = {key for key, _ in statement.all} - {key_of(Digest.of(image("one")))}
    order = Order(
        "weekly",
        sent.head.source,
        sent.head.selection,
        Selected(statement),
        Belief(sent.head.parent, held),
        None,
        supplements=sent.head,
    )
    async for _ in near.bundles.write(order, near.source, lambda _: Place(tmp_path / "supplement"), gap.key):
        pass
    assert (await gap.far.take_in(tmp_path / "supplement")).is_staged
    assert await gap.far.tags() == await near.tags()
    await gap.far.whole("team/other", "v1")


@pytest.mark.parametrize("digest", ["md5:d41d8cd98f00b204e9800998ecf8427e", "foo:xyz"])
async def test_a_digest_that_nobody_can_compute_is_told(gap: Gap, digest: str) -> None:
    await gap.near.world.push(image("one"), V1, APP)
    with pytest.raises(DigestInvalid):
        await gap.near.select(Images([(APP, None, Digest.parse(digest))]))
    plan = Plan("pick", image=(f"{APP}@{digest}",))
    with pytest.raises(DigestInvalid):
        await done(plan_operations(lambda: gap.near.bundles), "bundle.plan", plan)


async def test_a_registry_that_tells_a_digest_that_nobody_can_compute_is_asked_for_the_manifest() -> None:
    content = image("one")

    class Odd:
        """Another registry, which knows tags by digests of its own."""

        async def head_manifest(self, *_: object) -> RemoteHead:
            return RemoteHead(Digest.parse("md5:d41d8cd98f00b204e9800998ecf8427e"), None, "")

        async def manifest(self, *_: object) -> RemoteManifest:
            return RemoteManifest("", Digest.of(content), content)

    source = RemoteSource(cast(Upstream, Odd()))
    assert await source.target(APP, V1) == Digest.of(content)
