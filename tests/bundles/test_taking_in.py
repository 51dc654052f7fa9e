"""What an import takes, what it refuses, and what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.bundles.errors import BundleRefused
from registry.bundles.folders import Inbox
from registry.bundles.import_operations import Import, Imported
from registry.bundles.import_operations import operations as import_operations
from registry.bundles.received import Received
from registry.bundles.statement import key_of
from registry.model import media_types
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.work.operations import Context, Result
from tests.bundles.handmade import CONFIG, LAYER, Selection, files_of, images, write_folder
from tests.bundles.sides import Gap
from tests.inmemory import image

APP, V1 = RepositoryName("team/app"), Tag("v1")


@pytest.fixture
def gap(tmp_path: Path) -> Gap:
    """Two sides with nothing in them; one person must approve."""
    return Gap(tmp_path, {"approvals": 1})


async def imported(gap: Gap, *, is_dry: bool = False, **asked: Any) -> Imported:
    """What the operation tells of an import of the folder `bundle`."""
    [operation] = import_operations(lambda: gap.far.bundles)
    steps = operation.run(Import((str(gap.folder / "bundle"),), **asked), Context("importer", is_dry))
    [result] = [step async for step in steps if isinstance(step, Result)]
    assert isinstance(result.value, Imported)
    return result.value


# Ids.


async def test_another_bundle_with_a_known_id_is_refused(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.bundles.format._id_of", lambda _: "b-0123456789abcdef0123")
    other = Selection()
    other.tag("team/app", "v1", other.image("another", "team/app"))
    other.statement.order()
    received = gap.far.bundles.importing.received
    first = await gap.far.take_in(write_folder(files_of(images(), gap.key), gap.folder / "first"))
    second = write_folder(files_of(other, gap.key, number=2), gap.folder / "second")
    for is_dry in (True, False):
        with pytest.raises(BundleRefused, match="another bundle with the id b-0123456789abcdef0123"):
            await gap.far.take_in(second, dry_run=is_dry)
    assert (await received.head(first.head.id)).number == 1
    with pytest.raises(BundleRefused, match="another bundle"):
        # Two at once, each of which found nothing before.
        await received.put_head(first.head.id, (second / "bundle.json").read_bytes())
    assert (await gap.far.take_in(gap.folder / "first")).is_staged


# Options.


@pytest.mark.parametrize("how", [{"delete": True}, {"maps": ["team/=other/"]}])
async def test_what_a_second_import_asks_for_besides_is_refused(gap: Gap, how: Any) -> None:
    await gap.near.world.push(image("one"), V1, APP)
    judged = await gap.carry()
    bundle = gap.folder / "bundle-1"
    for is_dry in (True, False):
        with pytest.raises(BundleRefused, match=f"bundle reject {judged.head.id}"):
            await gap.far.take_in(bundle, dry_run=is_dry, **how)
    await gap.far.bundles.approving.approve(judged.head.id, "bob", "", allow_rollback=False)
    await gap.far.finish(judged.head.id)
    with pytest.raises(BundleRefused, match="that counts; import the next one"):
        await gap.far.take_in(bundle, **how)
    assert (await gap.far.take_in(bundle)).is_staged


async def test_of_two_imports_at_once_with_other_options_one_is_refused(
    gap: Gap, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gap.near.world.push(image("one"), V1, APP)
    await gap.near.export(gap.folder / "bundle", gap.key)
    put, others = Received.put, [1]

    async def late(received: Received, bundle: str, part: str, value: object) -> bool:
        if part == "staged" and others:
            others.clear()
            await gap.far.take_in(gap.folder / "bundle")
        return await put(received, bundle, part, value)

    monkeypatch.setattr(Received, "put", late)
    with pytest.raises(BundleRefused, match="without --delete"):
        await gap.far.take_in(gap.folder / "bundle", delete=True)
    await gap.far.bundles.finish_all()
    assert (await gap.far.take_in(gap.folder / "bundle")).is_staged


async def test_an_import_says_that_tags_go(gap: Gap) -> None:
    await gap.near.world.push(image("one"), V1, APP)
    await gap.near.export(gap.folder / "bundle", gap.key)
    first = await imported(gap, delete=True)
    again = await imported(gap)
    assert first.delete and again.delete
    assert "removed with it (--delete)" in again.told()


async def test_the_folder_takes_what_somebody_has_imported_with_options(tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    gap = Gap(tmp_path, {"approvals": 1, "dir": str(drop), "receipts_dir": str(tmp_path / "receipts")})
    await gap.near.world.push(image("one"), V1, APP)
    await gap.near.export(drop / "bundle", gap.key)
    await gap.far.take_in(drop / "bundle", maps=["team/=other/"], delete=True)
    await Inbox(gap.far.bundles, who="one").if_due()
    assert [one.name for one in (tmp_path / "receipts").iterdir()] == ["bundle.receipt.txt"]


# What is sparse.


def sparse(selection: Selection, descriptor: Any) -> None:
    """State that a manifest lists what is not stated."""
    key = key_of(Digest.parse(descriptor["digest"]))
    selection.statement.manifests[key] = replace(selection.statement.manifests[key], sparse=True)


@pytest.mark.parametrize("field", ["config", "layer"])
async def test_an_image_that_lacks_its_own_is_refused_as_a_push_of_it_is(tmp_path: Path, field: str) -> None:
    gap, made = Gap(tmp_path), Selection()
    gone = {"mediaType": LAYER, "digest": f"sha256:{'1' * 64}", "size": 5}
    here = made.blob(b"{}", "team/app", media_type=CONFIG)
    fields = {"config": here, "layers": [gone]} if field == "layer" else {"config": gone, "layers": [here]}
    lacking = made.manifest(fields, "team/app")
    sparse(made, lacking)
    made.tag("team/app", "v1", lacking)
    made.statement.order()
    write_folder(files_of(made, gap.key), tmp_path / "bundle")
    with pytest.raises(BundleRefused, match=r"without all of its blobs.*manifests\.allow_missing_layers"):
        await gap.far.take_in(tmp_path / "bundle")
    assert await gap.far.tags() == {}
    gap.far.world.registry.allow_missing_layers = True
    told = await imported(gap)
    assert (told.state, told.sparse) == ("approved", 1)
    assert await gap.far.tags() == {"team/app:v1": lacking["digest"]}


async def test_an_index_may_lack_children_and_that_is_said(tmp_path: Path) -> None:
    gap, made = Gap(tmp_path), Selection()
    child = made.image("amd64", "team/app")
    gone = {**child, "digest": f"sha256:{'1' * 64}"}
    index = made.manifest({"manifests": [child, gone]}, "team/app", media_type=media_types.OCI_INDEX)
    sparse(made, index)
    made.tag("team/app", "v1", index)
    made.statement.order()
    write_folder(files_of(made, gap.key), tmp_path / "bundle")
    for state in ("checked", "approved", "approved"):
        told = await imported(gap, is_dry=state == "checked")
        assert (told.state, told.sparse) == (state, 1)
        assert "1 of its manifests are sparse" in told.told()
    assert await gap.far.tags() == {"team/app:v1": index["digest"]}


async def test_of_what_is_whole_nothing_is_said(gap: Gap) -> None:
    write_folder(files_of(images(), gap.key), gap.folder / "bundle")
    told = await imported(gap)
    assert told.sparse == 0 and "sparse" not in told.told()
