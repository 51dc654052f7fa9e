"""How a run goes on: in what order, from where a dead one got to; and a rehearsal, which changes nothing."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta

import pytest

from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.removal import collector, mark, tally
from registry.removal.runs import Runs
from registry.store import layout
from registry.upkeep import reports
from tests.durability.reader import unneeded
from tests.inmemory import NAME, World, image
from tests.upkeep.gathering import LATER, Interrupted, Run, Stopped, aged, another, collected, lies, tree

# A walk has `a-b` and `a/0` before `a`, and `a/b` after it.
NAMES = [RepositoryName(name) for name in ("a", "a-b", "a.b", "a/0", "a/b", "a/b-c", "a/b/c", "a0", "b")]
MUTATIONS = {"put", "write", "compose", "copy", "delete"}


@pytest.fixture
async def world() -> World:
    """Repositories with an image and two unneeded blobs each, one of them in all."""
    return await filled()


async def filled() -> World:
    world = World()
    for name in NAMES:
        await world.push(image("one"), name=name)
        await world.blob(b"unneeded", name)
        await world.blob(f"only of {name}".encode(), name)
    world.clock.advance(seconds=LATER.total_seconds())
    return world


def figures(run: Run) -> tuple[int, ...]:
    """What a run has looked at and taken."""
    report = run.report
    return (
        *(report.repositories, report.manifests, report.links),
        *(report.links_taken, report.blobs_taken, report.bytes_taken),
    )


ALL = (len(NAMES), len(NAMES), 4 * len(NAMES), 2 * len(NAMES), 1 + len(NAMES))


async def test_names_that_begin_alike_are_repositories_of_their_own(world: World) -> None:
    run = Run(world)
    await run.go()
    assert figures(run)[:5] == ALL
    assert unneeded(await tree(world)) == []
    for name in NAMES:
        assert await lies(world, image("one"), name)


async def test_a_run_goes_on_where_a_dead_one_has_saved_that_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "_BATCH", 3)
    pieces = 0
    while True:
        world = await filled()
        await world.driver.put(f"{layout.BLOBS}/a-stray", b"")
        pieces += 1
        run = Run(world)
        await run.go(pieces=pieces)
        if run.report.phase == "done":
            break
        phase, after = run.report.phase, run.report.after
        resumed = await run.go()
        assert figures(run)[:5] == ALL, (phase, after)
        assert resumed.ended and unneeded(await tree(world)) == [], (phase, after)
        assert resumed.blobs_put_back == 0 and len(resumed.troubles) == 1, (phase, after)
    # A piece for each repository, for each three blobs, and for the trash.
    assert pieces == len(NAMES) + 4 + 1 + 1


async def test_a_run_that_dies_at_any_call_is_followed_by_one_that_does_the_rest() -> None:
    """It goes on from what was saved: at the beginning of each phase here."""
    number = 0
    phases = set()
    while True:
        number += 1
        world = World()
        for name in NAMES[:2]:
            await world.push(image("one"), name=name)
            await world.blob(b"unneeded", name)
        world.clock.advance(seconds=LATER.total_seconds())
        run = Run(world)

        async def die() -> None:
            raise Stopped

        driver = Interrupted(world, number, die)
        try:
            await run.go(store=another(world, driver))
        except Stopped:
            phases.add(run.report.phase)
        else:
            break
        world.clock.advance(hours=1)
        await world.registry.door.finish_open(world.clock.now.timestamp())
        await run.go()
        assert unneeded(await tree(world)) == [], number
        for name in NAMES[:2]:
            assert await lies(world, image("one"), name), number
        assert await world.keys(layout.TRASH_OPEN) == []
    assert phases == {"links", "data", "trash"}
    assert number > 60


async def test_a_report_is_saved_every_half_minute_and_at_the_end(world: World) -> None:
    run = Run(world)
    times = itertools.count(step=11)
    await run.go(clock=lambda: float(next(times)))
    assert 4 <= run.saved <= 8
    run = Run(world)
    await run.go()
    assert run.saved == 1


async def test_a_rehearsal_writes_nothing_and_says_what_a_run_then_does(world: World) -> None:
    await aged(world)
    for name in NAMES:
        await world.repository(name).delete_manifest(Digest.of(image("one")))
    world.clock.advance(days=8)
    before = await tree(world)
    world.counted.calls.clear()
    times = itertools.count(step=100)
    rehearsal = Run(world, dry_run=True)
    report = await rehearsal.go(clock=lambda: float(next(times)))
    assert report.ended and not MUTATIONS & set(world.counted.calls)
    assert await tree(world) == before
    real = Run(world)
    await real.go()
    assert figures(rehearsal) == figures(real)
    assert report.links_taken == 2 * len(NAMES) and report.blobs_taken == 3
    assert report.removals_destroyed == real.report.removals_destroyed > 0
    assert report.bytes_destroyed == real.report.bytes_destroyed > 0
    told, said = (
        [line for line in one.told().splitlines() if "  " not in line] for one in (report, real.report)
    )
    said.remove("by these removals, of which `moorage trash show RUN` has all:")
    assert [line.replace("would take", "took").replace("would empty", "emptied") for line in told] == said
    # One by one: what was told to go is what the removals that are named have.
    keys = [
        layout.blob_data(Digest.parse(one.digest))
        if one.repository is None
        else layout.layer_link(one.repository, Digest.parse(one.digest))
        for one in report.would_take
    ]
    runs = [await Runs(world.driver, world.store.effects).read(one.run) for one in real.report.removals]
    assert sorted(keys) == sorted(move.key for run in runs if run for move in run.moves)
    assert not real.report.would_take and not report.removals


async def test_a_run_names_its_removals_with_what_they_took_and_why(world: World) -> None:
    report = await collected(world)
    links, (data,) = report.removals[:-1], report.removals[-1:]
    assert sorted((one.repository or "", one.links, one.blobs, one.why) for one in links) == [
        (name, 2, 0, "needed by no manifest") for name in NAMES
    ]
    assert (data.repository, data.links, data.blobs, data.size_bytes, data.why) == (
        *(None, 0, report.blobs_taken, report.bytes_taken),
        "no repository links to it",
    )
    runs = [await Runs(world.driver, world.store.effects).read(one.run) for one in report.removals]
    assert [run and (run.repository, run.why) for run in runs] == [
        (one.repository, one.why) for one in report.removals
    ]


async def test_what_stays_is_counted_once_by_what_keeps_it(world: World) -> None:
    claimed, young = Digest.of(b"unneeded"), Digest.of(b"young")
    await world.registry.intents.open(NAMES[0], Digest.of(b"m"), [claimed], [])
    await world.driver.put(f"{layout.repository(NAMES[1])}/_stray/x", b"")
    world.clock.advance(seconds=1)
    await world.blob(b"young", NAMES[2])
    report = await collected(world)
    assert (report.kept_claimed, report.kept_unread, report.kept_young) == (1, 4, 1)
    assert report.kept_needed == 2 * (len(NAMES) - 1)
    # The image, its two blobs, what pushes need or the unread has, and the young one.
    assert (report.kept_linked, report.kept_refused) == (6, 0)
    assert report.links_taken == 2 * len(NAMES) - 1 - 2
    kept = report.kept_claimed + report.kept_unread + report.kept_needed + report.kept_young
    assert kept + report.links_taken == report.links
    assert young in [digest async for digest in world.store.links.layers(NAMES[2])]
    assert (
        f"kept besides: links that manifests need {report.kept_needed}, data that repositories link to 6,"
        " what pushes under way need 1, links of repositories in which something cannot be read 4"
    ) in report.told()


async def test_long_lists_of_what_goes_end_in_a_number(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "_REMOVALS", 4)
    for module in (reports, tally):
        monkeypatch.setattr(module, "UNNEEDED_MOST", 5)
    rehearsed = await collected(world, dry_run=True)
    assert len(rehearsed.would_take) == 5
    assert rehearsed.would_take_left_out == rehearsed.links_taken + rehearsed.blobs_taken - 5
    assert rehearsed.told().splitlines()[-1] == f"  not listed: {rehearsed.would_take_left_out}"
    report = await collected(world)
    assert (len(report.removals), report.removals_left_out) == (4, len(NAMES) + 1 - 4)
    assert report.told().splitlines()[-1] == "  not listed: 6 (`moorage trash list` has them)"


async def test_reports_of_before_there_were_lists_of_removals_can_be_read(world: World) -> None:
    kept = reports.Reports(world.store)
    report = await collected(world)
    key = kept.new(report.began)
    await kept.save(key, report)
    document = json.loads(await world.driver.get(key, limit=1 << 20))
    old = {"kept_young", "removals_destroyed"}
    new = ("removals", "would_take", "kept_", "data_left_alone")
    before = {name: value for name, value in document.items() if name in old or not name.startswith(new)}
    assert len(document) - len(before) == 10
    await world.driver.put(key, json.dumps(before).encode())
    ((found),) = await kept.last(1)
    assert (found.links_taken, found.removals, found.kept_needed) == (report.links_taken, [], 0)
    # What is no report is none.
    await world.driver.put(key, b"[]")
    assert await kept.last(1) == []


async def test_many_links_and_blobs_go_in_handfuls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "_MOVES", 7)
    monkeypatch.setattr(collector, "_BATCH", 10)
    monkeypatch.setattr(mark, "AT_ONCE", 4)
    world = World()
    await world.push(image("kept"))
    for number in range(50):
        await world.blob(f"unneeded {number}".encode())
    report = await aged(world)
    assert (report.links_taken, report.blobs_taken) == (50, 50)
    assert unneeded(await tree(world)) == []
    # No record of more than so many, and no run without a record.
    records = len(await world.keys(layout.TRASH_RUNS))
    assert records == 5 + 10
    runs = {key.rpartition("/")[2] for key in await world.keys(layout.TRASH)}
    assert len(runs) == records


async def test_a_manifest_that_goes_at_any_call_of_a_run_is_no_trouble() -> None:
    number = 0
    while True:
        number += 1
        world = World()
        digest = await world.push(image("gone", layers=[b"gone"]), Tag("gone"))
        await world.blob(b"unneeded")
        world.clock.advance(days=2)

        async def delete(world: World = world, digest: Digest = digest) -> None:
            await world.repository(NAME).delete_manifest(digest)

        driver = Interrupted(world, number, delete)
        report = await Run(world).go(store=another(world, driver))
        assert report.troubles == [], number
        if driver.left > 0:
            break
        await aged(world)
        assert unneeded(await tree(world)) == []


async def test_the_end_of_a_run_is_told_with_its_figures(world: World) -> None:
    report = await collected(world)
    lines = report.told().splitlines()
    assert lines[0].startswith(f"took {2 * len(NAMES)} blob links and {len(NAMES) + 1} blobs (")
    assert lines[1] == f"looked at: repositories {len(NAMES)}, manifests {len(NAMES)}, links {4 * len(NAMES)}"
    assert lines[2] == "kept for now, younger than the grace period: 0"
    kept = f"links that manifests need {2 * len(NAMES)}, data that repositories link to 3"
    assert lines[3] == f"kept besides: {kept}"
    assert lines[4] == "by these removals, of which `moorage trash show RUN` has all:"
    first, last = report.removals[0], report.removals[-1]
    assert lines[5] == f"  {first.run}: 2 blob links of a-b: needed by no manifest"
    assert lines[-1] == f"  {last.run}: data of {len(NAMES) + 1} blobs (106B): no repository links to it"
    assert len(lines) == 5 + len(NAMES) + 1
    assert report.ended is not None and report.ended - report.began < timedelta(minutes=1)
