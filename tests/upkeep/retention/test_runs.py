"""Runs of retention over a store in memory: what goes, what stays, and what stops a run."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from registry.errors import ManifestUnknown, ReadOnly, TooManyRequests, Unsupported
from registry.model.digests import Digest
from registry.model.media_types import OCI_INDEX
from registry.model.names import RepositoryName, Tag
from registry.model.patterns import RepositoryPattern
from registry.model.selection import TagSelector
from registry.removal.claims import state_of
from registry.removal.intents import Intents
from registry.removal.releasing import Releasing
from registry.store import layout
from registry.store.links import Links
from registry.upkeep.retention.deciding import Shares
from registry.upkeep.retention.judging import Pulls
from registry.upkeep.retention.operations import ExplainTag, Percent, Retain, operations
from registry.upkeep.retention.reports import Retention, TagExplained
from registry.upkeep.retention.retaining import EVERYWHERE, Retaining
from registry.upkeep.settings import UpkeepSettings
from registry.work.operations import Context, Result, Status
from tests.inmemory import NAME, TAG, World, image
from tests.upkeep.gathering import another, push_index, tree
from tests.upkeep.retention.test_judging import Known

OTHER = RepositoryName("team/other")
SECONDS = 0.001  # how long a lease outlives the silence of its holder, by clocks that tests make tick


def process(
    world: World, *rules: dict[str, Any], pulls: Pulls | None = None, who: str = "one", **settings: Any
) -> Retaining:
    """A process that runs retention by rules about every repository, and removes all that they let go."""
    about = [{"repositories": ["**"], **rule} for rule in rules]
    retention = {"enforce": True, "max_delete_percent": 100, "rules": about, **settings}
    upkeep = UpkeepSettings.model_validate({"gc": {"requests_per_second": 0}, "retention": retention})
    known = pulls or Nothing()

    async def of(_: float) -> Pulls:
        return known

    now = itertools.count(step=0.2 * SECONDS)
    return Retaining(
        lambda: world.registry,
        upkeep,
        who=who,
        pulls=of,
        lease_seconds=SECONDS,
        clock=lambda: next(now),
    )


class Nothing:
    """Nobody has ever pulled anything."""

    uncovered_until = None

    def of(self, name: RepositoryName, tag: Tag | None, digest: Digest | None) -> date | None:
        """Never."""
        return None


async def run(retaining: Retaining, repositories: RepositoryPattern = EVERYWHERE) -> Retention:
    """A whole run."""
    return [report async for report in retaining.run("tester", repositories, None)][-1]


async def rehearsed(retaining: Retaining) -> Retention:
    """What a run would do."""
    return [report async for report in retaining.rehearse("tester", EVERYWHERE, None)][-1]


async def builds(world: World, count: int = 5, name: RepositoryName = NAME) -> list[Digest]:
    """Push so many images, one a day; a day more and all of them may go."""
    digests = []
    for number in range(count):
        digests.append(await world.push(image(f"{name} {number}"), Tag(f"b{number}"), name))
        world.clock.advance(days=1)
    world.clock.advance(days=1)
    return digests


async def written(world: World, *digests: Digest) -> dict[Digest, float]:
    """Manifests, with when the repository was given them."""
    return {digest: await world.store.manifests.written_at(NAME, digest) for digest in digests}


async def tags(world: World, name: RepositoryName = NAME) -> list[str]:
    return list(await world.store.links.tags(name))


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
    assert "would remove tags: 3 of 5" in told and "team/app:b0  nothing keeps it (rule 1)" in told
    assert "2  among the newest 2 pushed (rule 1)" in told


async def test_nothing_goes_unless_it_is_enforced(world: World) -> None:
    await builds(world)
    retaining = process(world, {"newest_pushed": 2}, enforce=False)
    with pytest.raises(Unsupported, match=r"retention\.enforce is false"):
        await run(retaining)
    await retaining.if_due()
    (report,) = await retaining.reports().last(10)
    assert report.dry_run and report.tags_gone == 3 and len(await tags(world)) == 5


async def test_nothing_goes_without_rules(world: World) -> None:
    await builds(world)
    retaining = process(world)
    with pytest.raises(Unsupported, match=r"no retention\.rules"):
        await run(retaining)
    await retaining.if_due()
    assert await retaining.reports().last(10) == []


async def test_a_run_that_would_remove_too_much_of_a_prefix_stops_before_anything(world: World) -> None:
    await builds(world)
    await builds(world, 2, RepositoryName("alone"))
    retaining = process(world, {"newest_pushed": 2}, max_delete_percent=59)
    report = await run(retaining)
    assert len(await tags(world)) == 5 and report.tags_gone == 0
    (reason,) = report.stopped
    assert reason.startswith("3 of the 5 tags of team would go, 60 %, and at most 59 % may. ")
    reports = [one async for one in retaining.run("tester", EVERYWHERE, 60)]
    assert reports[-1].stopped == [] and await tags(world) == ["b3", "b4"]


async def test_a_run_may_be_about_some_repositories_alone(world: World) -> None:
    await builds(world)
    await builds(world, name=OTHER)
    await run(process(world, {"newest_pushed": 2}), RepositoryPattern("team/other"))
    assert len(await tags(world)) == 5 and len(await tags(world, OTHER)) == 2


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


@pytest.mark.parametrize("same", [True, False])
async def test_what_is_pushed_after_the_look_stays(world: World, *, same: bool) -> None:
    """The very same image, pushed once more, too: its push was told that the tag stands."""
    digests = await builds(world)
    history = state_of(await world.store.history.keys(NAME, Tag("b0")))
    await world.push(image(f"{NAME} {0 if same else 1}"), Tag("b0"))
    releasing = Releasing(world.store, world.registry.intents, "retention")
    assert not await releasing.release_tag(NAME, Tag("b0"), digests[0], history)
    assert await world.store.links.tag(NAME, Tag("b0")) == digests[0 if same else 1]


async def test_what_no_tag_leads_to_goes_when_it_has_been_so_for_long_enough(world: World) -> None:
    first = await world.push(image("first"))
    child = await world.push(image("child"), Digest.of(image("child")))
    await push_index(world, [_described(image("child"))], Tag("index"))
    signature = await world.push(
        image("signature", subject=child), Digest.of(image("signature", subject=child))
    )
    alone = await world.push(image("alone"), Digest.of(image("alone")))
    world.clock.advance(days=30)
    await world.push(image("second"))
    world.clock.advance(days=6)
    rule = {"untagged_for": "7d", "name": "cleaning"}
    report = await run(process(world, rule))
    assert (report.manifests, report.manifests_gone) == (6, 1)
    assert [(one.reference, one.why) for one in report.decisions] == [
        (f"{NAME}@{alone}", "no tag has led to it for 7d (cleaning)")
    ]
    assert await world.holds(first) and not await world.holds(alone)
    world.clock.advance(days=2)
    assert (await run(process(world, rule))).manifests_gone == 1
    assert not await world.holds(first)
    assert await world.holds(child) and await world.holds(signature)
    # What a policy took comes back when an index needs it.
    await push_index(world, [_described(image("alone"))], Tag("other"))
    assert await world.holds(alone)


def _described(content: bytes) -> dict[str, Any]:
    return {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": str(Digest.of(content)),
        "size": len(content),
    }


async def test_what_is_pulled_by_its_digest_needs_no_tag(world: World) -> None:
    alone = await world.push(image("alone"), Digest.of(image("alone")))
    world.clock.advance(days=30)
    pulls = Known(days={(None, alone): world.clock.now.date()})
    assert (await run(process(world, {"untagged_for": "7d"}, pulls=pulls))).manifests_gone == 0
    assert (await run(process(world, {"untagged_for": "7d"}))).manifests_gone == 1


async def test_a_signature_s_tag_goes_with_its_image(world: World) -> None:
    (digest, *_) = await builds(world, 3)
    attached = Tag(f"sha256-{digest.encoded}.sig")
    await world.push(image("signature"), attached)
    world.clock.advance(days=2)
    rules = {"newest_pushed": 1, "untagged_for": "7d"}
    await run(process(world, rules))
    assert await tags(world) == ["b2", attached]
    world.clock.advance(days=8)
    report = await run(process(world, rules))
    assert await tags(world) == ["b2"] and not await world.holds(digest)
    assert f"belongs to {digest}, which goes" in {one.reason for one in report.decisions}
    world.clock.advance(days=8)
    assert (await run(process(world, rules))).manifests_gone == 1


async def test_where_a_manifest_cannot_be_read_no_manifest_goes(world: World) -> None:
    await builds(world, 2)
    alone = await world.push(image("alone"), Digest.of(image("alone")))
    broken = await world.push(image("broken"), Tag("broken"))
    await world.driver.put(layout.blob_data(broken), b"nonsense")
    world.clock.advance(days=30)
    report = await run(process(world, {"untagged_for": "7d"}))
    assert await world.holds(alone) and report.manifests_gone == 0
    assert [one.repository for one in report.troubles] == [NAME]
    assert str(broken) in report.troubles[0].problem


async def test_an_empty_repository_goes_off_the_lists(world: World) -> None:
    await world.store.catalog.set_complete()
    digest = await world.push(image("one"), name=OTHER)
    await builds(world, 1)
    await world.repository(OTHER).delete_manifest(digest)
    report = await run(process(world, {"empty": True, "name": "tidy"}))
    assert report.repositories_gone == 1
    assert [(one.reference, one.why) for one in report.decisions] == [
        (OTHER, "there is nothing in it (tidy)")
    ]
    assert [name async for name in world.store.catalog.names()] == [NAME]


@pytest.mark.parametrize(
    "line",
    [
        "registry.example/team/app@{digest}",
        "docker-pullable://registry.example:5000/team/app@{digest}",
        "{digest}",
        "elsewhere/name:1.0@{digest}",
        "registry.example/team/app:b0",
        "team/app:b0",
        "registry.example:5000/team/app:b0",
    ],
)
@pytest.mark.parametrize("as_json", [True, False])
async def test_what_runs_somewhere_stays(world: World, tmp_path: Path, line: str, *, as_json: bool) -> None:
    digests = await builds(world)
    lines = ["nginx", line.format(digest=digests[0])]
    text = json.dumps(lines) if as_json else "# what runs\n\n" + "\n".join(lines)
    (file := tmp_path / "in-use").write_text(text)
    retaining = process(world, {"newest_pushed": 2}, in_use=[{"file": str(file)}])
    await run(retaining)
    assert await tags(world) == ["b0", "b3", "b4"]
    explained = await retaining.explain(NAME, Tag("b0"))
    assert explained.stays and explained.reason == f"in use: {file}"


def _missing(file: Path) -> None:
    file.unlink()


def _stale(file: Path) -> None:
    os.utime(file, (0, 0))


def _nonsense(file: Path) -> None:
    file.write_text("team/app:b0\nTEAM!\n")


def _binary(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")


def _empty(file: Path) -> None:
    file.write_text("# nothing\n")


def _of_the_future(file: Path) -> None:
    os.utime(file, (4e9, 4e9))


def _numbers(file: Path) -> None:
    file.write_text("[1, 2]")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_missing, "cannot be read"),
        (_stale, "may be at most 1d old"),
        (_nonsense, "TEAM!"),
        (_binary, "cannot be read"),
        (_numbers, "cannot be read"),
        (_empty, "is empty"),
        (_of_the_future, "written in the future"),
    ],
)
async def test_a_list_that_cannot_be_relied_on_stops_the_run(
    world: World, tmp_path: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    await builds(world)
    (file := tmp_path / "in-use").write_text("team/app:b0\n")
    spoil(file)
    retaining = process(world, {"newest_pushed": 2}, in_use=[{"file": str(file)}])
    report = await run(retaining)
    assert report.failed and len(report.stopped) == 1 and sentence in report.stopped[0]
    await retaining.if_due()
    world.clock.advance(hours=1)
    await retaining.if_due()
    assert len(await retaining.reports().last(10)) == 2
    assert len(await tags(world)) == 5


async def test_one_process_at_a_time(world: World) -> None:
    await builds(world)
    one, other = process(world, {"newest_pushed": 2}), process(world, {"newest_pushed": 2}, who="other")
    async with one.leased.held() as step, asyncio.TaskGroup() as beside:

        async def work() -> None:
            while True:
                await step()

        working = beside.create_task(work())
        with pytest.raises(TooManyRequests, match=r"one .* is running retention already"):
            await run(other)
        await other.if_due()
        working.cancel()
    await run(other)
    assert await tags(world) == ["b3", "b4"]


async def test_the_schedule_runs_when_the_last_run_is_old_enough(world: World) -> None:
    await builds(world)
    retaining = process(world, {"newest_pushed": 2}, interval="2d")
    await retaining.if_due()
    assert await tags(world) == ["b3", "b4"]
    world.clock.advance(days=1)
    await retaining.if_due()
    assert len(await retaining.reports().last(10)) == 1
    world.clock.advance(days=1)
    await retaining.if_due()
    assert len(await retaining.reports().last(10)) == 2


async def test_nothing_goes_from_a_store_that_is_read_only(world: World) -> None:
    await builds(world)
    world.registry.read_only = True
    retaining = process(world, {"newest_pushed": 2})
    with pytest.raises(ReadOnly):
        await run(retaining)
    await retaining.if_due()
    assert len(await tags(world)) == 5


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


async def test_the_operations_say_how_they_ended(world: World) -> None:
    await builds(world)
    retaining = process(world, {"newest_pushed": 2}, max_delete_percent=20)
    table = {operation.name: operation for operation in operations(lambda: retaining)}

    async def ask(name: str, asked: Any, *, dry_run: bool = False) -> Result:
        context = Context("tester", dry_run=dry_run)
        outcomes = [outcome async for outcome in table[name].run(asked, context)]
        assert isinstance(outcomes[-1], Result)
        return outcomes[-1]

    assert (await ask("retention.run", Retain(), dry_run=True)).status is Status.REFUSED
    enough = Retain(max_delete_percent=Percent(100))
    assert (await ask("retention.run", enough, dry_run=True)).status is Status.DONE
    assert (await ask("retention.run", Retain())).status is Status.REFUSED
    with pytest.raises(ManifestUnknown, match="there is no tag team/app:nothing"):
        await ask("retention.explain", ExplainTag("team/app:nothing"))


async def test_an_acknowledged_image_can_be_pulled_while_a_policy_looks_at_it_again(world: World) -> None:
    """In the moment in which the link is away a pull finds the manifest in the trash."""
    child = image("child")
    digest = await world.push(child, Digest.of(child))
    seen: list[str] = []

    async def look() -> None:
        standing = await world.holds(digest)
        try:
            stored = await world.repository().manifest(digest)
            assert stored.content == child
            seen.append("standing" if standing else "away")
        except ManifestUnknown:
            seen.append("gone")

    releasing = Releasing(another(world, Watched(world, look)), world.registry.intents, "retention")
    assert await releasing.release_manifests(NAME, await written(world, digest)) == {digest}
    assert {"standing", "away"} <= set(seen) and "gone" not in seen
    with pytest.raises(ManifestUnknown):
        await world.repository().manifest(digest)


@pytest.mark.parametrize("by", ["tag", "index", "intent"])
async def test_what_comes_to_be_needed_meanwhile_comes_back(world: World, by: str) -> None:
    child = image("child")
    digest = await world.push(child, Digest.of(child))
    acts: dict[str, Callable[[], Awaitable[object]]] = {
        "tag": lambda: world.push(child, TAG),
        "index": lambda: push_index(world, [_described(child)], TAG),
        "intent": lambda: world.registry.intents.open(NAME, digest, [], []),
    }
    for number in range(1, 60):
        done: list[object] = []
        store = another(world, Watched(world, Meanwhile(number, acts[by], done).look))
        await Releasing(store, Intents(store.driver, store.effects), "retention").release_manifests(
            NAME, await written(world, digest)
        )
        if not done:
            assert number > 10
            break
        if by != "intent":
            assert (await world.repository().manifest(digest)).content == child
            named = await world.store.links.tag(NAME, TAG)
            await world.repository().delete_tag(TAG)
            if by == "index":
                await world.repository().delete_manifest(named)
        else:
            await world.registry.intents.close(str(done[0]))
        await world.push(child, Digest.of(child))


async def test_while_pulls_are_not_known_nothing_goes_that_has_no_tag(world: World) -> None:
    alone = await world.push(image("alone"), Digest.of(image("alone")))
    world.clock.advance(days=30)
    rule = {"untagged_for": "7d"}
    report = await run(process(world, rule, pulls=Known(world.clock.now.date())))
    assert await world.holds(alone) and report.waits.startswith(f"until {world.clock.now.date()} not every")
    assert f"not removed: {report.waits}" in report.told()
    world.clock.advance(days=10)
    assert (await run(process(world, rule, pulls=Known(date(2026, 1, 31))))).manifests_gone == 1


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


async def test_an_index_whose_image_runs_stays_also_where_another_came_before_it(
    world: World, tmp_path: Path
) -> None:
    """What the first index leads to lets the second fall, whose own list was not looked at before."""
    children = [image("one"), image("two")]
    digests = [await world.push(child, Digest.of(child)) for child in children]
    first = await push_index(world, [_described(children[0])], Tag("a"))
    second = await push_index(world, [_described(children[1])], Tag("b"))
    world.clock.advance(days=40)
    today = world.clock.now.date()
    days: dict[tuple[str | None, Digest | None], date] = {
        ("b", Digest.of(second)): today - timedelta(days=20),
        (None, digests[0]): today - timedelta(days=10),
    }
    (file := tmp_path / "in-use").write_text(f"{digests[1]}\n")
    retaining = process(world, {"newest_pulled": 1}, pulls=Known(days=days), in_use=[{"file": str(file)}])
    await run(retaining)
    assert await tags(world) == ["a", "b"] and first != second


async def test_an_image_that_runs_is_known_by_its_config_and_at_any_depth(
    world: World, tmp_path: Path
) -> None:
    child = image("child", layers=[b"a layer"])
    await world.push(child, Digest.of(child))
    inner = await push_index(world, [_described(child)])
    described = {**_described(inner), "mediaType": OCI_INDEX}
    await push_index(world, [described], Tag("b0"))
    world.clock.advance(days=2)
    await world.push(image("newest"), Tag("b1"))
    world.clock.advance(days=2)
    config = json.loads(child)["config"]["digest"]
    (file := tmp_path / "in-use").write_text(f"{config}\n")
    await run(process(world, {"newest_pushed": 1}, in_use=[{"file": str(file)}]))
    assert await tags(world) == ["b0", "b1"]


async def test_a_manifest_that_was_given_to_it_once_more_stays(world: World) -> None:
    alone = image("alone")
    digest = await world.push(alone, Digest.of(alone))
    before = await written(world, digest)
    world.clock.advance(days=1)
    await world.push(alone, Digest.of(alone))
    releasing = Releasing(world.store, world.registry.intents, "retention")
    assert await releasing.release_manifests(NAME, before) == set()
    assert await world.holds(digest)


@pytest.mark.parametrize("why", ["young", "in use", "always"])
async def test_a_signature_s_tag_that_stays_keeps_its_image(world: World, tmp_path: Path, why: str) -> None:
    (digest, *_) = await builds(world, 3)
    signature = image("signature")
    attached = Tag(f"sha256-{digest.encoded}.sig")
    await world.push(signature, attached)
    rules = {"newest_pushed": 1, "untagged_for": "7d"}
    more = {"always": ["sha256-*"]} if why == "always" else {}
    (file := tmp_path / "in-use").write_text(str(Digest.of(signature)) if why == "in use" else "nginx")
    retaining = process(world, {**rules, **more}, in_use=[{"file": str(file)}])
    await run(retaining)
    world.clock.advance(days=10)
    if why == "young":
        await world.push(signature, attached)
    await run(retaining)
    assert attached in await tags(world) and await world.holds(digest)


async def test_a_tag_that_cannot_be_read_keeps_what_has_no_tag(world: World) -> None:
    alone = await world.push(image("alone"), Digest.of(image("alone")))
    await world.push(image("tagged"))
    await world.driver.put(layout.tag_link(NAME, TAG), b"")
    world.clock.advance(days=30)
    report = await run(process(world, {"untagged_for": "7d"}))
    assert await world.holds(alone) and f"the tag {TAG} names cannot be read" in report.troubles[0].problem


async def test_a_tag_whose_manifest_cannot_be_read_stays(world: World) -> None:
    digests = await builds(world)
    await world.driver.put(layout.blob_data(digests[0]), b"nonsense")
    await run(process(world, {"newest_pushed": 2}))
    assert await tags(world) == ["b0", "b3", "b4"]


async def test_a_store_that_becomes_read_only_stops_it_at_once(world: World) -> None:
    await builds(world)
    retaining = process(world, {"newest_pushed": 2})
    with pytest.raises(ReadOnly):
        async for report in retaining.run("tester", EVERYWHERE, None):
            world.registry.read_only = True
            assert report.ended is None
    assert len(await tags(world)) == 5
    world.registry.read_only = False
    await retaining.if_due()
    assert await tags(world) == ["b3", "b4"]


async def test_what_would_be_too_much_by_the_second_look_stays_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await builds(world, 10)
    weigh = Shares.weigh

    def flooded(self: Shares) -> None:
        weigh(self)
        self._there.clear()  # as if all of it had been pushed since

    monkeypatch.setattr(Shares, "weigh", flooded)
    report = await run(process(world, {"newest_pushed": 9}, max_delete_percent=20))
    assert len(await tags(world)) == 10 and report.stopped


async def test_one_prefix_does_not_stop_the_others(world: World) -> None:
    await builds(world, 10)
    small = RepositoryName("small/app")
    await builds(world, 2, small)
    rules = [
        {"newest_pushed": 1, "repositories": ["small/*"]},
        {"newest_pushed": 8, "repositories": ["team/*"]},
    ]
    report = await run(process(world, *rules, max_delete_percent=20))
    assert len(await tags(world)) == 8 and len(await tags(world, small)) == 2
    assert [reason.split(" would")[0] for reason in report.stopped] == ["1 of the 2 tags of small"]


async def test_an_index_goes_with_what_it_lists_and_what_refers_to_it(world: World) -> None:
    child, signature = image("child"), image("signature", subject=Digest.of(image("child")))
    for content in (child, signature):
        await world.push(content, Digest.of(content))
    await push_index(world, [_described(child)])
    world.clock.advance(days=30)
    assert (await run(process(world, {"untagged_for": "7d"}))).manifests_gone == 3


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"rules": [{"repositories": ["a"], "tags": ["b"], "untagged_for": "7d"}]}, "make it two rules"),
        ({"rules": [{"repositories": ["a"], "always": ["b"], "empty": True}]}, "make it two rules"),
        ({"rules": [{"repositories": ["a"], "pulled_within": "399d"}]}, "longer than pulls are known"),
        ({"rules": [{"repositories": ["a"], "untagged_for": "400d"}]}, "longer than pulls are known"),
        ({"rules": [{"repositories": ["a"], "tags": ["re:(a+)+"], "newest_pushed": 1}]}, "repeats no group"),
        ({"rules": [{"repositories": ["a"], "tags": ["re:.*.*.*.*"], "newest_pushed": 1}]}, "at most three"),
        ({"rules": [{"repositories": [], "newest_pushed": 1}]}, "at least 1"),
    ],
)
def test_settings_that_cannot_mean_what_they_say_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        UpkeepSettings.model_validate({"retention": settings})


def test_expressions_that_are_plain_enough_are_taken() -> None:
    for text in (r"re:v?[0-9]+\.[0-9]+", "re:(a|b)-[a-z+*]+", r"re:\(+x", "re:pr-[0-9]{1,5}(-rc)?"):
        assert TagSelector(text).text == text


class Watched:
    """A driver before each call of which something is done."""

    def __init__(self, world: World, look: Callable[[], Awaitable[None]]) -> None:
        self._driver = world.driver
        self._look = look

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._driver, name)
        if name not in ("get", "put", "stat", "copy", "delete", "children"):
            return method

        async def call(*arguments: Any, **options: Any) -> Any:
            await self._look()
            return await method(*arguments, **options)

        return call


class Meanwhile:
    """Does something at the look of a number, and keeps in `done` what came of it."""

    def __init__(self, number: int, act: Callable[[], Awaitable[object]], done: list[object]) -> None:
        self._left = number
        self._act = act
        self._done = done

    async def look(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._done.append(await self._act())


@pytest.fixture
def world() -> World:
    """An empty one."""
    return World()
