"""`kill -9`, or a full disk, at every storage operation of an import, a decision and what follows from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from registry.bundles.folders import Inbox
from registry.bundles.list_operations import state_of
from registry.model.digests import Digest
from registry.model.media_types import OCI_INDEX
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from storage.contract import Driver
from storage.errors import OutOfSpace
from tests.actors import Died, Shelf
from tests.bundles.failing import Failing
from tests.bundles.sides import Gap, Side
from tests.inmemory import Clock, descriptor, image

APP, BASE, OTHER = (RepositoryName(name) for name in ("team/app", "team/base", "other/app"))
pytestmark = pytest.mark.exhaustive

SETTLED = ("staged", "approved", "rejected", "undone", "incomplete")

Act = Callable[[Side, "Case"], Awaitable[object]]


async def take_in(side: Side, case: Case) -> None:
    await side.take_in(*case.paths, **case.wish)


async def approve(side: Side, case: Case) -> None:
    await side.bundles.approving.approve(case.bundle, "alice", "", allow_rollback=False)
    await side.finish(case.bundle)


async def reject(side: Side, case: Case) -> None:
    await side.bundles.approving.reject(case.bundle, "alice", "")
    await side.finish(case.bundle)


async def undo(side: Side, case: Case) -> None:
    await side.bundles.approving.undo(case.bundle, "alice", "")
    await side.finish(case.bundle)


async def serve(side: Side, _: Case) -> None:
    """What a server does by itself, one after the other."""
    await side.bundles.finish_all()
    await Inbox(side.bundles, who="tester").if_due()


@dataclass
class Case:
    """What a process is killed at, each `every` operations; the acts `before` are done whole."""

    act: Act
    settings: dict[str, Any]
    before: tuple[Act, ...] = ()
    wish: dict[str, Any] = field(default_factory=dict)
    media: int | None = None
    every: int = 1
    paths: list[Path] = field(default_factory=list)
    receipts: Path | None = None
    bundle: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def waits(self) -> bool:
        """Whether somebody has to look at it."""
        return "approvals" in self.settings


STAGES: dict[str, Any] = {"approvals": 1}
CASES = {
    "import": Case(take_in, {}),
    "import of media that stages": Case(take_in, STAGES, media=256 << 10),
    "approve": Case(approve, STAGES, (take_in,), {"delete": True}),
    "reject": Case(reject, STAGES, (take_in,)),
    "undo": Case(undo, STAGES, (take_in, approve)),
    "drop folder": Case(serve, {"dir": ""}, every=5),
}


async def bundle_for(case: Case, tmp_path: Path) -> Gap:
    """A bundle that moves a tag of the far side's, makes two, and brings an index and what refers to it."""
    if "dir" in case.settings:
        (tmp_path / "inbox").mkdir()
        case.receipts = tmp_path / "receipts"
        case.settings = {"dir": str(tmp_path / "inbox"), "receipts_dir": str(case.receipts)}
    gap = Gap(tmp_path, case.settings)
    near = gap.near.world
    children = [image(one, layers=[b"shared", one.encode()]) for one in ("amd64", "arm64")]
    for child in children:
        await near.push(child, Digest.of(child), APP)
    manifests = [{**descriptor(child), "mediaType": json.loads(child)["mediaType"]} for child in children]
    both = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()
    pushed = await near.repository(APP).push_manifest(Tag("v1"), both, OCI_INDEX, [Tag("v2")])
    signature = image("signature", layers=[b"signature"], subject=pushed.digest)
    await near.push(signature, Digest.of(signature), APP)
    await near.push(image("base", layers=[b"shared"]), Tag("latest"), BASE)
    if case.media:
        # Cut in two, so that pieces are joined.
        for blob in (b"{}", large := bytes(300_000)):
            await near.blob(blob, BASE)
        document = {**json.loads(image("large")), "layers": [descriptor(large)], "annotations": {}}
        await near.push_alone(json.dumps(document).encode(), Tag("large"), BASE)
    path = tmp_path / ("inbox/bundle" if "dir" in case.settings else "bundle")
    head = await gap.near.export(path, gap.key, medium_bytes=case.media)
    case.tags = await gap.near.tags()
    case.bundle, case.paths = head.id, sorted(path.iterdir()) if case.media else [path]
    return gap


class Far:
    """The far side, whose process starts anew as often as one likes on what lies there."""

    def __init__(self, gap: Gap) -> None:
        self._settings = gap.far.bundles.settings.model_dump(exclude_unset=True)
        self.clock = Clock()

    def start(self, shelf: Driver) -> Side:
        """A new process."""
        return Side(self._settings, shelf)

    def shelf(self, left: Shelf | None = None) -> Shelf:
        """A store, with what another one holds; whoever had a lease there has been silent for long."""
        shelf = Shelf(clock=lambda: self.clock.now)
        objects = {} if left is None else left.holding()
        shelf.hold({key: one for key, one in objects.items() if not key.startswith(f"{layout.LEASES}/")})
        return shelf

    async def before(self, case: Case) -> Shelf:
        """What lies there before the act."""
        shelf = self.shelf()
        side = self.start(shelf)
        await side.world.push(image("old", layers=[b"old"]), Tag("v1"), APP)
        await side.world.push(image("gone", layers=[b"old"]), Tag("gone"), APP)
        await side.world.push(image("other"), Tag("v1"), OTHER)
        for act in case.before:
            await act(side, case)
        return shelf


async def seen(side: Side) -> dict[str, str]:
    """What all tags name; each is there to its last byte, and so is what waits."""
    found = await side.tags()
    async for name in side.world.store.catalog.names(after="staged/"):
        for tag in await side.world.store.links.tags(name) if name.startswith("staged/") else ():
            assert await side.whole(name, tag)
    for one in found:
        assert await side.whole(*one.split(":"))
    return found


async def waits_whole(side: Side, case: Case) -> None:
    """All that is stated can be scanned where it waits."""
    for one, digest in case.tags.items():
        name, tag = f"staged/{case.bundle}/{one}".split(":")
        assert digest in await side.whole(name, tag)


async def left_over(side: Side, bundle: str) -> list[str]:
    """What nobody needs of a bundle that waits, or that was decided about."""
    about = layout.bundle_received(bundle)
    parts = [f"{about}/kept/", f"{about}/pieces/", layout.bundle_staging(bundle)]
    if await side.bundles.importing.received.decision(bundle) is not None:
        parts += [f"{about}/moved/", f"{about}/contents", layout.bundle_open(bundle), "/staged/", "/staged0"]
    return [
        key for key in await side.world.keys() if any(part in key for part in parts) and "/trash/" not in key
    ]


async def judge(side: Side, case: Case, before: dict[str, str], after: dict[str, str]) -> None:
    """Nothing is seen of a bundle that nobody has decided about; and of one tag only the old or the new."""
    received = side.bundles.importing.received
    decided = await received.decision(case.bundle) is not None
    if case.waits and not decided and await received.staged(case.bundle) is not None:
        await waits_whole(side, case)
    now = await seen(side)
    for name in {*now, *before, *after}:
        may_be = {before.get(name), *((after.get(name),) if decided else ())}
        assert now.get(name) in may_be, name
    if not decided:
        names = {name async for name in side.world.store.catalog.names() if not name.startswith("staged/")}
        assert names == {name.partition(":")[0] for name in before}


def full() -> OutOfSpace:
    return OutOfSpace("", "no room left on the disk")


@pytest.mark.parametrize(("error", "writes"), [(Died, False), (full, True)], ids=["dies", "full"])
@pytest.mark.parametrize("name", CASES)
async def test_whatever_it_stops_at_nothing_stays_half_done(
    tmp_path: Path,
    name: str,
    error: Callable[[], BaseException],
    writes: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = replace(CASES[name])
    for limit, size in (("SMALLEST_MEDIUM", 256), ("_RESERVED", 64), ("_SMALLEST_PIECE", 32)):
        monkeypatch.setattr(f"registry.bundles.media.{limit}", size << 10)
    far = Far(await bundle_for(case, tmp_path))
    beginning = await far.before(case)
    before = await far.start(beginning).tags()
    whole = far.shelf(beginning)
    await case.act(far.start(whole), case)
    done = far.start(whole)
    after, end = await done.tags(), await state_of(done.bundles, case.bundle)
    assert end in SETTLED and await left_over(done, case.bundle) == []
    for number in count(step=case.every):
        if case.receipts is not None:
            shutil.rmtree(case.receipts, ignore_errors=True)
        dead = far.shelf(beginning)
        failing = Failing(dead, error, left=number, writes=writes)
        with suppress(Died, OutOfSpace):
            await case.act(far.start(failing), case)
        if not failing.failed:
            break
        # Whoever starts then, or when there is room again, sees nothing half done, and ends what was decided.
        left = far.shelf(dead)
        alone = far.start(left)
        await judge(alone, case, before, after)
        await alone.bundles.finish_all()
        await judge(alone, case, before, after)
        if case.bundle in await alone.bundles.importing.received.ids():
            assert await state_of(alone.bundles, case.bundle) in SETTLED, number
        # And the same command once more ends the work: behind that, or before.
        ended = left.holding() != far.shelf(dead).holding()
        for again in (alone, far.start(far.shelf(dead))) if ended else (alone,):
            await case.act(again, case)
            assert await seen(again) == after, number
            assert await state_of(again.bundles, case.bundle) == end, number
            assert await left_over(again, case.bundle) == [], number
            await judge(again, case, before, after)
            assert case.receipts is None or (case.receipts / "bundle.receipt.txt").exists(), number
    assert number > 4
