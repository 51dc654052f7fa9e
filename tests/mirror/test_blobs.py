"""Blobs of a namespace: given as they come, fetched once by all who want them, whole or not at all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest

from registry.errors import BlobUnknown, RegistryError, Unavailable
from registry.mirror.mirrors import Mirrors
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.store import layout
from registry.work.leases import Lease
from tests.mirror.shelf import HERE, HUB, Around, Shelf

Make = Callable[..., Around]

MIB = 1 << 20
OTHER = RepositoryName("hub/library/other")


async def until(true: Callable[[], bool]) -> None:
    """Let others go on until it is so."""
    for _ in range(10_000):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it does not come to that")


async def leftovers(hub: Around) -> list[str]:
    """What is left of transfers in the store."""
    return [key for key in await hub.world.keys() if "/transfers/" in key or "/leases/" in key]


async def test_a_blob_is_fetched_once_and_then_held(around: Make) -> None:
    hub = around()
    content = os.urandom(5 * MIB)
    digest = hub.shelf.add_blob(content)
    assert await hub.read(digest) == content
    assert await hub.read(digest) == content
    assert hub.shelf.calls == {"blob": 1}
    assert (await hub.world.repository(HERE).blob(digest, may_push=False)).size_bytes == len(content)
    assert await leftovers(hub) == []


@pytest.mark.parametrize("size", [0, 1, 16 << 10, (16 << 10) + 1, MIB, MIB + 1])
async def test_of_any_size(around: Make, size: int) -> None:
    hub = around()
    content = os.urandom(size)
    digest = hub.shelf.add_blob(content)
    assert await hub.read(digest) == content
    assert await hub.read(digest) == content


async def test_its_bytes_are_given_as_they_come(around: Make) -> None:
    hub = around()
    content = os.urandom(3 * MIB)
    digest = hub.shelf.add_blob(content)
    more = hub.shelf.hold(2 * MIB)
    seen = bytearray()
    reading = asyncio.create_task(hub.read(digest, seen=seen.extend))
    await until(lambda: len(seen) == 2 * MIB)
    assert bytes(seen) == content[: 2 * MIB]
    more.set()
    assert await reading == content


async def test_its_end_is_given_when_it_was_seen_to_have_its_digest(around: Make) -> None:
    hub = around()
    content = os.urandom(2 * MIB)
    digest = hub.shelf.add_blob(content)
    hub.shelf.blobs[str(digest)] = content[:-1] + bytes([content[-1] ^ 1])
    seen = bytearray()
    with pytest.raises(Unavailable, match="what it gave for the blob"):
        await hub.read(digest, seen=seen.extend)
    assert len(seen) == len(content) - (16 << 10)
    assert await leftovers(hub) == []
    with pytest.raises(BlobUnknown):
        await hub.world.repository(HERE).blob(digest, may_push=False)
    assert [error.cause for error in hub.failures] == ["lying"]
    # What comes right after that is good.
    hub.shelf.blobs[str(digest)] = content
    assert await hub.read(digest) == content


async def test_all_who_want_it_join_the_one_transfer(around: Make) -> None:
    hub = around()
    content = os.urandom(3 * MIB)
    digest = hub.shelf.add_blob(content)
    more = hub.shelf.hold(2 * MIB)
    seen = bytearray()
    first = asyncio.create_task(hub.read(digest, seen=seen.extend))
    await until(lambda: len(seen) == 2 * MIB)
    others = [asyncio.create_task(hub.read(digest)) for _ in range(50)]
    await asyncio.sleep(0)
    more.set()
    assert set(await asyncio.gather(first, *others)) == {content}
    assert hub.shelf.calls["blob"] == 1


async def test_who_leaves_does_not_stop_it(around: Make) -> None:
    hub = around()
    content = os.urandom(2 * MIB)
    digest = hub.shelf.add_blob(content)
    more = hub.shelf.hold(MIB)
    seen = bytearray()
    reading = asyncio.create_task(hub.read(digest, seen=seen.extend))
    await until(lambda: bool(seen))
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    more.set()
    await asyncio.gather(*hub.mirror.tasks.each)
    assert (await hub.world.repository(HERE).blob(digest, may_push=False)).size_bytes == len(content)


async def test_a_range_is_given_from_what_has_come(around: Make) -> None:
    hub = around()
    content = os.urandom(4 * MIB)
    digest = hub.shelf.add_blob(content)
    hub.shelf.hold(3 * MIB)
    assert await hub.read(digest, 10, 2 * MIB) == content[10 : 2 * MIB]


@pytest.mark.parametrize("places", [[3 * MIB], [3 * MIB, 4 * MIB + 5], [MIB // 2]])
async def test_it_goes_on_from_where_a_connection_broke(around: Make, places: list[int]) -> None:
    hub = around()
    content = os.urandom(5 * MIB)
    digest = hub.shelf.add_blob(content)
    hub.shelf.breaks = list(places)
    assert await hub.read(digest) == content
    assert hub.shelf.calls["blob"] == 1 + len(places)
    assert hub.shelf.sent_bytes == len(content), "no byte comes twice"
    assert [error.cause for error in hub.failures] == ["unreachable"] * len(places)


async def test_what_came_before_it_was_given_up_does_not_come_again(around: Make) -> None:
    hub = around()
    content = os.urandom(5 * MIB)
    digest = hub.shelf.add_blob(content)
    hub.shelf.breaks = [3 * MIB] * 4
    with pytest.raises(Unavailable, match="broke"):
        await hub.read(digest)
    hub.time.now += 60
    assert await hub.read(digest) == content
    assert hub.shelf.sent_bytes == len(content)
    assert await leftovers(hub) == []


async def test_a_size_that_changes_is_a_lie(around: Make) -> None:
    hub = around()
    content = os.urandom(5 * MIB)
    digest = hub.shelf.add_blob(content)
    hub.shelf.breaks = [3 * MIB]
    gate = hub.shelf.hold(2 * MIB)
    reading = asyncio.create_task(hub.read(digest))
    await until(lambda: hub.shelf.sent_bytes >= 2 * MIB)
    hub.shelf.blobs[str(digest)] = content + b"more"
    gate.set()
    with pytest.raises(Unavailable, match="had 5242880 bytes, and now has 5242884"):
        await reading
    assert await leftovers(hub) == []


async def test_that_there_is_none_is_remembered(around: Make) -> None:
    hub = around(absent_for="30s")
    missing = Digest.of(b"missing")
    for _ in range(3):
        with pytest.raises(BlobUnknown):
            await hub.read(missing)
    assert hub.shelf.calls["blob"] == 1


async def test_an_upstream_that_is_not_there_is_no_500(around: Make) -> None:
    hub = around()
    hub.shelf.fail("unreachable")
    with pytest.raises(Unavailable) as told:
        await hub.read(Digest.of(b"content"))
    assert told.value.headers["Retry-After"]


async def test_its_size_is_told_without_fetching_it(around: Make) -> None:
    hub = around()
    digest = hub.shelf.add_blob(b"content")
    assert (await hub.repository().blob(digest, may_push=False)).size_bytes == 7
    assert hub.shelf.calls == {"head_blob": 1}


class TestInSeveralRepositories:
    async def test_what_another_has_from_there_is_not_fetched_again(self, around: Make) -> None:
        hub = around()
        content = os.urandom(MIB)
        digest = hub.shelf.add_blob(content)
        await hub.read(digest)
        assert await hub.read(digest, name=OTHER) == content
        assert hub.shelf.calls == {"blob": 1, "head_blob": 1}
        assert (await hub.world.repository(OTHER).blob(digest, may_push=False)).size_bytes == MIB

    async def test_that_it_has_it_too_is_for_the_upstream_to_say(self, around: Make) -> None:
        hub = around()
        digest = hub.shelf.add_blob(b"content")
        await hub.read(digest)
        with pytest.raises(BlobUnknown):
            await hub.read(digest, name=RepositoryName("hub/nowhere/app"))

    async def test_what_was_pushed_here_is_no_proof_of_anything(self, around: Make) -> None:
        """A manifest elsewhere may name a secret's digest; only the upstream's own bytes are given for it."""
        hub = around()
        digest = await hub.world.blob(b"secret", RepositoryName("team/app"))
        with pytest.raises(BlobUnknown):
            await hub.read(digest)

    async def test_both_join_while_it_comes(self, around: Make) -> None:
        hub = around()
        content = os.urandom(2 * MIB)
        digest = hub.shelf.add_blob(content)
        more = hub.shelf.hold(MIB)
        seen = bytearray()
        first = asyncio.create_task(hub.read(digest, seen=seen.extend))
        await until(lambda: bool(seen))
        second = asyncio.create_task(hub.read(digest, name=OTHER))
        await until(lambda: hub.shelf.calls["head_blob"] == 1)
        more.set()
        assert await first == await second == content
        for name in (HERE, OTHER):
            assert (await hub.world.repository(name).blob(digest, may_push=False)).size_bytes == 2 * MIB


class TestOtherProcesses:
    async def test_follow_the_one_that_fetches(self, around: Make) -> None:
        hub = around()
        content = os.urandom(4 * MIB)
        digest = hub.shelf.add_blob(content)
        more = hub.shelf.hold(3 * MIB)
        seen, seen_there = bytearray(), bytearray()
        first = asyncio.create_task(hub.read(digest, seen=seen.extend))
        await until(lambda: len(seen) == 3 * MIB)
        second = hub.process(hub.world.process(), "the second")
        following = asyncio.create_task(hub.read(digest, mirror=second, seen=seen_there.extend))
        await until(lambda: len(seen_there) >= MIB)
        more.set()
        assert await first == await following == content
        assert hub.shelf.calls["blob"] == 1
        assert await leftovers(hub) == []

    async def test_take_over_from_one_that_has_died(self, around: Make) -> None:
        hub = around()
        content = os.urandom(4 * MIB)
        digest = hub.shelf.add_blob(content)
        await dies_at(hub, digest, content[: 3 * MIB], len(content))
        assert await hub.read(digest) == content
        assert hub.shelf.sent_bytes == MIB, "what had come does not come again"
        assert await leftovers(hub) == []

    async def test_segments_of_another_size_are_a_lie(self, around: Make) -> None:
        hub = around()
        content = os.urandom(4 * MIB)
        digest = hub.shelf.add_blob(content)
        await dies_at(hub, digest, content[: 3 * MIB], len(content) + 1)
        with pytest.raises(Unavailable, match="had 4194305 bytes"):
            await hub.read(digest)
        assert await hub.read(digest) == content

    async def test_spoilt_segments_are_not_given_for_whole(self, around: Make) -> None:
        hub = around()
        content = os.urandom(4 * MIB)
        digest = hub.shelf.add_blob(content)
        await dies_at(hub, digest, os.urandom(3 * MIB), len(content))
        with pytest.raises(Unavailable, match="what it gave"):
            await hub.read(digest)
        assert await hub.read(digest) == content

    async def test_segments_of_before_a_power_cut_do_not_count(self, around: Make) -> None:
        hub = around()
        content = os.urandom(4 * MIB)
        digest = hub.shelf.add_blob(content)
        await dies_at(hub, digest, os.urandom(3 * MIB), len(content))
        hub.world.counted.epoch = "another"
        assert await hub.read(digest) == content


async def dies_at(hub: Around, digest: Digest, came: bytes, size: int) -> None:
    """Have what a process leaves that dies while it fetches."""
    from registry.mirror.fetching import Hashed, lease_name

    store = hub.world.store
    await store.transfers.write(HUB, digest, (0, len(came)), size, [came], Hashed(digest.hasher()))
    name = lease_name(HUB, digest)
    lease = Lease(store.driver, store.effects, name, who="dead", seconds=10.0, clock=hub.time)
    assert await lease.acquire()


async def test_what_was_purged_is_not_fetched(around: Make) -> None:
    hub = around()
    digest = hub.shelf.add_blob(b"secret")
    await hub.world.driver.put(layout.blocked(digest), b"{}")
    await hub.world.store.blocked.look()
    for ask in (hub.read(digest), hub.repository().blob(digest, may_push=False)):
        with pytest.raises(RegistryError) as told:
            await ask
        assert told.value.code == "DENIED"
    assert hub.shelf.calls == {}


async def test_while_nothing_may_be_written_what_is_held_is_given(around: Make) -> None:
    hub = around()
    held = hub.shelf.add_blob(b"held")
    await hub.read(held)
    hub.world.registry.read_only = True
    assert await hub.read(held) == b"held"
    with pytest.raises(Unavailable, match="read-only"):
        await hub.read(hub.shelf.add_blob(b"not held"))


async def test_many_blobs_at_once_share_the_memory(around: Make) -> None:
    hub = around()
    contents = [os.urandom(MIB) for _ in range(20)]
    digests = [hub.shelf.add_blob(content) for content in contents]
    read = await asyncio.gather(*(hub.read(digest) for digest in digests))
    assert list(read) == contents


def test_a_shelf_is_an_upstream() -> None:
    """What the tests take for one has its methods."""
    from registry.remote.upstream import Upstream

    wanted = {name for name in vars(Upstream) if not name.startswith("_")} - {
        "check",
        "rate_limit",
        "limited_until",
    }
    assert wanted <= {*dir(Shelf), "host"}


async def test_what_nobody_has_gone_on_with_for_a_day_is_swept(around: Make) -> None:
    hub = around()
    digest = hub.shelf.add_blob(os.urandom(4 * MIB))
    await dies_at(hub, digest, os.urandom(3 * MIB), 4 * MIB)
    mirrors = Mirrors(hub.world.registry, [hub.mirror])
    now = hub.world.clock.now.timestamp()
    assert await mirrors.sweep(now + 86000) == 0
    assert len(await leftovers(hub)) == 2
    assert await mirrors.sweep(now + 86401) == 2
    assert await leftovers(hub) == []


async def test_no_more_comes_in_a_second_than_was_set(around: Make) -> None:
    hub = around(bytes_per_second="1MiB")
    content = os.urandom(4 * MIB)
    digest = hub.shelf.add_blob(content)
    began = hub.time.now
    assert await hub.read(digest) == content
    assert 4.0 <= hub.time.now - began < 5.0


async def test_an_error_of_ours_is_in_the_log_and_no_reader_waits_for_ever(
    around: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hub = around()
    digest = hub.shelf.add_blob(os.urandom(MIB))

    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(hub.world.store.transfers, "mark", broken)
    with pytest.raises(RegistryError):
        await hub.read(digest)
    await until(lambda: "job.failed" in caplog.text)
