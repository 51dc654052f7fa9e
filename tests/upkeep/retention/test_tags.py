"""Which tags go, and what of a run is told of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from registry.errors import ManifestUnknown
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from registry.store.links import Links
from registry.upkeep.retention.operations import operations
from registry.upkeep.retention.reports import TagExplained
from registry.upkeep.retention.retaining import Retaining
from registry.upkeep.settings import UpkeepSettings
from registry.work.operations import Context
from tests.inmemory import NAME, World, image
from tests.upkeep.gathering import push_index, tree
from tests.upkeep.retention.retaining import Known, builds, described, process, rehearsed, run, tags


async def test_what_no_rule_keeps_goes_and_can_be_restored(world: World) -> None:
    digests = await builds(world)
    report = await run(process(world, {"newest_pushed": 2, "name": "builds"}))
    assert await tags(world) == ["b3", "b4"]
    assert (report.tags, report.tags_gone, report.manifests_gone, report.stopped) == (5, 3, 0, [])
    assert [(one.reference, one.why) for one in report.decisions] == [
        (f"{NAME}:b{number}", "nothing keeps it (builds)") for number in range(3)
    ]
    # The manifest stays until a rule says otherwise, and the tag can be had back.
    assert await world.holds(digests[0])
    history = world.store.history
    move = await history.read((await history.keys(NAME, Tag("b0")))[-1])
    assert move is not None and (move.digest, move.replaced, move.by) == (None, digests[0], "retention")
    assert any(key.startswith(layout.trash_tag(NAME, Tag("b0"))) for key in await world.keys())


async def test_a_rehearsal_changes_nothing_and_tells_of_each_tag(world: World) -> None:
    await builds(world)
    before = await tree(world)
    report = await rehearsed(process(world, {"newest_pushed": 2}))
    assert await tree(world) == before
    assert report.dry_run and report.tags_gone == 3
    assert [(one.tag, one.stays) for one in report.decisions] == [
        ("b0", False),
        ("b1", False),
        ("b2", False),
        ("b3", True),
        ("b4", True),
    ]
    told = report.told()
    assert "would remove tags: 3 of 5" in told and "team/app:b0  goes   rule 1  nothing keeps it" in told
    # Of each tag that stays, too, which rule decides.
    assert "  team/app:b4  stays  rule 1  among the newest 2 pushed" in told.splitlines()
    brief = report.told(brief=True)
    assert "team/app:b0  goes  rule 1" in brief and "team/app:b4" not in brief
    assert "2  among the newest 2 pushed (rule 1)" in told


async def test_a_tag_that_was_pushed_again_is_new(world: World) -> None:
    """By its history, also where the same image was pushed and where nothing else was written."""
    await builds(world)
    await world.push(image(f"{NAME} 0"), Tag("b0"))
    world.clock.advance(days=2)
    await run(process(world, {"newest_pushed": 2}))
    assert await tags(world) == ["b0", "b4"]


async def test_a_tag_of_distribution_has_no_history_and_goes_by_its_link(world: World) -> None:
    await builds(world)
    await world.remove_all(await world.keys(layout.HISTORY))
    await run(process(world, {"pushed_within": "4d"}))
    assert await tags(world) == ["b3", "b4"]


async def test_a_tag_is_explained(world: World) -> None:
    digests = await builds(world)
    pulls = Known(days={("b0", digests[0]): date(2026, 1, 2)})
    retaining = process(
        world, {"newest_pushed": 2, "name": "builds"}, {"tags": ["x*"], "newest_pushed": 1}, pulls=pulls
    )
    explained = await retaining.explain(NAME, Tag("b0"))
    assert explained == TagExplained(
        NAME,
        "b0",
        str(digests[0]),
        False,
        "builds",
        "nothing keeps it",
        ["builds"],
        datetime(2026, 1, 1, tzinfo=UTC),
        "2026-01-02",
        True,
    )
    assert explained.told().startswith(f"{NAME}:b0 goes: nothing keeps it (builds)\n")
    await world.push(image("other"), Tag("y"), RepositoryName("y"))
    limited = process(world, {"repositories": ["team/*"], "newest_pushed": 1}, enforce=False)
    assert (await limited.explain(RepositoryName("y"), Tag("y"))).told().endswith("rules about it: none")
    assert "would go, were the rules enforced" in (await limited.explain(NAME, Tag("b0"))).told()


async def test_a_long_table_of_a_rehearsal_has_every_tag(world: World) -> None:
    digest = await world.push(image("one"))
    for number in range(150):
        await world.store.links.put_tag(NAME, Tag(f"t{number}"), digest)
    world.clock.advance(days=2)
    told = (await rehearsed(process(world, {"always": ["t*"], "newest_versions": 1}))).told()
    assert sum(line.startswith(f"  {NAME}:t") for line in told.splitlines()) == 150
    assert [line.split() for line in told.splitlines() if ":latest" in line] == [
        [f"{NAME}:latest", "goes", "rule", "1", "nothing", "keeps", "it"]
    ]


async def test_of_a_tag_that_went_it_is_told_who_took_it_and_how_it_comes_back(world: World) -> None:
    digests = await builds(world, 3)
    retaining = process(world, {"newest_pushed": 1, "name": "builds"})
    await run(retaining)
    at = world.clock.now.isoformat(sep=" ")
    (copy,) = await world.driver.children(layout.trash_tag(NAME, Tag("b0")))
    (operation,) = [one for one in operations(lambda: retaining) if one.name == "retention.explain"]

    async def refused(tag: str) -> str:
        with pytest.raises(ManifestUnknown) as caught:
            async for _ in operation.run(operation.input(f"{NAME}:{tag}"), Context("tester")):
                pass
        return caught.value.message

    back = f"`moorage tag restore {NAME}:b0@{digests[0]}` brings it back"
    told = await refused("b0")
    assert told == (
        f"there is no tag {NAME}:b0: it was taken by retention, rule builds (nothing keeps it), at {at} (run"
        f" {copy}). `moorage tag history {NAME}:b0` says what it has named, and {back}"
    )
    # The trash has forgotten it, the report has not.
    await world.remove_all(await world.keys(layout.TRASH))
    assert f"by retention, rule builds (nothing keeps it), at {at}. `moorage" in await refused("b0")
    await world.repository().delete_tag(Tag("b2"))
    assert f"it was taken by tester at {at} (run u-" in await refused("b2")
    assert await refused("never") == f"there is no tag {NAME}:never"


async def test_where_nobody_has_counted_yet_all_may_have_been_pulled(world: World) -> None:
    await builds(world)
    upkeep = {"enforce": True, "max_delete_percent": 100}
    rules = [{"repositories": ["**"], "pulled_within": "2d", "untagged_for": "2d"}]
    settings = UpkeepSettings.model_validate({"retention": {**upkeep, "rules": rules}})
    assert (await run(Retaining(lambda: world.registry, settings, who="one"))).tags_gone == 0


async def test_which_days_are_not_known_goes_by_the_clock_of_the_store(world: World) -> None:
    await builds(world, 1)
    ahead = world.clock.now + timedelta(days=400)
    world.store.effects = replace(world.store.effects, now=lambda: ahead)
    rules = [{"repositories": ["**"], "untagged_for": "2d"}]
    settings = UpkeepSettings.model_validate({"retention": {"enforce": True, "rules": rules}})
    report = await run(Retaining(lambda: world.registry, settings, who="one"))
    assert report.waits.startswith(f"until {world.clock.now.date()} not every")


async def test_what_each_tag_names_is_read_once(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await builds(world)
    attached = f"sha256-{Digest.of(b'elsewhere').encoded}.sig"
    for tag in ("kept", attached):
        await world.push(image(tag), Tag(tag))
    world.clock.advance(days=2)
    (file := tmp_path / "in-use").write_text("team/app:b0\nteam/app:kept\n")
    rules = {"tags": ["b*"], "newest_pushed": 1}, {"untagged_for": "7d"}
    read: Counter[str] = Counter()
    inner = Links.read

    async def noted(self: Links, key: str) -> Digest:
        read[key] += 1
        return await inner(self, key)

    monkeypatch.setattr(Links, "read", noted)
    report = await rehearsed(process(world, *rules, in_use=[{"file": str(file)}]))
    assert (report.tags, report.tags_gone) == (7, 3)
    assert [read[layout.tag_link(NAME, Tag(tag))] for tag in await tags(world)] == [1] * 7


async def test_what_a_manifest_lists_is_looked_for_once_however_many_tags_it_has() -> None:
    calls = []
    for count in (1, 9):
        world = World()
        for number in range(count):
            await push_index(
                world, [described(image(f"not here {one}")) for one in range(50)], Tag(f"t{number}")
            )
        await world.push(image("new"))
        world.clock.advance(days=2)
        world.counted.calls.clear()
        assert (await rehearsed(process(world, {"newest_versions": 1}))).tags_gone == count + 1
        calls.append(world.counted.calls.total())
    assert calls[1] < 2 * calls[0]


async def test_a_tag_whose_manifest_cannot_be_read_stays(world: World) -> None:
    digests = await builds(world)
    await world.driver.put(layout.blob_data(digests[0]), b"nonsense")
    await run(process(world, {"newest_pushed": 2}))
    assert await tags(world) == ["b0", "b3", "b4"]
