"""What somebody with a trusted key, a right or bad luck might try, and what does not come of it."""

from __future__ import annotations

import os
import tarfile
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry.bundles.contents import Piece
from registry.bundles.errors import BundleInvalid, BundleRefused
from registry.bundles.exporting import NOTHING
from registry.bundles.folders import Inbox
from registry.bundles.format import canonical
from registry.bundles.given import write_file
from registry.bundles.import_operations import Import, Imported
from registry.bundles.import_operations import operations as import_operations
from registry.bundles.reading import opened_files
from registry.bundles.received import Done
from registry.bundles.records import lines_of
from registry.bundles.selecting import Images
from registry.bundles.statement import LINE_BYTES, Statement, StatementReader, key_of
from registry.errors import QuotaExceeded, RequestInvalid
from registry.model import media_types
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from registry.work.operations import Context, Result
from tests.bundles.handmade import Selection, files_of, images, lying, write_folder
from tests.bundles.sides import Gap
from tests.inmemory import image

APP, OTHER = RepositoryName("team/app"), RepositoryName("team/other")
V1 = Tag("v1")


@pytest.fixture
def gap(tmp_path: Path) -> Gap:
    """Two sides with nothing in them; one person must approve."""
    return Gap(tmp_path, {"approvals": 1})


async def approve(gap: Gap, bundle: str, by: str = "bob", *, allow_rollback: bool = False) -> Done | None:
    """Approve a bundle, and apply it."""
    await gap.far.bundles.approving.approve(bundle, by, "", allow_rollback=allow_rollback)
    return await gap.far.finish(bundle)


async def test_a_file_that_is_left_out_of_a_tar_is_not_taken_from_others(gap: Gap) -> None:
    secret = b"of another repository"
    await gap.far.world.push(image("theirs", layers=[secret]), V1, RepositoryName("secret/vault"))
    await gap.near.world.push(image("one", layers=[secret]), V1, APP)
    await gap.near.export(gap.folder / "whole.tar", gap.key, is_tar=True)
    with tarfile.open(gap.folder / "whole.tar") as whole, tarfile.open(gap.folder / "less.tar", "w") as less:
        for member in whole:
            if not member.name.endswith(Digest.of(secret).encoded):
                less.addfile(member, whole.extractfile(member))
    with pytest.raises(BundleInvalid, match="did not come"):
        await gap.far.take_in(gap.folder / "less.tar")


async def test_deletions_stay_where_the_images_may_go(tmp_path: Path) -> None:
    gap = Gap(tmp_path, {"repositories": ["mirror/**"]})
    await gap.near.world.push(image("one"), V1, APP)
    for name in (APP, OTHER, RepositoryName("mirror/app")):
        await gap.far.world.push(image("mine"), Tag("prod"), name)
    await gap.near.export(gap.folder / "bundle", gap.key)
    await gap.far.take_in(gap.folder / "bundle", maps=["team/=mirror/"], delete=True)
    assert set(await gap.far.tags()) == {"team/app:prod", "team/other:prod", "mirror/app:v1"}


async def test_whoever_carried_a_medium_has_imported_it(gap: Gap) -> None:
    await gap.near.world.push(image("one"), V1, APP)
    judged = await gap.carry()
    await gap.far.bundles.importing.received.note(judged.head.id, "imports", "carol")
    for person in ("importer", "carol"):
        with pytest.raises(BundleRefused, match="another one must approve"):
            await approve(gap, judged.head.id, person)


async def test_a_push_behind_a_journal_is_not_lost_when_another_goes_on(gap: Gap) -> None:
    world = gap.far.world
    before = image("before")
    await world.push(before, V1, APP)
    await gap.near.world.push(image("one"), V1, APP)
    await gap.near.world.push(image("one"), Tag("v2"), APP)
    judged = await gap.carry()
    await gap.far.bundles.approving.approve(judged.head.id, "bob", "", allow_rollback=False)
    steps = gap.far.bundles.approving.finish(judged.head.id, "bob")
    while await world.store.links.target(APP, V1) == Digest.of(before):
        await anext(steps)
    await steps.aclose()
    await world.push(before, V1, APP)
    await gap.far.finish(judged.head.id)
    assert await world.store.links.tag(APP, V1) == Digest.of(before)
    assert await world.store.links.target(APP, Tag("v2")) is not None


async def test_what_does_not_fit_is_not_decided(gap: Gap) -> None:
    await gap.near.world.push(image("one", layers=[bytes(1000)]), V1, APP)
    judged = await gap.carry()
    gap.far.world.quotas[RepositoryName("team")] = 10
    gap.far.world.registry = gap.far.world.process()
    with pytest.raises(QuotaExceeded):
        await approve(gap, judged.head.id)
    await gap.far.bundles.approving.reject(judged.head.id, "bob", "")
    await gap.far.finish(judged.head.id)
    assert await waiting(gap) == []


async def test_what_was_decided_is_said_and_stays(gap: Gap) -> None:
    await gap.near.world.push(image("one"), V1, APP)
    judged = await gap.carry()
    await approve(gap, judged.head.id)
    await gap.far.bundles.approving.undo(judged.head.id, "bob", "")
    await gap.far.finish(judged.head.id)
    assert await gap.far.tags() == {}
    with pytest.raises(BundleRefused, match="was undone"):
        await approve(gap, judged.head.id)
    with pytest.raises(BundleRefused, match="was undone by bob"):
        await gap.far.take_in(gap.folder / "bundle-1")
    second = await gap.carry()
    await gap.far.bundles.approving.reject(second.head.id, "bob", "")
    await gap.far.finish(second.head.id)
    with pytest.raises(BundleRefused, match="was rejected by bob"):
        await gap.far.take_in(gap.folder / "bundle-2")


async def test_the_first_mapping_counts_and_all_of_it_is_put_away(gap: Gap) -> None:
    await gap.near.world.push(image("one"), V1, APP)
    judged = await gap.carry()
    with pytest.raises(BundleRefused, match="the name team/app, not other/app"):
        await gap.far.take_in(gap.folder / "bundle-1", maps=["team/=other/"])
    await approve(gap, judged.head.id)
    assert set(await gap.far.tags()) == {"team/app:v1"}
    assert await waiting(gap) == []


async def test_the_same_number_with_something_else_is_refused(gap: Gap, tmp_path: Path) -> None:
    await gap.near.world.push(image("one"), V1, APP)
    judged = await gap.carry()
    await approve(gap, judged.head.id)
    twin = Gap(tmp_path / "twin")
    await twin.near.world.push(image("another"), V1, APP)
    await twin.near.export(tmp_path / "twin/bundle", gap.key, belief=NOTHING)
    with pytest.raises(BundleRefused, match=r"number 1 \(b-"):
        await gap.far.take_in(tmp_path / "twin/bundle")


async def test_a_tag_that_looks_like_a_signature_is_an_image(tmp_path: Path) -> None:
    gap = Gap(tmp_path)
    public = next(tmp_path.glob("*.pub"))
    gap.far = type(gap.far)({"import": {"trusted_keys": [str(public)], "image_keys": [str(public)]}})
    await gap.near.world.push(image("one"), Tag("sha256-" + "z" * 64), APP)
    await gap.near.world.push(image("two"), Tag("sha256-" + "0" * 64 + ".sig"), APP)
    with pytest.raises(BundleRefused, match="no signature by a key"):
        await gap.carry()


async def test_a_drop_folder_is_not_asked_twice_nor_stopped(tmp_path: Path) -> None:
    drop, receipts = tmp_path / "drop", tmp_path / "receipts"
    gap = Gap(tmp_path, {"dir": str(drop), "receipts_dir": str(receipts)})
    drop.mkdir()
    (drop / "lost+found").mkdir(mode=0)
    (drop / "nonsense.tar").write_bytes(b"no tar")
    await gap.near.world.push(image("one"), V1, APP)
    await gap.near.export(drop / "first", gap.key)
    await gap.near.world.push(image("two"), V1, APP)
    await gap.near.export(drop / "second", gap.key)
    for _ in range(2):
        # The second one is another process's.
        await Inbox(gap.far.bundles, who="one").if_due()
    assert await gap.far.tags() == await gap.near.tags()
    told = {"first.receipt.txt", "second.receipt.txt", "nonsense.tar.refused.txt"}
    assert {path.name for path in receipts.iterdir()} == told


async def waiting(gap: Gap) -> list[str]:
    """What lies below `staged/`."""
    catalog = gap.far.world.store.catalog
    return [str(name) async for name in catalog.names() if name.startswith("staged/")]


async def test_only_what_is_not_done_is_looked_at(gap: Gap) -> None:
    """So many bundles as ever came cost nothing; one whose process died behind its decision is found."""
    await gap.near.world.push(image("one"), V1, APP)
    judged = await gap.carry()
    received = gap.far.bundles.importing.received
    assert await received.open_ones() == []
    await gap.far.bundles.approving.approve(judged.head.id, "bob", "", allow_rollback=False)
    assert await received.open_ones() == [judged.head.id]
    await gap.far.bundles.finish_all()
    assert await received.open_ones() == [] and await gap.far.tags() == await gap.near.tags()
    await gap.far.bundles.approving.undo(judged.head.id, "bob", "")
    assert await received.open_ones() == [judged.head.id]
    await gap.far.bundles.finish_all()
    assert await received.open_ones() == [] and await gap.far.tags() == {}


async def test_a_selection_that_says_anything_removes_nothing(gap: Gap, tmp_path: Path) -> None:
    """It is the writer's own words, so whoever signs may say there what he likes."""
    nonsense: list[object] = [{"a": 1}, [{"a": 1}], [["*"]], [5], 5, None, "*"]
    told = [{"repositories": one, "tags": ["*"]} for one in nonsense]
    told += [{"repositories": ["**"], "tags": one} for one in nonsense]
    for number, selection in enumerate(told):
        far = type(gap.far)({"import": {"trusted_keys": [str(next(tmp_path.glob("*.pub")))]}})
        await far.world.push(image("mine"), Tag("prod"), OTHER)
        path = write_folder(files_of(images(), gap.key, selection=selection), tmp_path / f"told-{number}")
        await far.take_in(path, delete=True)
        assert "team/other:prod" in await far.tags(), selection
        assert await far.bundles.importing.received.open_ones() == []


async def test_a_line_without_an_end_is_not_gathered() -> None:
    """Whoever writes to a stick can put one there that is as long as the statement that was signed."""
    chunk, gathered = b"x" * (1 << 20), 0

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield chunk

    async for lines in lines_of(chunks()):
        gathered = max(gathered, *map(len, lines))
    assert LINE_BYTES < gathered <= LINE_BYTES + len(chunk)


async def test_a_blob_in_more_than_a_thousand_pieces_is_joined(gap: Gap) -> None:
    made = Selection()
    layer = made.blob(bytes(range(256)) * 5, "team/app")
    made.tag("team/app", "1", made.image("large", "team/app", layers=[layer]))
    made.statement.order()
    lying(made)
    large = key_of(Digest.parse(layer["digest"]))
    made.statement.blobs.lay(large, tuple(Piece(1, 1) for _ in range(1280)))
    path = write_folder(files_of(made, gap.key, is_laid=True), gap.folder / "bundle")
    assert (await gap.far.take_in(path)).is_staged


async def test_a_name_that_is_too_long_to_wait_is_named(gap: Gap) -> None:
    made, name = Selection(), "team/" + "a" * 221
    made.tag(name, "1", made.image("one", name))
    path = write_folder(files_of(made, gap.key), gap.folder / "bundle")
    with pytest.raises(
        BundleRefused, match=rf"{name} would be {name} here, which has 226 .* at most 225 here"
    ):
        await gap.far.take_in(path)
    assert (await gap.far.take_in(path, maps=["team/=a/"])).is_staged


async def test_an_approved_bundle_comes_again_when_what_came_behind_it_is_undone(tmp_path: Path) -> None:
    gap = Gap(tmp_path)
    await gap.near.world.push(image("one"), V1, APP)
    await gap.carry()
    before = await gap.far.tags()
    await gap.near.world.push(image("two"), V1, APP)
    second = await gap.carry()
    with pytest.raises(BundleRefused, match=rf"undo that \(moorage bundle undo {second.head.id}\)"):
        await gap.far.take_in(tmp_path / "bundle-1")
    await gap.far.bundles.approving.undo(second.head.id, "bob", "")
    await gap.far.finish(second.head.id)
    assert (await gap.far.take_in(tmp_path / "bundle-1")).is_staged
    assert await gap.far.tags() == before


async def test_a_name_that_is_no_text_does_not_stop_the_folder(tmp_path: Path) -> None:
    drop, receipts = tmp_path / "drop", tmp_path / "receipts"
    gap = Gap(tmp_path, {"dir": str(drop), "receipts_dir": str(receipts)})
    await gap.near.world.push(image("one"), V1, APP)
    await gap.near.export(drop / "z", gap.key)
    strange = write_folder(files_of(images(), gap.key), Path(os.fsdecode(os.fsencode(drop) + b"/\xff")))
    Path(os.fsdecode(os.fsencode(strange) + b"/\xfd")).touch()
    Path(os.fsdecode(os.fsencode(drop) + b"/\xfe.tar")).write_bytes(b"no tar")
    await Inbox(gap.far.bundles, who="one").if_due()
    assert await gap.far.tags() == await gap.near.tags()
    assert {os.fsencode(path.name) for path in receipts.iterdir()} == {
        b"z.receipt.txt",
        b"\xff.refused.txt",
        b"\xfe.tar.refused.txt",
    }


async def test_which_image_is_not_there_is_said(gap: Gap) -> None:
    await gap.near.world.push(image("one"), V1, APP)
    other = Digest.of(b"another")
    for tag, wanted, words in (
        (Tag("v2"), None, "team/app:v2 is not there"),
        (V1, other, f"and not {other}"),
    ):
        images = Images([(APP, tag, wanted)])
        with pytest.raises(RequestInvalid, match=words) as refused:
            await gap.near.select(images)
        assert "None" not in refused.value.message


async def test_how_much_more_is_missing_is_said() -> None:
    missing = [f"sha256:{number:064x}" for number in range(25)]
    told = Imported("b-0", "weekly", 1, "near", "missing", [], [], 1, 1, missing).told()
    assert missing[19] in told and missing[20] not in told and "and 5 more" in told


@pytest.mark.parametrize("text", ["..", "../..", "", "a/b", "\0", "\ud800", "b-0123456789abcdef0123/staged"])
async def test_what_is_no_id_is_of_no_bundle(gap: Gap, text: str) -> None:
    """Who may approve something asks for any bundle, and rights are looked up by its repositories."""
    assert await gap.far.bundles.approving.repositories(text) == set()


async def test_repositories_that_many_lists_have_are_kept_once() -> None:
    """A line may name half a million, and the next all but one of them: that must not cost each anew."""
    names = [f"r{number:05d}" for number in range(20_000)]
    reader = StatementReader(1)
    tracemalloc.start()
    try:
        for number in range(12):
            line = {
                "digest": str(Digest.of(b"%d" % number)),
                "kind": "manifest",
                "mediaType": media_types.OCI_IMAGE,
                "repositories": names[number:],
                "size": 1,
            }
            reader.lines([canonical(line)])
            del line
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 12 * 20_000 * 30, held


def test_a_manifest_may_have_very_many_tags() -> None:
    key, tags = bytes(32), 120_000
    statement = Statement(tags={("team/app", f"t{number}"): key for number in range(tags)})
    begun = time.process_time()
    assert len(statement.names[key]) == tags
    # Half a minute where each tag has those before it copied.
    assert time.process_time() - begun < 5


def test_all_media_together_have_so_many_signatures(gap: Gap) -> None:
    made = files_of(images(), gap.key, piece_bytes=30_000)
    for medium in ("medium-001", "medium-002"):
        made |= {f"{medium}/bundle.json.{ord(medium[-1]):02x}{number:014x}.sig": b"x" for number in range(40)}
    with (
        opened_files([write_folder(made, gap.folder / "media")]) as files,
        pytest.raises(BundleInvalid, match="more than 64 signatures"),
    ):
        files.opening()


async def test_what_was_imported_is_told_by_the_names_that_count(gap: Gap) -> None:
    await gap.near.world.push(image("one"), V1, APP)
    await gap.near.export(gap.folder / "bundle", gap.key)
    bundles = gap.far.bundles
    (operation,) = import_operations(lambda: bundles)
    for _ in range(2):
        asked = Import((str(gap.folder / "bundle"),), map=("team/=mirror/",))
        steps = [step async for step in operation.run(asked, Context("operator"))]
        assert isinstance(steps[-1], Result) and isinstance(steps[-1].value, Imported)
        assert steps[-1].value.repositories == ["mirror/app"]
    other = Import((str(gap.folder / "bundle"),), map=("team/=other/",))
    with pytest.raises(BundleRefused, match="the name mirror/app, not other/app, for team/app"):
        _ = [step async for step in operation.run(other, Context("operator"))]


def test_a_note_that_is_no_text_is_written(tmp_path: Path) -> None:
    write_file(tmp_path / "receipt", "note caf\udce9\n")
    assert (tmp_path / "receipt").read_bytes() == b"note caf\\udce9\n"


async def test_what_never_came_whole_is_let_go_by_rejecting_it(gap: Gap) -> None:
    folder = write_folder(files_of(images(), gap.key, piece_bytes=30_000), gap.folder / "media")
    for medium in sorted(folder.iterdir())[:-1]:
        judged = await gap.far.take_in(medium)
    bundle, driver = judged.head.id, gap.far.world.driver
    prefix = f"{layout.BUNDLES_RECEIVED}/{bundle}"
    assert [key async for key in driver.walk(f"{prefix}/pieces")]
    await gap.far.bundles.approving.reject(bundle, "bob", "")
    await gap.far.finish(bundle)
    left = {key.removeprefix(f"{prefix}/").partition("/")[0] async for key in driver.walk(prefix)}
    assert left == {"head", "imports", "decision", "done"}
