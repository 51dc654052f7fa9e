"""Tags of a namespace: as fresh as was set, and given when the upstream is not there to ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import cast

import pytest

from registry.errors import Denied, ManifestUnknown, StorageDamaged, TooManyRequests, Unavailable
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE, OCI_INDEX
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from tests.inmemory import descriptor, image
from tests.mirror.shelf import HERE, HUB, LATEST, Around, Shelf

Make = Callable[..., Around]


async def test_a_tag_is_fetched_once_and_then_given_without_asking(around: Make) -> None:
    hub = around()
    digest = hub.shelf.add(image("one"), "latest")
    for _ in range(3):
        assert (await hub.repository().manifest(LATEST)).digest == digest
    assert hub.shelf.calls == {"manifest": 1}
    assert hub.warnings == []


async def test_a_tag_that_is_not_fresh_is_asked_for_by_a_head(around: Make) -> None:
    hub = around(fresh_for="5m")
    digest = hub.shelf.add(image("one"), "latest")
    await hub.repository().manifest(LATEST)
    hub.time.now += 301
    assert (await hub.repository().manifest(LATEST)).digest == digest
    await hub.repository().manifest(LATEST)
    assert hub.shelf.calls == {"manifest": 1, "head_manifest": 1}


async def test_a_tag_that_has_moved_moves_here_and_its_history_says_who_did_it(around: Make) -> None:
    hub = around(fresh_for="5m")
    hub.shelf.add(image("one"), "latest")
    await hub.repository().manifest(LATEST)
    moved = hub.shelf.add(image("two"), "latest")
    assert (await hub.repository().manifest(LATEST)).digest != moved, "it is fresh for five minutes"
    hub.time.now += 301
    assert (await hub.repository().manifest(LATEST)).digest == moved
    history = hub.world.store.history
    moves = [await history.read(key) for key in await history.keys(HERE, LATEST)]
    assert [move.by for move in moves if move] == ["mirror:hub", "mirror:hub"]


async def test_many_who_ask_for_one_tag_ask_once(around: Make) -> None:
    hub = around()
    hub.shelf.add(image("one"), "latest")
    hub.shelf.slow.clear()
    asking = [asyncio.create_task(hub.repository().manifest(LATEST)) for _ in range(50)]
    await asyncio.sleep(0)
    hub.shelf.slow.set()
    assert len({(await one).digest for one in asking}) == 1
    assert hub.shelf.calls == {"manifest": 1}


async def test_who_leaves_stops_nobody_else(around: Make) -> None:
    hub = around()
    digest = hub.shelf.add(image("one"), "latest")
    hub.shelf.slow.clear()
    leaving = asyncio.create_task(hub.repository().manifest(LATEST))
    staying = asyncio.create_task(hub.repository().manifest(LATEST))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    hub.shelf.slow.set()
    assert (await staying).digest == digest


@pytest.mark.parametrize(
    "cause", ["unreachable", "barred", "slow", "failing", "limited", "refusing", "absent", "lying"]
)
async def test_what_is_held_is_given_with_a_warning_when_the_upstream_fails(around: Make, cause: str) -> None:
    hub = around(fresh_for="0s", absent_for="0s")
    digest = hub.shelf.add(image("one"), "latest")
    await hub.repository().manifest(LATEST)
    hub.shelf.fail(cause, 'says "no"')
    assert (await hub.repository().manifest(LATEST)).digest == digest
    assert hub.warnings == ['299 - "given from what is held here: shelf: says ?no?"']
    assert [error.cause for error in hub.failures] == [cause]


@pytest.mark.parametrize(
    ("cause", "error"),
    [
        ("unreachable", Unavailable),
        ("slow", Unavailable),
        ("failing", Unavailable),
        ("limited", TooManyRequests),
        ("refusing", Denied),
        ("absent", ManifestUnknown),
    ],
)
async def test_what_is_strict_is_passed_on(around: Make, cause: str, error: type[Exception]) -> None:
    hub = around(fresh_for="0s", strict=[cause])
    hub.shelf.add(image("one"), "latest")
    await hub.repository().manifest(LATEST)
    hub.shelf.fail(cause)
    with pytest.raises(error):
        await hub.repository().manifest(LATEST)
    assert hub.warnings == []


@pytest.mark.parametrize(
    "cause", ["unreachable", "barred", "failing", "limited", "refusing", "absent", "lying"]
)
async def test_what_is_not_held_is_never_a_success_nor_a_500(around: Make, cause: str) -> None:
    hub = around()
    hub.shelf.fail(cause)
    with pytest.raises((Unavailable, TooManyRequests, Denied, ManifestUnknown)) as told:
        await hub.repository().manifest(LATEST)
    assert told.value.status < 500 or "Retry-After" in told.value.headers


async def test_a_slow_upstream_is_not_waited_for_longer_than_was_set(around: Make) -> None:
    hub = around(fresh_for="0s", patience="1ms")
    digest = hub.shelf.add(image("one"), "latest")
    await hub.repository().manifest(LATEST)
    moved = hub.shelf.add(image("two"), "latest")
    hub.shelf.slow.clear()
    assert (await hub.repository().manifest(LATEST)).digest == digest
    assert "not answered yet" in hub.warnings[0]
    # It was being asked all the time, and what it says counts.
    looking = hub.mirror.tasks.each
    hub.shelf.slow.set()
    await asyncio.gather(*looking)
    assert (await hub.world.repository(HERE).manifest(LATEST)).digest == moved


async def test_who_says_that_there_is_none_is_told(around: Make) -> None:
    hub = around()
    for reference in (LATEST, Digest.of(b"none")):
        with pytest.raises(ManifestUnknown, match=f"not held here, and {hub.shelf.host}: it answered 404"):
            await hub.repository().manifest(reference)


async def test_that_something_is_absent_is_remembered_for_a_while(around: Make) -> None:
    hub = around(absent_for="30s")
    for _ in range(3):
        with pytest.raises(ManifestUnknown):
            await hub.repository().manifest(LATEST)
    assert hub.shelf.calls["manifest"] == 1
    digest = hub.shelf.add(image("one"), "latest")
    hub.time.now += 31
    assert (await hub.repository().manifest(LATEST)).digest == digest


async def test_an_upstream_that_cannot_be_reached_is_left_alone_for_a_while(around: Make) -> None:
    hub = around(fresh_for="0s")
    hub.shelf.add(image("one"), "latest")
    await hub.repository().manifest(LATEST)
    hub.shelf.fail("unreachable")
    for _ in range(5):
        await hub.repository().manifest(LATEST)
    assert hub.shelf.calls["head_manifest"] == 1
    assert len(hub.warnings) == 5
    hub.shelf.failure = None
    hub.time.now += 11
    await hub.repository().manifest(LATEST)
    assert len(hub.warnings) == 5


async def test_the_next_upstream_is_asked_when_the_first_does_not_give_it(around: Make) -> None:
    hub = around()
    second = Shelf("second")
    digest = second.add(image("one"), "latest")
    mirror = hub.process(hub.world.registry, "both", second)
    for cause in ("absent", "failing", "unreachable"):
        hub.shelf.fail(cause)
        hub.world.registry = hub.world.process()
        assert (await hub.repository(mirror=mirror).manifest(digest)).digest == digest


async def test_that_nobody_has_it_is_said_only_if_all_say_so(around: Make) -> None:
    hub = around()
    second = Shelf("second")
    second.fail("unreachable")
    mirror = hub.process(hub.world.registry, "both", second)
    with pytest.raises(Unavailable):
        await hub.repository(mirror=mirror).manifest(LATEST)


async def test_what_was_purged_is_not_asked_for(around: Make) -> None:
    hub = around(fresh_for="0s")
    held = hub.shelf.add(image("held"), "latest")
    await hub.repository().manifest(LATEST)
    purged = hub.shelf.add(image("purged"), "latest")
    await hub.world.driver.put(layout.blocked(purged), b"{}")
    await hub.world.store.blocked.look()
    calls = hub.shelf.calls.copy()
    with pytest.raises(Denied, match="was purged by an administrator"):
        await hub.repository().manifest(purged)
    assert hub.shelf.calls == calls
    # A tag that was moved to it there stays here as it was.
    assert (await hub.repository().manifest(LATEST)).digest == held
    assert hub.shelf.calls - calls == {"head_manifest": 1}
    assert "was purged" in hub.warnings[-1]


class TestWhoseTagItIs:
    async def test_one_that_was_pushed_here_stays_by_default(self, around: Make) -> None:
        hub = around(fresh_for="0s")
        hub.shelf.add(image("public"), "latest")
        ours = await hub.world.push(image("private"), LATEST, HERE)
        assert (await hub.repository().manifest(LATEST)).digest == ours
        assert hub.shelf.calls == {}

    async def test_one_that_was_mirrored_and_then_pushed_to_is_ours(self, around: Make) -> None:
        hub = around(fresh_for="0s")
        hub.shelf.add(image("public"), "latest")
        await hub.repository().manifest(LATEST)
        hub.world.clock.advance(seconds=1)
        ours = await hub.world.push(image("private"), LATEST, HERE)
        assert (await hub.repository().manifest(LATEST)).digest == ours

    async def test_the_upstreams_wins_where_that_is_set(self, around: Make) -> None:
        hub = around(fresh_for="0s", precedence="upstream")
        public = hub.shelf.add(image("public"), "latest")
        await hub.world.push(image("private"), LATEST, HERE)
        assert (await hub.repository().manifest(LATEST)).digest == public


async def test_an_index_comes_with_none_of_its_images_before_they_are_asked_for(around: Make) -> None:
    hub = around()
    children = [image("amd64"), image("arm64")]
    _index(hub, children)
    await hub.repository().manifest(Tag("multi"))
    assert hub.shelf.calls == {"manifest": 1}
    child = Digest.of(children[0])
    await hub.repository().manifest(child)
    assert hub.shelf.calls == {"manifest": 2}
    assert await hub.world.holds(child, HERE)


async def test_what_the_operator_did_not_list_is_not_asked_for(around: Make) -> None:
    hub = around(repositories=["library/*"])
    assert hub.mirror.is_mirrored(HERE)
    assert not hub.mirror.is_mirrored(RepositoryName("hub/other/app"))


async def test_a_manifest_that_is_none_is_a_lie(around: Make) -> None:
    hub = around()
    hub.shelf.manifests["latest"] = b'{"schemaVersion": 1}'
    with pytest.raises(Unavailable, match="its manifest latest is none"):
        await hub.repository().manifest(LATEST)
    assert [error.cause for error in hub.failures] == ["lying"]


def _index(hub: Around, children: list[bytes]) -> None:
    for child in children:
        hub.shelf.add(child)
    manifests = [{**descriptor(one), "mediaType": OCI_IMAGE} for one in children]
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()
    hub.shelf.manifests["multi"] = index


async def test_while_nothing_may_be_written_what_is_held_is_given_without_asking(around: Make) -> None:
    hub = around(fresh_for="0s")
    digest = hub.shelf.add(image("one"), "latest")
    await hub.repository().manifest(LATEST)
    hub.shelf.add(image("two"), "latest")
    hub.world.registry.read_only = True
    assert (await hub.repository().manifest(LATEST)).digest == digest
    assert hub.shelf.calls == {"manifest": 1}


async def test_where_there_is_no_room_for_what_is_new_what_is_held_is_given(around: Make) -> None:
    hub = around(fresh_for="0s")
    digest = hub.shelf.add(image("one"), "latest")
    await hub.repository().manifest(LATEST)
    cast(dict[RepositoryName, int], hub.world.registry.quotas.limits)[HUB] = 1
    hub.shelf.add(image("two"), "latest")
    assert (await hub.repository().manifest(LATEST)).digest == digest
    assert "quota" in hub.warnings[0]


async def test_what_is_pushed_here_while_it_is_fetched_stays(around: Make) -> None:
    hub = around()
    hub.shelf.add(image("public"), "latest")
    hub.shelf.slow.clear()
    asking = asyncio.create_task(hub.repository().manifest(LATEST))
    await asyncio.sleep(0)
    ours = await hub.world.push(image("private"), LATEST, HERE)
    hub.shelf.slow.set()
    assert (await asking).digest == ours
    assert (await hub.world.repository(HERE).manifest(LATEST)).digest == ours


@pytest.mark.parametrize("by", ["tag", "digest"])
async def test_what_is_damaged_here_is_healed_from_there(around: Make, by: str) -> None:
    hub = around(fresh_for="1h")
    digest = hub.shelf.add(image("one"), "latest")
    await hub.repository().manifest(LATEST)
    await hub.world.driver.put(layout.blob_data(digest), b"damaged")
    if by == "tag":
        assert (await hub.repository().manifest(LATEST)).digest == digest
    else:
        assert (await hub.repository().manifest(digest)).digest == digest
    assert await hub.world.store.content.is_sound(digest)


async def test_what_is_damaged_here_and_is_not_there_is_told_as_damaged(around: Make) -> None:
    hub = around()
    digest = await hub.world.push(image("ours"), LATEST, HERE)
    await hub.world.driver.put(layout.blob_data(digest), b"damaged")
    with pytest.raises(StorageDamaged):
        await hub.repository().manifest(LATEST)
