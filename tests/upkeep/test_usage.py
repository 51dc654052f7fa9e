"""What repositories and prefixes hold: each byte once, and what only is there, against a model of it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.core.operations import Limit
from registry.core.registry import Registry
from registry.errors import NameUnknown, ReadOnly, TooManyRequests
from registry.model.digests import Digest
from registry.model.media_types import OCI_ARTIFACT
from registry.model.names import Prefix, RepositoryName, Tag
from registry.store import layout
from registry.upkeep import usage_reports
from registry.upkeep.counting import Counting
from registry.upkeep.settings import UsageSettings
from registry.upkeep.usage import Ledger, count
from registry.upkeep.usage_operations import CountUsage, ShowUsage, Usage, operations
from registry.upkeep.usage_reports import Count, Row, UsageReports
from registry.work.inputs import read_input
from registry.work.operations import Context, Result
from tests.inmemory import NAME, Bytes, World, descriptor, image
from tests.upkeep.gathering import no_step, push_index

OTHER = RepositoryName("team/other")
ELSEWHERE = RepositoryName("elsewhere")
SECONDS = 0.001  # how long a lease outlives the silence of its holder, by clocks that tests make tick


def process(
    world: World, who: str = "one", registry: Registry | None = None, tick: float = 0.2, **chosen: Any
) -> Counting:
    """A process that counts; each look at its clock makes `tick` of the lease's time pass there."""
    now = itertools.count(step=tick * SECONDS)
    of = registry or world.registry
    usage = UsageSettings.model_validate({"requests_per_second": 0, **chosen})
    return Counting(lambda: of, usage, who=who, lease_seconds=SECONDS, clock=lambda: next(now))


async def run(counting: Counting) -> Count:
    """A whole count."""
    return [report async for report in counting.run("tester")][-1]


async def counted(world: World) -> tuple[Count, dict[str, Row]]:
    """A whole count, and its rows."""
    report = await run(process(world))
    newest = await UsageReports(world.store).newest()
    assert newest is not None and newest[1] == report
    rows = await UsageReports(world.store).rows(newest[0])
    assert rows is not None
    return report, {row.name: row for row in rows}


async def shown(counting: Counting, asked: ShowUsage | None = None) -> tuple[Usage, str]:
    """What `usage show` says, and its note."""
    show = next(one for one in operations(lambda: counting) if one.name == "usage.show")
    results = [one async for one in show.run(asked or ShowUsage(), Context("tester"))]
    (result,) = results
    assert isinstance(result, Result) and isinstance(result.value, Usage)
    return result.value, result.text


async def test_each_byte_counts_once_wherever_it_is_linked() -> None:
    world = World()
    one = image("one", layers=(b"x" * 1000,))
    two = image("two", layers=(b"x" * 1000, b"y" * 100))
    await world.push(one)
    await world.push(two, name=OTHER)
    await world.push(one, name=ELSEWHERE)
    report, rows = await counted(world)
    first, second = 2 + 1000 + len(one), 2 + 1000 + 100 + len(two)
    both = 2 + 1000 + 100 + len(one) + len(two)
    assert rows == {
        "team/": Row("team/", both, 0, 100 + len(two), 2, 5),
        NAME: Row(NAME, first, 0, 0, 1, 3),
        OTHER: Row(OTHER, second, 0, 100 + len(two), 1, 4),
        ELSEWHERE: Row(ELSEWHERE, first, 0, 0, 1, 3),
    }
    assert (report.size_bytes, report.blobs, report.repositories) == (both, 5, 3)


async def test_what_no_manifest_refers_to_is_unneeded_and_would_be_free() -> None:
    world = World()
    content = image("one")
    await world.push(content)
    await world.blob(b"z" * 50)
    await world.blob(b"z" * 50, OTHER)
    await world.blob(b"layer", OTHER)
    report, rows = await counted(world)
    assert (rows[NAME].unneeded_bytes, rows[OTHER].unneeded_bytes) == (50, 55)
    # What is needed anywhere below a prefix is needed there.
    assert (rows["team/"].unneeded_bytes, report.unneeded_bytes) == (50, 50)
    assert rows["team/"].freed_bytes == rows["team/"].size_bytes == 50 + 5 + 2 + len(content)
    assert rows[OTHER].freed_bytes == 0


async def test_a_repository_and_what_is_below_its_name_are_told_apart() -> None:
    world = World()
    for name in ("a", "a/b", "a/b/c", "a-b", "a.b/c", "a/0"):
        await world.blob(name.encode() * 10, RepositoryName(name))
        await world.blob(b"shared", RepositoryName(name))
    report, rows = await counted(world)
    assert set(rows) == {"a/", "a", "a/b/", "a/b", "a/b/c", "a-b", "a.b/c", "a/0"}
    assert rows["a"].size_bytes == 10 + 6
    assert rows["a/"] == Row("a/", 10 + 30 + 50 + 30 + 6, 126, 120, 4, 5)
    assert rows["a/b/"] == Row("a/b/", 30 + 50 + 6, 86, 80, 2, 3)
    assert report.size_bytes == 10 + 30 + 50 + 30 + 30 + 50 + 6


async def test_a_blob_under_another_digest_of_the_same_bytes_counts_once() -> None:
    world = World()
    sha256, sha512 = Digest.of(b"layer"), Digest.of(b"layer", "sha512")
    await world.blob(b"layer")
    # As Distribution stores what was pushed by its sha512.
    await world.store.links.put_alias(NAME, sha512, sha256)
    _, rows = await counted(world)
    assert rows[NAME].size_bytes == 5 and rows[NAME].blobs == 1
    content = json.dumps(
        {
            "schemaVersion": 2,
            "config": {**descriptor(b"layer"), "digest": str(sha512)},
            "layers": [],
        }
    ).encode()
    await world.push_alone(content)
    _, rows = await counted(world)
    assert rows[NAME] == Row(NAME, 5 + len(content), 0, 5 + len(content), 1, 2)


async def test_indexes_their_blobs_and_manifests_that_lie_whole_count() -> None:
    world = World()
    one = image("one")
    await world.push(one)
    await world.blob(b"cached")
    index = await push_index(world, [descriptor(one), descriptor(b"cached")], Tag("cache"))
    artifact = json.dumps({"mediaType": OCI_ARTIFACT, "blobs": [descriptor(b"cached")]}).encode()
    await world.repository(OTHER).push_blob(Digest.of(b"cached"), Bytes(b"cached"))
    await world.repository(OTHER).push_manifest(Tag("a"), artifact, OCI_ARTIFACT, [])
    _, rows = await counted(world)
    assert rows[NAME].size_bytes == 2 + 5 + len(one) + 6 + len(index) and not rows[NAME].unneeded_bytes
    whole = len(OCI_ARTIFACT) + 1 + len(artifact)
    assert rows[OTHER] == Row(OTHER, whole + 6, 0, whole, 1, 2)


async def test_what_is_missing_or_cannot_be_read_is_told_and_keeps_what_is_around_it() -> None:
    world = World()
    await world.push(image("one", layers=(b"one",)))
    damaged = await world.push(image("two", layers=(b"two",)), Tag("two"))
    await world.blob(b"unneeded")
    await world.driver.put(layout.blob_data(damaged), b"{}")
    await world.remove_all([layout.blob_data(Digest.of(b"one"))])
    report, rows = await counted(world)
    assert (report.missing, report.unread) == (1, 1)
    # Of what it needs nothing is known, so all may be needed.
    assert rows[NAME].unneeded_bytes == 0
    assert rows[NAME].size_bytes == 2 + len(image("one", layers=(b"one",))) + 3 + 2 + 8


async def test_links_of_what_can_be_no_repository_hold_on_to_what_they_name() -> None:
    world = World()
    await world.blob(b"layer", RepositoryName("a/x"))
    link = layout.layer_link(RepositoryName("stray"), Digest.of(b"layer")).replace("/stray/", "/a/xX/")
    await world.driver.put(link, str(Digest.of(b"layer")).encode())
    await world.blob(b"layer", RepositoryName("a/y"))
    report, rows = await counted(world)
    assert rows["a/"] == Row("a/", 5, 5, 0, 2, 1)
    assert (report.size_bytes, report.repositories) == (5, 3)


NAMES = st.sampled_from(["a", "a/b", "a/b/c", "a/c", "a-b", "b/c", "b/c/d", "b"])
HOLDINGS = st.dictionaries(NAMES, st.dictionaries(st.integers(0, 9), st.booleans(), max_size=6))


def below(prefix: str, name: str) -> bool:
    return not prefix or name == prefix or name.startswith(f"{prefix}/")


@given(HOLDINGS)
@settings(max_examples=200)
def test_a_ledger_says_what_sets_say(holdings: Mapping[str, Mapping[int, bool]]) -> None:
    ledger = Ledger(["a", "b/c"])
    # In the order of a walk.
    for name in sorted(holdings, key=lambda one: f"{one}/_"):
        ledger.enter(RepositoryName(name))
        for blob, needed in holdings[name].items():
            ledger.hold(blob, 1 << blob, needed=needed)
    ledger.close()

    def held(names: Iterable[str], *, needed: bool = False) -> set[int]:
        return {blob for one in names for blob, is_needed in holdings[one].items() if is_needed or not needed}

    def size(blobs: Iterable[int]) -> int:
        return sum(1 << blob for blob in blobs)

    def expected() -> Iterator[Row]:
        prefixes = {"/".join(name.split("/")[:depth]) for name in holdings for depth in range(1, 4)}
        for prefix in prefixes:
            inside = [name for name in holdings if below(prefix, name)]
            if len(inside) > 1:
                yield row(f"{prefix}/", inside)
        for name in holdings:
            yield row(name, [name])

    def row(name: str, inside: list[str]) -> Row:
        has, needs = held(inside), held(inside, needed=True)
        only = has - held(set(holdings).difference(inside))
        return Row(name, size(has), size(has - needs), size(only), len(inside), len(has))

    def by_name(row: Row) -> str:
        return row.name

    assert sorted(ledger.rows(), key=by_name) == sorted(expected(), key=by_name)
    for prefix in ("a", "b/c"):
        place = ledger.prefix(prefix)
        needs = held([name for name in holdings if below(prefix, name)], needed=True)
        assert sorted(place.needed or () if place else ()) == sorted(needs)
        assert (place.needed_bytes if place else 0) == size(needs)


async def test_a_count_takes_one_look_at_each_blob_however_often_it_is_linked() -> None:
    world = World()
    for number in range(20):
        await world.push(image("one"), name=RepositoryName(f"team/{number}"))
    world.counted.calls.clear()
    report = Count(world.clock.now, "tester")
    async for _ in count(world.store, Ledger(), report, no_step):
        pass
    assert world.counted.calls["stat"] == 3


async def test_who_counts_leaves_a_report_and_two_of_rows() -> None:
    world = World()
    await world.push(image("one"))
    for _ in range(4):
        await run(process(world))
        world.clock.advance(seconds=1)
    assert len(await world.keys(layout.reports("usage"))) == 4
    assert len(await world.keys(layout.reports("usage-rows"))) == 2
    assert await process(world).leased.lease().holder() is None
    assert await world.keys(layout.INTENTS) == []


async def test_a_count_that_dies_leaves_nothing_and_another_begins_anew() -> None:
    world = World()
    for number in range(5):
        await world.blob(b"layer", RepositoryName(f"team/{number}"))
    dead = process(world, "dead").run("tester")
    await anext(dead)
    assert (await run(process(world, "other"))).repositories == 5
    with pytest.raises(TooManyRequests, match="another process is counting now"):
        async for _ in dead:
            pass
    assert len(await world.keys(layout.reports("usage"))) == 1


async def test_two_do_not_count_at_once() -> None:
    world = World()
    for number in range(5):
        await world.blob(b"layer", RepositoryName(f"team/{number}"))
    first = process(world, "first").run("tester")
    await anext(first)
    waiting = asyncio.create_task(run(process(world, "second", tick=0.0)))
    while not waiting.done():
        await process(world).reports().newest()
        await asyncio.sleep(SECONDS / 10)
        if not waiting.done():
            await anext(first, None)
    with pytest.raises(TooManyRequests, match=r"^first \(.*\) is counting already"):
        await waiting


async def test_the_schedule_counts_when_it_is_due_and_where_it_may() -> None:
    world = World()
    reading = world.process()
    reading.read_only = True
    await process(world, registry=reading).if_due()
    await process(world, enabled=False).if_due()
    assert await world.keys(layout.reports("usage")) == []
    with pytest.raises(ReadOnly):
        await run(process(world, registry=reading))
    await process(world).if_due()
    world.clock.advance(hours=23, minutes=59)
    await process(world).if_due()
    assert len(await world.keys(layout.reports("usage"))) == 1
    world.clock.advance(minutes=1)
    await process(world).if_due()
    assert len(await world.keys(layout.reports("usage"))) == 2


async def test_a_clock_that_was_wrong_for_once_does_not_end_all_counts() -> None:
    world = World()
    world.clock.advance(days=3650)
    await process(world).if_due()
    world.clock.advance(days=-3650)
    for number in range(3):
        await process(world).if_due()
        await process(world).if_due()
        for kind, most in (("usage", 3), ("usage-rows", 2)):
            assert len(await world.keys(layout.reports(kind))) == min(most, number + 1)
        newest = await process(world).reports().newest()
        assert newest is not None and newest[1].began == world.clock.now
        world.clock.advance(days=1)


async def test_show_tells_what_was_counted_and_how_old_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    await world.push(image("one", layers=(b"x" * 3000,)))
    await world.blob(b"y" * 500, OTHER)
    counting = process(world)
    nothing, note = await shown(counting)
    assert nothing.told() == "nothing was counted yet" and "moorage usage count" in note
    await run(counting)
    world.clock.advance(hours=3, seconds=5)
    told = (await shown(counting))[0].told().splitlines()
    assert told[0] == "counted 3h ago, 2026-01-01 00:00:00 UTC, by tester"
    assert told[2].split() == ["BYTES", "UNNEEDED", "FREED", "BLOBS", "REPOSITORIES", "NAME"]
    assert [line.split()[-1] for line in told[3:]] == ["team/", NAME, OTHER]
    assert told[5].split() == ["500B", "500B", "500B", "1", OTHER]
    few, note = await shown(counting, ShowUsage(limit=Limit(1)))
    assert len(few.usage) == 1 and few.rows_left_out == 2
    assert note == "there are 2 more rows: --limit 3"
    of_one, _ = await shown(counting, ShowUsage(Prefix(OTHER)))
    assert [row.name for row in of_one.usage] == [OTHER]
    assert read_input(ShowUsage, {"prefix": f"{OTHER}/"}) == ShowUsage(Prefix(OTHER))
    with pytest.raises(NameUnknown, match=r"no repository tea, and none below it.*run `moorage usage count`"):
        await shown(counting, ShowUsage(Prefix("tea")))
    monkeypatch.setattr("registry.upkeep.counting.MOST_ROWS", 1)
    world.clock.advance(seconds=1)
    await run(counting)
    left, _ = await shown(counting)
    assert [row.name for row in left.usage] == ["team/"] and left.rows_left_out == 2
    with pytest.raises(NameUnknown, match="nor is it among the largest 1, and 2 more were counted"):
        await shown(counting, ShowUsage(Prefix(OTHER)))
    monkeypatch.setattr(usage_reports, "_LIMIT", 10)
    assert "moorage usage count" in (await shown(counting))[1]


async def test_quotas_of_what_came_after_the_count_are_shown() -> None:
    new = RepositoryName("new")
    world = World(quotas={new: 1000})
    await world.push(image("one"))
    await run(process(world))
    await world.push(image("two"), name=RepositoryName("new/app"))
    usage, note = await shown(process(world), ShowUsage(Prefix("new")))
    assert usage.usage == [] and [one.prefix for one in usage.quotas] == ["new"]
    assert usage.quotas[0].used_bytes == 2 + 5 + len(image("two"))
    assert usage.told().splitlines()[2:] == [f"quota of new: {usage.quotas[0].used_bytes}B of 1000B used"]
    assert "no repository new, and none below it" in note and "moorage usage count" in note


async def test_a_quota_that_is_none_here_is_not_told_as_one() -> None:
    world = World(quotas={RepositoryName("team"): 1000, RepositoryName("old"): 1000})
    await world.push(image("one"))
    await run(process(world))
    del world.quotas[RepositoryName("old")]
    counting = process(world)
    count = next(one for one in operations(lambda: counting) if one.name == "usage.count")
    *_, result = [one async for one in count.run(CountUsage(), Context("tester"))]
    assert isinstance(result, Result) and isinstance(result.value, Count)
    assert [one.prefix for one in result.value.quotas] == ["team"]
    assert "quota of old" not in result.value.told() and result.text.endswith(": old")
    # Servers that have it look there.
    newest = await counting.reports().newest()
    assert newest is not None and {one.prefix for one in newest[1].quotas} == {"team", "old"}
