"""Broken content is reported and kept, with all of its repository, and stops nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.store import layout
from registry.upkeep.reports import Collection, Kept, Reports
from tests.inmemory import NAME, World, image
from tests.upkeep.gathering import OTHER, Run, aged, collected, explained, lies, tree

UNNEEDED = Digest.of(b"unneeded")
ODD = Digest.of(b"odd")
Spoil = Callable[[World], Awaitable[str]]


@pytest.fixture
async def world() -> World:
    """Two repositories, with an image and an unneeded blob each."""
    world = World()
    for name in (NAME, OTHER):
        await world.push(image("one"), name=name)
        await world.blob(b"unneeded", name)
    return world


async def unreadable_manifest(world: World) -> str:
    await world.driver.put(layout.blob_data(ODD), b"odd")
    await world.driver.put(layout.revision_link(NAME, ODD), str(ODD).encode())
    return str(ODD)


async def schema_1(world: World) -> str:
    content = b'{"schemaVersion":1,"fsLayers":[{"blobSum":"%s"}]}' % str(UNNEEDED).encode()
    await world.driver.put(layout.blob_data(Digest.of(content)), content)
    await world.driver.put(layout.revision_link(NAME, Digest.of(content)), str(Digest.of(content)).encode())
    return str(Digest.of(content))


async def manifest_of_other_bytes(world: World) -> str:
    await world.driver.put(layout.blob_data(Digest.of(image("one"))), image("two"))
    return str(Digest.of(image("one")))


async def manifest_without_bytes(world: World) -> str:
    await world.driver.put(layout.revision_link(NAME, ODD), str(ODD).encode())
    return str(ODD)


async def damaged_whole_manifest(world: World) -> str:
    await world.driver.put(layout.whole_manifest(NAME, ODD), b"some/type\nother bytes")
    return str(ODD)


async def empty_blob_link(world: World) -> str:
    await world.driver.put(key := layout.layer_link(NAME, ODD), b"")
    return key


async def empty_manifest_link(world: World) -> str:
    await world.driver.put(key := layout.revision_link(NAME, ODD), b"")
    return key


async def link_to_nonsense(world: World) -> str:
    await world.driver.put(key := layout.layer_link(NAME, ODD), b"sha256:../../secret" + bytes(2000))
    return key


async def stray_file(world: World) -> str:
    await world.driver.put(key := f"{layout.repository(NAME)}/_layers/sha256/notes.txt", b"mine")
    return key


async def stray_directory(world: World) -> str:
    await world.driver.put(key := f"{layout.repository(NAME)}/_backup/one", b"mine")
    return key


async def link_under_an_odd_algorithm(world: World) -> str:
    key = f"{layout.repository(NAME)}/_layers/blake3/{'z' * 64}/link"
    await world.driver.put(key, str(UNNEEDED).encode())
    return key


SPOILS: list[Spoil] = [
    unreadable_manifest, schema_1, manifest_without_bytes, damaged_whole_manifest, empty_blob_link,
    empty_manifest_link, link_to_nonsense, stray_file, stray_directory, link_under_an_odd_algorithm,
]  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
async def test_it_is_told_and_keeps_its_repository_and_nothing_else(world: World, spoil: Spoil) -> None:
    sound = await tree(world)
    content = await spoil(world)
    before = await tree(world)
    report = await aged(world)
    told = [(one.repository, one.content) for one in report.troubles]
    assert told == [(NAME, content)] and report.troubles[0].problem
    assert (report.repositories, report.repositories_kept_whole) == (2, 1)
    assert content in report.told()
    after = await tree(world)
    prefix = f"{layout.repository(NAME)}/"
    assert {key for key in before if key.startswith(prefix)} <= after.keys()
    assert after[layout.blob_data(UNNEEDED)] == b"unneeded"
    # The other repository is collected as ever.
    assert report.links_taken == 1
    assert layout.layer_link(OTHER, UNNEEDED) not in after
    assert await lies(world, image("one"), OTHER)
    told_of = await explained(world, UNNEEDED)
    assert {holder.repository for holder in told_of.holders} == {NAME}
    for holder in told_of.holders:
        assert holder.verdict.startswith("stays: ") and content in holder.verdict
    # Mended, it is collected, too.
    await world.remove_all(key for key in before if key not in sound)
    report = await aged(world)
    assert (report.troubles, report.links_taken, report.blobs_taken) == ([], 1, 1)
    assert layout.layer_link(NAME, UNNEEDED) not in await world.keys()
    assert await lies(world, image("one"))


async def test_a_manifest_of_other_bytes_keeps_every_repository_that_has_it(world: World) -> None:
    content = await manifest_of_other_bytes(world)
    report = await aged(world)
    told = [(one.repository, one.content) for one in report.troubles]
    assert told == [(NAME, content), (OTHER, content)]
    assert (report.links_taken, report.blobs_taken) == (0, 0)


async def test_a_directory_whose_name_no_repository_can_have_is_told_and_kept(world: World) -> None:
    odd = f"{layout.REPOSITORIES}/Team/APP"
    kept = Digest.of(b"kept")
    await world.driver.put(layout.blob_data(kept), b"kept")
    key = f"{odd}/_layers/sha256/{kept.encoded}/link"
    await world.driver.put(key, str(kept).encode())
    report = await aged(world)
    assert [(one.repository, one.content) for one in report.troubles] == [("Team/APP", "Team/APP")]
    assert report.repositories_kept_whole == 1
    assert {key, layout.blob_data(kept)} <= set(await world.keys())
    assert (report.links_taken, report.blobs_taken) == (2, 1)
    told = await explained(world, kept)
    assert [holder.repository for holder in told.holders] == ["Team/APP"]
    assert told.verdict == "stays while a repository links to it"


async def test_a_file_outside_of_all_repositories_is_told(world: World) -> None:
    key = f"{layout.REPOSITORIES}/team/README"
    await world.driver.put(key, b"hello")
    report = await aged(world)
    assert {one.repository for one in report.troubles} == {"team/README"}
    assert report.links_taken == 2
    assert key in await world.keys()


@pytest.mark.parametrize(
    "place",
    [
        f"{layout.BLOBS}/sha256/00/{UNNEEDED.encoded}/data",
        f"{layout.BLOBS}/sha256/{UNNEEDED.encoded[:2]}/{UNNEEDED.encoded}/data.bak",
        f"{layout.BLOBS}/sha256/{UNNEEDED.encoded[:2]}/{UNNEEDED.encoded[:60]}/data",
        f"{layout.BLOBS}/md5/{UNNEEDED.encoded[:2]}/{UNNEEDED.encoded[:32]}/data",
        f"{layout.BLOBS}/blake3/zz/{'z' * 64}/data",
        f"{layout.BLOBS}/notes",
    ],
)
async def test_data_in_a_wrong_place_is_told_and_kept(world: World, place: str) -> None:
    await world.driver.put(place, b"somebody's")
    report = await aged(world)
    assert [(one.repository, one.content) for one in report.troubles] == [("", place)]
    assert report.repositories_kept_whole == 0
    assert await world.driver.get(place, limit=100) == b"somebody's"
    assert (report.links_taken, report.blobs_taken) == (2, 1)


async def test_what_a_link_of_an_unknown_kind_contains_stays(world: World) -> None:
    kept = Digest.of(b"kept")
    await world.driver.put(layout.blob_data(kept), b"kept")
    await world.driver.put(f"{layout.repository(NAME)}/_signatures/sha256/x/link", str(kept).encode())
    await aged(world)
    assert layout.blob_data(kept) in await world.keys()
    told = await explained(world, kept)
    assert told.verdict == "stays while a repository links to it"


async def test_odd_things_in_the_trash_hinder_nothing(world: World) -> None:
    odd = (f"data/blake3/{'z' * 64}/c-1", "data/sha256/xyz/c-1", "data/notes", "links/mine/x")
    for key in ("trash/runs/c-torn", *(f"trash/{place}" for place in odd)):
        await world.driver.put(f"{layout.OURS}/{key}", b"{")
    await aged(world)
    world.clock.advance(days=8)
    report = await collected(world)
    assert report.ended and report.removals_destroyed == 3
    assert f"{layout.OURS}/trash/runs/c-torn" in await world.keys()


async def test_what_stays_in_the_trash_for_good_is_told(world: World) -> None:
    await world.driver.put(layout.trash_run("c-torn"), b"{")
    await world.driver.put(layout.trash_open("u-torn"), b"{")
    assert (await collected(world)).troubles == [], "it may be under way"
    world.clock.advance(days=8)
    report = await collected(world)
    assert [(one.repository, one.content) for one in report.troubles] == [
        ("", layout.trash_open("u-torn")),
        ("", layout.trash_run("c-torn")),
    ]
    assert f"  {layout.trash_run('c-torn')}: this record" in report.told()


async def test_a_long_list_of_troubles_ends_in_a_number(world: World) -> None:
    for number in range(1100):
        await world.driver.put(f"{layout.repository(NAME)}/_stray/{number:04d}", b"")
    report = await aged(world)
    assert (len(report.troubles), report.troubles_left_out) == (1000, 100)
    assert report.repositories_kept_whole == 1
    lines = report.told().splitlines()
    assert lines[-1] == "  and 1080 more (--json has them)" and len(lines) < 30
    reports = Reports(world.store)
    await reports.save(reports.new(report.began), report)
    newest = await reports.newest()
    assert newest is not None and newest[1] == report


async def test_a_report_that_cannot_be_read_is_none(world: World) -> None:
    reports = Reports(world.store)
    run = Run(world)
    await reports.save(key := reports.new(run.report.began), run.report)
    for content in (b"", b"[]", b'{"began":"today"}'):
        await world.driver.put(f"{layout.reports('gc')}/{'9' * 20}-x", content)
        newest = await reports.newest()
        assert newest is not None and newest[0] == key
    assert await reports.last(10) == [run.report]


async def test_the_last_thirty_reports_are_kept(world: World) -> None:
    reports = Reports(world.store)
    for number in range(35):
        world.clock.advance(seconds=1)
        report = Collection(world.clock.now, f"number {number}", dry_run=False)
        report.trouble(Kept(RepositoryName("a"), "b", "c"))
        await reports.save(key := reports.new(report.began), report)
        await reports.trim(key)
    assert [report.by for report in await reports.last(100)] == [f"number {n}" for n in range(34, 4, -1)]
