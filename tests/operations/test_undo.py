"""The operations of undoing, under rules: what each takes, and what it tells to whom."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from registry.core import tag_operations as tag_operations_module
from registry.core.operations import operations as core_operations
from registry.core.registry import Registry
from registry.core.tag_operations import operations as tag_operations
from registry.core.trash_operations import operations as trash_operations
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.removal.runs import Move
from registry.store import layout
from tests.inmemory import NAME, TAG, World, image
from tests.operations.asking import Client, KnownNames, api, policy_of
from tests.upkeep.gathering import aged

RULES = """
- {who: anonymous, repositories: ['team/app'], may: [pull]}
- {who: 'user:alice', repositories: ['team/**'], may: [pull, push, delete]}
- {who: 'user:bob', repositories: ['team/prod'], may: [pull, push]}
- {who: 'user:carol', repositories: ['team/**'], may: [pull, create]}
- {who: 'user:dora', repositories: ['**'], may: [admin]}
- {who: 'user:erin', repositories: ['**'], may: [admin, pull, push]}
- {who: anonymous, repositories: ['**'], tags: ['v*'], deny: [overwrite, delete]}
"""
PROD = RepositoryName("team/prod")
KEPT = timedelta(days=7)


@pytest.fixture
async def world() -> World:
    made = World()
    await made.push(image("old"))
    made.clock.advance(seconds=1)
    await made.push(image("new"))
    await made.push(image("new"), Tag("v1"))
    made.clock.advance(seconds=1)
    return made


class Somebody:
    """Asks as somebody by name; as nobody in particular without one."""

    def __init__(self, world: World, folder: Path) -> None:
        def registry() -> Registry:
            return world.registry

        table = [
            *core_operations(registry),
            *tag_operations(registry),
            *trash_operations(registry, KEPT),
        ]
        self._client = Client(api(table, gate=KnownNames(policy_of(RULES, folder))))

    async def ask(self, who: str, operation: str, /, **document: object) -> tuple[int, dict[str, Any]]:
        headers = [("authorization", f"user:{who}")] if who else []
        answer = await self._client.do(operation, headers, **document)
        return answer.status, answer.json()

    async def done(self, who: str, operation: str, /, **document: object) -> dict[str, Any]:
        status, answer = await self.ask(who, operation, **document)
        assert status == 200, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def refused(self, who: str, operation: str, /, **document: object) -> str:
        status, answer = await self.ask(who, operation, **document)
        assert status == (403 if who else 401), answer
        return str(answer["errors"][0]["message"])


@pytest.fixture
def somebody(world: World, tmp_path: Path) -> Somebody:
    return Somebody(world, tmp_path)


OLD, NEW = (str(Digest.of(image(note))) for note in ("old", "new"))


async def test_a_history_has_the_newest_first_and_pages(somebody: Somebody) -> None:
    shown = await somebody.done("alice", "tag.history", reference="team/app:latest")
    assert [(one["replaced"], one["digest"]) for one in shown["entries"]] == [(OLD, NEW), (None, OLD)]
    assert [one["at"] for one in shown["entries"]] == [
        "2026-01-01T00:00:01+00:00",
        "2026-01-01T00:00:00+00:00",
    ]
    assert shown["next"] is None
    first = await somebody.done("alice", "tag.history", reference="team/app:latest", limit=1)
    assert first["entries"] == shown["entries"][:1]
    second = await somebody.done("alice", "tag.history", reference="team/app:latest", last=first["next"])
    assert (second["entries"], second["next"]) == (shown["entries"][1:], None)


async def test_who_may_only_pull_is_not_told_who_works_here(somebody: Somebody) -> None:
    for who, told in (("", None), ("alice", "tester"), ("carol", "tester")):
        shown = await somebody.done(who, "tag.history", reference="team/app:latest")
        assert [one["by"] for one in shown["entries"]] == [told, told]
    assert await somebody.refused("bob", "tag.history", reference="team/web:latest")


async def test_a_tag_without_a_history_is_told_and_one_that_never_was_is_not_there(
    somebody: Somebody, world: World
) -> None:
    await world.store.links.put_tag(NAME, Tag("adopted"), Digest.parse(OLD))
    status, answer = await somebody.ask("alice", "tag.history", reference="team/app:adopted")
    assert (status, answer["result"]["entries"]) == (200, [])
    assert "another program has set it" in answer["note"]
    status, answer = await somebody.ask("alice", "tag.history", reference="team/app:never")
    assert (status, answer["errors"][0]["message"]) == (404, "there is no tag team/app:never")


async def test_a_history_outlives_the_tag_and_its_repository(somebody: Somebody, world: World) -> None:
    await somebody.done("alice", "tag.delete", reference="team/app:latest")
    world.clock.advance(seconds=1)
    await world.registry.door.remove_repository(NAME, "tester")
    shown = await somebody.done("alice", "tag.history", reference="team/app:latest")
    assert (shown["entries"][0]["by"], shown["entries"][0]["digest"]) == ("user:alice", None)


async def test_a_restore_takes_what_a_push_of_the_tag_takes(somebody: Somebody, world: World) -> None:
    reference = {"reference": f"team/app:latest@{OLD}"}
    await somebody.refused("", "tag.restore", **reference)
    await somebody.refused("bob", "tag.restore", **reference)
    assert "overwrite team/app:latest" in await somebody.refused("carol", "tag.restore", **reference)
    assert "overwrite team/app:v1" in await somebody.refused(
        "alice", "tag.restore", reference=f"team/app:v1@{OLD}"
    )
    assert (await world.store.links.tag(NAME, TAG)) == Digest.parse(NEW)
    restored = await somebody.done("alice", "tag.restore", **reference)
    assert (restored["digest"], restored["missing"]) == (OLD, [])
    assert (await world.store.links.tag(NAME, TAG)) == Digest.parse(OLD)
    shown = await somebody.done("alice", "tag.history", reference="team/app:latest", limit=1)
    assert shown["entries"][0]["by"] == "user:alice"
    # Who may create a tag may restore one that is not there.
    await somebody.done("alice", "tag.delete", reference="team/app:latest")
    await somebody.done("carol", "tag.restore", **reference)


async def test_a_copy_takes_pull_there_and_a_push_here(somebody: Somebody, world: World) -> None:
    asked = {"source": "team/app:latest", "target": "team/prod:latest"}
    await somebody.refused("", "tag.copy", **asked)
    # Who may not pull from the source hears the same whatever is there.
    for source in ("team/app:latest", "team/app:none", "team/none:latest"):
        refused = await somebody.refused("eve", "tag.copy", **{**asked, "source": source})
        assert "push to team/prod" in refused
    bob = {
        await somebody.refused("bob", "tag.copy", **{**asked, "source": f"team/web:{one}"}) for one in "ab"
    }
    assert bob == {"no access rule grants user:bob to pull from team/web"}
    copied = await somebody.done("bob", "tag.copy", **asked)
    assert copied["digest"] == NEW
    await somebody.done("alice", "tag.copy", source=f"team/app@{OLD}", target="team/prod:v1")
    assert "overwrite team/prod:v1" in await somebody.refused(
        "alice", "tag.copy", source="team/app:latest", target="team/prod:v1"
    )
    status, answer = await somebody.ask("alice", "tag.copy", source="team/app:no", target="team/prod:x")
    assert (status, answer["errors"][0]["message"]) == (404, "there is no team/app:no")
    assert (await world.store.links.tag(PROD, Tag("v1"))) == Digest.parse(OLD)


async def test_a_deleted_repository_comes_back_for_who_may_push_to_it(
    somebody: Somebody, world: World
) -> None:
    await world.registry.door.remove_repository(NAME, "tester")
    await somebody.refused("bob", "repo.restore", repository="team/app")
    # A new tag in the place of one: it may be moved by nobody.
    await world.push(image("third"), Tag("v1"))
    before = await world.keys()
    status, answer = await somebody.ask("alice", "repo.restore", repository="team/app")
    assert (status, answer["status"]) == (405, "refused")
    assert "overwrite team/app:v1" in await somebody.refused(
        "alice", "repo.restore", repository="team/app", overwrite=True
    )
    assert await world.keys() == before
    await world.repository().delete_tag(Tag("v1"))
    restored = await somebody.done("carol", "repo.restore", repository="team/app")
    assert (restored["tags"], restored["manifests"]) == (["latest", "v1"], 2)
    run = restored["run"]
    status, answer = await somebody.ask("alice", "repo.restore", repository="team/prod", run=run)
    assert status == 404


async def test_the_trash_is_for_who_administers_the_registry(somebody: Somebody, world: World) -> None:
    await world.repository().delete_tag(TAG)
    await somebody.refused("alice", "trash.list", repository="team/app")
    _, answer = await somebody.ask("dora", "trash.list", repository="team/ap")
    assert answer["note"] == "the trash has nothing of team/ap"
    listed = await somebody.done("dora", "trash.list", repository="team/app")
    (one,) = listed["runs"]
    assert (one["by"], one["repository"], one["tags"], one["manifests"]) == (
        "tester",
        "team/app",
        1,
        0,
    )
    await somebody.refused("alice", "trash.restore", run=one["run"])
    assert "push to team/app" in await somebody.refused("dora", "trash.restore", run=one["run"])
    restored = await somebody.done("erin", "trash.restore", run=one["run"])
    assert restored["tags"] == ["latest"]
    assert await world.store.links.tag(NAME, TAG) == Digest.parse(NEW)


async def test_the_trash_lists_all_the_newest_first_and_until_when(somebody: Somebody, world: World) -> None:
    await world.repository().delete_tag(TAG)
    world.clock.advance(seconds=1)
    await world.repository().delete_manifest(Digest.parse(OLD))
    digest = await world.blob(b"data")
    await world.driver.copy(f"{layout.trash_data(digest)}/c-1", layout.blob_data(digest))
    world.clock.advance(seconds=1)
    move = Move(layout.blob_data(digest), f"{layout.trash_data(digest)}/c-1", 4)
    await world.registry.restoring.trashed.runs.record("c-1", None, [move], "collector", done=True)
    listed = await somebody.done("dora", "trash.list")
    told = [
        (one["repository"], one["tags"], one["manifests"], one["data"], one["size_bytes"])
        for one in listed["runs"]
    ]
    assert told == [(None, 0, 0, 1, 4), ("team/app", 0, 1, 0, 0), ("team/app", 1, 0, 0, 0)]
    assert listed["runs"][0]["until"] == (world.clock.now + KEPT).isoformat()
    page = await somebody.done("dora", "trash.list", limit=1)
    rest = await somebody.done("dora", "trash.list", last=page["next"])
    assert [*page["runs"], *rest["runs"]] == listed["runs"]


async def test_what_a_removal_holds_is_shown_a_page_at_a_time(somebody: Somebody, world: World) -> None:
    await world.repository().delete_tag(TAG)
    await world.registry.door.remove_repository(NAME, "tester")
    runs = (await somebody.done("dora", "trash.list"))["runs"]
    (whole,) = [one for one in runs if one["manifests"]]
    await somebody.refused("alice", "trash.show", run=whole["run"])
    shown = await somebody.done("dora", "trash.show", run=whole["run"])
    assert [shown[name] for name in ("by", "repository", "until", "why", "next")] == [
        *("tester", "team/app", whole["until"]),
        *(None, None),
    ]
    items = shown["items"]
    kinds = [one["kind"] for one in items]
    assert (kinds.count("tag"), kinds.count("manifest"), kinds.count("blob")) == (
        *(whole["tags"], whole["manifests"]),
        whole["blobs"],
    )
    assert {"kind": "tag", "tag": "v1", "digest": NEW, "size_bytes": None} in items
    assert {"kind": "manifest", "tag": None, "digest": OLD, "size_bytes": len(image("old"))} in items
    assert {"kind": "blob", "tag": None, "digest": str(Digest.of(b"layer")), "size_bytes": 5} in items
    paged: list[object] = []
    last: dict[str, int] = {}
    while True:
        page = await somebody.done("dora", "trash.show", run=whole["run"], limit=2, **last)
        assert len(page["items"]) <= 2
        paged += page["items"]
        if page["next"] is None:
            break
        last = {"last": page["next"]}
    assert paged == items
    status, _ = await somebody.ask("dora", "trash.show", run="u-none")
    assert status == 404


async def test_what_a_collection_took_is_shown_with_the_reason(somebody: Somebody, world: World) -> None:
    digest = await world.blob(b"alone")
    report = await aged(world)
    (link, data) = report.removals
    shown = await somebody.done("dora", "trash.show", run=link.run)
    assert (shown["by"], shown["why"]) == ("collection", "needed by no manifest")
    # Its bytes lie in the trash, too.
    item = {"tag": None, "digest": str(digest), "size_bytes": 5}
    assert shown["items"] == [{"kind": "blob", **item}]
    shown = await somebody.done("dora", "trash.show", run=data.run)
    assert (shown["repository"], shown["items"]) == (None, [{"kind": "data", **item}])
    listed = (await somebody.done("dora", "trash.list"))["runs"]
    assert {one["why"] for one in listed} == {"needed by no manifest", "no repository links to it"}
    await world.remove_all(await world.keys(layout.TRASH_DATA))
    shown = await somebody.done("dora", "trash.show", run=link.run)
    assert shown["items"] == [{"kind": "blob", **item, "size_bytes": None}]
    _, answer = await somebody.ask("dora", "trash.show", run=data.run)
    assert answer["note"] == "all that it took is back, or was never there"


async def test_data_that_was_taken_comes_back_alone(somebody: Somebody, world: World) -> None:
    digests = [await world.blob(content) for content in (b"one", b"two")]
    moves = [Move(layout.blob_data(one), f"{layout.trash_data(one)}/c-1") for one in digests]
    await world.registry.restoring.trashed.runs.record("c-1", None, moves, "collector", done=True)
    await world.driver.copy(moves[0].trash, moves[0].key)
    await world.remove_all([move.key for move in moves])
    restored = await somebody.done("dora", "trash.restore", run="c-1")
    assert (restored["repository"], restored["data"], restored["missing"]) == (None, 1, [str(digests[1])])
    assert (await world.store.content.stat(digests[0])).size_bytes == 3


async def test_a_record_of_an_odd_time_hides_no_other(somebody: Somebody, world: World) -> None:
    await world.repository().delete_tag(TAG)
    (key,) = await world.keys(layout.TRASH_RUNS)
    document = json.loads(await world.driver.get(key, limit=1 << 20))
    for number, at in enumerate(("yesterday", "0001-01-01T00:00:00+23:00", "2026-01-01T00:00:00")):
        odd = json.dumps({**document, "at": at}).encode()
        await world.driver.put(layout.trash_run(f"u-{number}"), odd)
    listed = await somebody.done("dora", "trash.list")
    assert key.rpartition("/")[2] in [one["run"] for one in listed["runs"]]


async def test_a_long_history_is_told_a_page_at_a_time(
    somebody: Somebody, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tag_operations_module, "_MOST", 2)
    digest = Digest.parse(OLD)
    for _ in range(5):
        world.clock.advance(seconds=1)
        await world.store.history.add(NAME, Tag("long"), digest, None, "tester")
    entries: list[str] = []
    last, pages = "", 0
    while last is not None:
        page = await somebody.done("alice", "tag.history", reference="team/app:long", limit=10**9, last=last)
        entries += [one["entry"] for one in page["entries"]]
        last, pages = page["next"], pages + 1
    assert (len(entries), entries, pages) == (5, sorted(entries, reverse=True), 3)
    # Behind the last entry there is nothing, and the tag has a history all the same.
    status, answer = await somebody.ask("alice", "tag.history", reference="team/app:long", last=entries[-1])
    assert (status, answer["result"]["entries"]) == (200, [])
    assert "note" not in answer or "another program" not in answer["note"]


@pytest.mark.parametrize(
    "reference", ["team/app:x", "team/app@sha256:x", "team:1/app:x@sha256:0", "team/app@"], ids=len
)
async def test_an_error_repeats_little_of_what_was_asked(somebody: Somebody, reference: str) -> None:
    long = reference + "x" * 20_000
    for operation, asked in (
        ("tag.restore", {"reference": long}),
        ("tag.copy", {"source": long, "target": "team/prod:x"}),
        ("tag.copy", {"source": f"team/app:x@{long}", "target": "team/prod:x"}),
        ("tag.copy", {"source": "team/app:latest", "target": long}),
        ("tag.history", {"reference": long}),
    ):
        status, answer = await somebody.ask("alice", operation, **asked)
        assert status == 400
        assert len(answer["errors"][0]["message"]) < 500
