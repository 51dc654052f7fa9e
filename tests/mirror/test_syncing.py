"""Mirroring ahead of being asked: what is selected comes whole, and what came of it is told."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from registry.errors import TooManyRequests
from registry.mirror.images import Came
from registry.mirror.syncing import Synced, Syncing
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE, OCI_INDEX
from registry.model.names import Tag
from registry.model.selection import newest
from tests.inmemory import descriptor, image
from tests.mirror.shelf import HERE, LATEST, Around

Make = Callable[..., Around]
ALL: dict[str, Any] = {"sync": [{"repositories": ["library/app"]}], "fresh_for": "0s"}


async def sync(hub: Around, *, dry_run: bool = False) -> Synced:
    return [one async for one in syncing(hub).run(dry_run=dry_run) if isinstance(one, Synced)][-1]


def syncing(hub: Around) -> Syncing:
    return Syncing(hub.world.registry, hub.mirror, who="the first", clock=hub.time)


async def is_whole(hub: Around, digest: Digest) -> bool:
    """Whether a manifest and its blobs are held."""
    stored = await hub.world.repository(HERE).manifest_or_none(digest)
    if stored is None:
        return False
    document = json.loads(stored.content)
    for one in [document["config"], *document["layers"]]:
        await hub.world.repository(HERE).blob(Digest.parse(one["digest"]), may_push=False)
    return True


def index(hub: Around, tag: str, images: list[tuple[bytes, str]]) -> Digest:
    manifests = []
    for content, architecture in images:
        hub.shelf.add(content)
        platform = {"os": "linux", "architecture": architecture}
        manifests.append({**descriptor(content), "mediaType": OCI_IMAGE, "platform": platform})
    content = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()
    hub.shelf.manifests[tag] = hub.shelf.manifests[str(Digest.of(content))] = content
    return Digest.of(content)


async def test_what_is_selected_comes_whole(around: Make) -> None:
    hub = around(**ALL)
    one = hub.shelf.add(image("one", layers=[b"a", b"b"]), "1.0.0")
    two = hub.shelf.add(image("two", layers=[b"b", b"c"]), "2.0.0")
    synced = await sync(hub)
    assert synced.failures == []
    assert (synced.images, synced.blobs, synced.manifests) == (2, 4, 2)
    assert sorted(synced.moved) == ["hub/library/app:1.0.0", "hub/library/app:2.0.0"]
    hub.shelf.fail("unreachable")
    assert await is_whole(hub, one) and await is_whole(hub, two)


async def test_what_has_not_moved_is_not_fetched_again(around: Make) -> None:
    hub = around(**ALL)
    hub.shelf.add(image("one"), "latest")
    await sync(hub)
    asked = hub.shelf.calls.copy()
    synced = await sync(hub)
    assert (synced.images, synced.moved, synced.blobs) == (1, [], 0)
    assert hub.shelf.calls["manifest"] == asked["manifest"]
    assert hub.shelf.calls["blob"] == asked["blob"]
    assert hub.shelf.calls["head_manifest"] == 1, "whether it has moved is asked once"


async def test_a_dry_run_says_what_has_moved_and_fetches_nothing(around: Make) -> None:
    hub = around(**ALL)
    hub.shelf.add(image("one"), "latest")
    synced = await sync(hub, dry_run=True)
    assert synced.moved == ["hub/library/app:latest"]
    assert hub.shelf.calls["blob"] == hub.shelf.calls["manifest"] == 0
    assert await hub.world.keys("docker") == []
    assert await syncing(hub).reports.newest() is None


async def test_tags_are_selected_and_of_versions_the_newest(around: Make) -> None:
    hub = around(sync=[{"repositories": ["library/app"], "tags": ["semver:<3.0.0", "latest"], "newest": 2}])
    for tag in ("1.0.0", "2.0.0", "2.1.0", "3.0.0", "latest", "other"):
        hub.shelf.add(image(tag), tag)
    synced = await sync(hub)
    assert sorted(synced.moved) == ["hub/library/app:2.0.0", "hub/library/app:2.1.0"]


async def test_of_an_index_only_the_platforms_come_and_it_stays_as_it_is(around: Make) -> None:
    hub = around(sync=[{"repositories": ["library/app"], "platforms": ["linux/amd64"]}])
    amd, arm = image("amd"), image("arm", layers=[b"arm"])
    digest = index(hub, "multi", [(amd, "amd64"), (arm, "arm64")])
    await sync(hub)
    assert (await hub.world.repository(HERE).manifest(Tag("multi"))).digest == digest
    assert await is_whole(hub, Digest.of(amd))
    assert not await is_whole(hub, Digest.of(arm))


@pytest.mark.parametrize("lists", [True, False])
async def test_referrers_come_too(around: Make, lists: bool) -> None:
    hub = around(**ALL)
    hub.shelf.lists_referrers = lists
    subject = hub.shelf.add(image("one"), "latest")
    signature = image("signature", layers=[b"signed"], subject=subject)
    hub.shelf.add(signature)
    if not lists:
        fallback = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor(signature)]}
        hub.shelf.manifests[f"sha256-{subject.encoded}"] = json.dumps(fallback).encode()
    synced = await sync(hub)
    assert synced.failures == []
    page = await hub.world.repository(HERE).referrers(subject, artifact_types=[], after="")
    assert [json.loads(one)["digest"] for one in page.entries] == [str(Digest.of(signature))]


async def test_a_pattern_means_what_is_held(around: Make) -> None:
    hub = around(sync=[{"repositories": ["library/*"]}], fresh_for="0s")
    hub.shelf.add(image("one"), "latest")
    assert (await sync(hub)).images == 0
    await hub.repository().manifest(LATEST)
    assert (await sync(hub)).images == 1


async def test_what_fails_is_told_and_the_rest_comes(around: Make) -> None:
    hub = around(**ALL)
    broken = image("broken", layers=[b"missing"])
    hub.shelf.add(broken, "broken")
    del hub.shelf.blobs[str(Digest.of(b"missing"))]
    hub.shelf.add(image("sound"), "sound")
    synced = await sync(hub)
    assert [one.partition(": ")[0] for one in synced.failures] == ["hub/library/app:broken"]
    assert await is_whole(hub, hub.shelf.add(image("sound")))
    hub.shelf.fail("unreachable")
    assert len((await sync(hub)).failures) == 1


async def test_how_much_is_yet_to_come_is_told_as_soon_as_it_is_known(around: Make) -> None:
    hub = around(**ALL)
    large, held = os.urandom(9 << 20), b"held"
    hub.shelf.add(image("one", layers=[large, held]), "1")
    hub.shelf.add(image("two", layers=[held, b"more"]), "2")
    await hub.read(Digest.of(held))
    more = hub.shelf.hold(5 << 20)
    told: list[tuple[int, int]] = []
    async for one in syncing(hub).run(dry_run=False):
        if isinstance(one, Came) and (one.size_bytes, one.expected_bytes) not in told:
            told.append((one.size_bytes, one.expected_bytes))
            if one.size_bytes:
                # A large blob is told of while it comes.
                more.set()
    first = len(large) + len(b"{}")
    assert told[0] == (0, first), "what its manifest says, and is not held"
    assert told == sorted(told), "neither goes back"
    assert told[-1] == (first + 4, first + 4) and (first, first + 4) in told


async def test_what_does_not_come_is_not_waited_for(around: Make) -> None:
    hub = around(**ALL)
    hub.shelf.add(image("broken", layers=[b"missing", b"there"]), "1")
    del hub.shelf.blobs[str(Digest.of(b"missing"))]
    hub.shelf.add(image("sound", layers=[b"sound"]), "2")
    *coming, synced = [one async for one in syncing(hub).run(dry_run=False)]
    assert isinstance(synced, Synced) and len(synced.failures) == 1
    last = coming[-1]
    assert isinstance(last, Came) and last.expected_bytes == last.size_bytes == synced.size_bytes


async def test_it_is_done_when_it_is_due_whoever_did_it_last(around: Make) -> None:
    hub = around(**ALL, sync_interval="1h")
    hub.shelf.add(image("one"), "latest")
    await syncing(hub).if_due()
    assert hub.shelf.calls["tags"] == 1
    await syncing(hub).if_due()
    assert hub.shelf.calls["tags"] == 1
    hub.world.clock.advance(hours=1)
    await syncing(hub).if_due()
    assert hub.shelf.calls["tags"] == 2
    assert len(await syncing(hub).reports.last(10)) == 2


@pytest.mark.parametrize("when", [{"sync_interval": "1d"}, {"sync_schedule": "0 3 * * *"}])
async def test_a_clock_that_was_wrong_for_once_does_not_end_it(around: Make, when: dict[str, str]) -> None:
    hub = around(**ALL, **when)
    hub.shelf.add(image("one"), "latest")
    process = syncing(hub)
    hub.world.clock.advance(days=3650)
    await process.if_due()
    hub.world.clock.advance(days=-3649)
    for number in range(3):
        await process.if_due()
        await process.if_due()
        assert hub.shelf.calls["tags"] == number + 2
        hub.world.clock.advance(days=1)


async def test_it_is_done_at_set_times_and_once_for_all_that_were_missed(around: Make) -> None:
    hub = around(**ALL, sync_schedule="0 3 * * *")
    hub.shelf.add(image("one"), "latest")
    process = syncing(hub)

    async def times(**passed: float) -> int:
        """How often it has been done when so much time has passed."""
        hub.world.clock.advance(**passed)
        await process.if_due()
        return hub.shelf.calls["tags"]

    hub.world.clock.now = datetime(2026, 1, 1, tzinfo=UTC)
    assert await times() == 0, "the first time is waited for"
    assert await times(hours=2, minutes=59) == 0
    assert await times(minutes=1) == 1
    assert await times(minutes=1) == 1
    # Nobody was there for days, and it is another process that comes.
    process = syncing(hub)
    assert await times(days=4) == 2
    assert await times(hours=23, minutes=58) == 2
    assert await times(minutes=1) == 3


async def test_one_process_at_a_time_does_it(around: Make) -> None:
    hub = around(**ALL)
    hub.shelf.add(image("one"), "latest")
    first = Syncing(hub.world.registry, hub.mirror, who="the first", seconds=4.0)
    running = first.run(dry_run=False)
    await anext(running)
    # Its holder says all the time that it is alive.
    second = Syncing(hub.world.registry, hub.mirror, who="the second", seconds=4.0)
    with pytest.raises(TooManyRequests, match=r"the first .* is mirroring hub already"):
        await anext(second.run(dry_run=False))
    assert [one async for one in running if isinstance(one, Synced)][-1].images == 1
    assert (await sync(hub)).images == 1


def test_the_newest_are_by_version() -> None:
    tags = [Tag(one) for one in ("1.9.0", "1.10.0", "v1.2.0", "latest", "1.10.0-rc.1")]
    assert newest(tags, 2) == ["1.10.0", "1.10.0-rc.1"]
    assert newest(tags, None) == sorted(tags)


class TestWhatIsGoneThere:
    FOLLOWING: dict[str, Any] = {"sync": [{"repositories": ["library/app"], "tags": ["v*"], "delete": True}]}

    async def test_stays_by_default(self, around: Make) -> None:
        hub = around(**ALL)
        hub.shelf.add(image("one"), "v1")
        hub.shelf.add(image("two"), "v2")
        await sync(hub)
        del hub.shelf.manifests["v1"]
        assert (await sync(hub)).removed == []
        assert await hub.world.store.links.tags(HERE) == ["v1", "v2"]

    async def test_goes_where_that_is_set_and_can_be_brought_back(self, around: Make) -> None:
        hub = around(**self.FOLLOWING)
        hub.shelf.add(image("one"), "v1")
        hub.shelf.add(image("two"), "v2")
        await sync(hub)
        del hub.shelf.manifests["v1"]
        assert (await sync(hub, dry_run=True)).removed == ["hub/library/app:v1"]
        assert await hub.world.store.links.tags(HERE) == ["v1", "v2"]
        assert (await sync(hub)).removed == ["hub/library/app:v1"]
        assert await hub.world.store.links.tags(HERE) == ["v2"]
        assert any("/trash/links/hub/library/app/_/tags/v1/c-" in key for key in await hub.world.keys())

    async def test_what_was_pushed_here_or_is_not_selected_stays(self, around: Make) -> None:
        hub = around(**self.FOLLOWING)
        hub.shelf.add(image("one"), "v1")
        hub.shelf.add(image("other"), "other")
        await sync(hub)
        await hub.repository().manifest(Tag("other"))
        await hub.world.push(image("ours"), Tag("v-ours"), HERE)
        del hub.shelf.manifests["other"]
        assert (await sync(hub)).removed == []

    async def test_an_upstream_that_lists_nothing_empties_nothing(self, around: Make) -> None:
        hub = around(**self.FOLLOWING)
        hub.shelf.add(image("one"), "v1")
        await sync(hub)
        hub.shelf.manifests.clear()
        synced = await sync(hub)
        assert synced.removed == []
        assert "no tags at all" in synced.failures[0]
