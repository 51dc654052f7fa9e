"""Runs of retention over a store in memory: what goes, what stays, and what stops a run."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from registry.errors import ManifestUnknown, ReadOnly, TooManyRequests, Unsupported
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.patterns import RepositoryPattern
from registry.removal.intents import Intents
from registry.removal.releasing import Releasing
from registry.store import layout
from registry.upkeep.retention.judging import Pulls
from registry.upkeep.retention.operations import ExplainTag, Retain, operations
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

    async def of() -> Pulls:
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
    assert len(await tags(world)) == 5 and report.tags_gone == 3
    (reason,) = report.stopped
    assert reason.startswith("3 of the 5 tags of team would go, 60 %, and at most 59 % may; ")
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
    keys = await world.store.history.keys(NAME, Tag("b0"))
    await world.push(image(f"{NAME} {0 if same else 1}"), Tag("b0"))
    releasing = Releasing(world.store, world.registry.intents, "retention")
    assert not await releasing.release_tag(NAME, Tag("b0"), digests[0], keys)
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
    ],
)
async def test_a_list_that_cannot_be_relied_on_stops_the_run(
    world: World, tmp_path: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    await builds(world)
    (file := tmp_path / "in-use").write_text("team/app:b0\n")
    spoil(file)
    retaining = process(world, {"newest_pushed": 2}, in_use=[{"file": str(file)}])
    with pytest.raises(Unsupported, match=sentence):
        await run(retaining)
    await retaining.if_due()
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

    assert (await ask("retention.run", Retain(), dry_run=True)).status is Status.DONE
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
    assert await releasing.release_manifests(NAME, [digest]) == {digest}
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
            NAME, [digest]
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
