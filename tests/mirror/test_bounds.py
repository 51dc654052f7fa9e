"""What neither clients nor upstreams can make a process do without end: ask, wait, remember, store."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import traceback
from typing import Any

import pytest

from registry.errors import (
    BlobUnknown,
    Denied,
    ManifestUnknown,
    NameUnknown,
    QuotaExceeded,
    RegistryError,
    TooManyRequests,
    Unavailable,
)
from registry.mirror import images, upstreams
from registry.mirror.memory import Memory
from registry.mirror.syncing import Synced, Syncing
from registry.model.digests import Digest
from registry.model.media_types import OCI_INDEX
from registry.model.names import RepositoryName, Tag
from registry.remote.errors import UpstreamError
from storage.errors import OutOfSpace
from tests.inmemory import World, descriptor, image
from tests.mirror.shelf import HERE, HUB, LATEST
from tests.mirror.test_blobs import Make, leftovers, until

MIB = 1 << 20


class TestDisk:
    async def test_a_blob_that_a_quota_has_no_room_for_is_not_begun(self, around: Make) -> None:
        hub = around(world=World(quotas={HUB: MIB}))
        digest = hub.shelf.add_blob(os.urandom(2 * MIB))
        with pytest.raises(QuotaExceeded):
            await hub.read(digest)
        assert hub.shelf.sent_bytes == 0 and await leftovers(hub) == []

    async def test_what_the_disk_has_no_room_for_does_not_lie_about(
        self, around: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub = around()
        content = os.urandom(4 * MIB)
        digest = hub.shelf.add_blob(content)
        write = hub.world.store.transfers.write

        async def full(*arguments: Any) -> Any:
            if arguments[2][0]:
                raise OutOfSpace("transfers", "no room")
            return await write(*arguments)

        monkeypatch.setattr(hub.world.store.transfers, "write", full)
        seen = bytearray()
        # Readers are ahead of what is stored, and end with it.
        with pytest.raises(OutOfSpace):
            await hub.read(digest, seen=seen.extend)
        assert len(seen) > MIB and await leftovers(hub) == []
        monkeypatch.undo()
        assert await hub.read(digest) == content

    async def test_who_reads_slowly_ends_with_it_too(
        self, around: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub = around()
        digest = hub.shelf.add_blob(os.urandom(4 * MIB))
        more = hub.shelf.hold(3 * MIB)

        async def full(*arguments: Any) -> Any:
            raise OutOfSpace("transfers", "no room")

        monkeypatch.setattr(hub.world.store.transfers, "write", full)
        async with hub.repository().open_blob(digest) as opened:
            chunks = opened.chunks()
            assert await anext(chunks)
            await until(lambda: hub.shelf.sent_bytes == 3 * MIB)
            more.set()
            await until(lambda: not hub.mirror.blobs.under_way)
            with pytest.raises(OutOfSpace):
                async for _ in chunks:
                    pass

    async def test_a_tag_that_moved_to_what_cannot_be_kept_is_given_as_it_was(self, around: Make) -> None:
        hub = around(world=World(quotas={HUB: MIB}), fresh_for="0s")
        held = hub.shelf.add(image("one"), "latest")
        await hub.repository().manifest(LATEST)
        hub.shelf.add(image("two", layers=[os.urandom(MIB)]), "latest")
        assert (await hub.repository().manifest(LATEST)).digest == held
        assert "cannot be kept here: the repositories below hub hold" in hub.warnings[0]


class TestTries:
    async def test_a_few_bytes_each_time_are_not_enough_to_go_on(self, around: Make) -> None:
        hub = around()
        digest = hub.shelf.add_blob(os.urandom(MIB))
        hub.shelf.piece_bytes = 100
        hub.shelf.breaks = [*range(1000, MIB, 1000)]
        with pytest.raises(Unavailable, match="broke"):
            await hub.read(digest)
        assert hub.shelf.calls["blob"] == 3

    async def test_bytes_that_come_one_by_one_take_no_more_memory_than_others(self, around: Make) -> None:
        hub = around()
        content = os.urandom(100_000)
        digest = hub.shelf.add_blob(content)
        hub.shelf.piece_bytes = 1
        more = hub.shelf.hold(70_000)
        reading = asyncio.create_task(hub.read(digest))
        while hub.shelf.sent_bytes < 70_000:
            await asyncio.sleep(0)
        (transfer,) = hub.mirror.blobs._transfers.values()
        assert len(transfer.tail(0, 70_000)) <= 2
        more.set()
        assert await reading == content


class TestQuestions:
    async def test_so_many_are_asked_at_once(self, around: Make) -> None:
        """Whoever asks and leaves stops nothing, and could do so again and again."""
        hub = around()
        hub.shelf.slow.clear()
        asking = [
            asyncio.create_task(hub.repository().manifest(Tag(f"tag-{number}"))) for number in range(100)
        ]
        await until(lambda: hub.shelf.calls["manifest"] == 32)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert hub.shelf.calls["manifest"] == 32
        hub.shelf.slow.set()
        assert all(isinstance(one, ManifestUnknown) for one in await ended(asking))

    async def test_and_so_many_wait(self, around: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(upstreams, "_MOST_WAITING", 10)
        hub = around()
        hub.shelf.slow.clear()
        asking = [
            asyncio.create_task(hub.repository().manifest(Tag(f"tag-{number}"))) for number in range(100)
        ]
        await until(lambda: sum(one.done() for one in asking) == 58)
        hub.shelf.slow.set()
        told = await ended(asking)
        assert sum(isinstance(one, Unavailable) for one in told) == 58
        assert hub.failures and all(error.cause == "absent" for error in hub.failures), (
            "it is not their fault"
        )

    async def test_and_not_for_long(self, around: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(upstreams, "_WAIT_SECONDS", 0.05)
        hub = around()
        hub.shelf.slow.clear()
        tags = [Tag(f"tag-{number}") for number in range(32)]
        asking = [asyncio.create_task(hub.repository().manifest(tag)) for tag in tags]
        await until(lambda: hub.shelf.calls["manifest"] == 32)
        with pytest.raises(Unavailable, match="not our turn"):
            await hub.repository().manifest(LATEST)
        hub.shelf.slow.set()
        await ended(asking)
        with pytest.raises(ManifestUnknown):
            await hub.repository().manifest(LATEST)

    async def test_images_without_end(self, around: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(images, "_MOST_PARTS", 20)
        hub = around(sync=[{"repositories": ["library/app"], "tags": ["1.0.0", "2.0.0"]}])
        hub.shelf.add(image("one"), "1.0.0")
        content = image("the innermost")
        for _ in range(50):
            hub.shelf.manifests[str(Digest.of(content))] = content
            listed = [{**descriptor(content), "mediaType": OCI_INDEX}]
            content = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}).encode()
        hub.shelf.manifests["2.0.0"] = content
        run = Syncing(hub.world.registry, hub.mirror, who="the first", clock=hub.time).run(dry_run=False)
        synced = [one async for one in run if isinstance(one, Synced)][-1]
        assert len(synced.failures) == 1 and "more than 20 manifests belong to" in synced.failures[0]
        assert synced.blobs == 2, "others come"
        assert hub.shelf.calls["manifest"] < 25

    async def test_long_lists_hold_up_no_manifests(self, around: Make) -> None:
        hub = around()
        digest = hub.shelf.add(image("one"), "latest")
        hub.shelf.slow.clear()
        names = [RepositoryName(f"hub/library/app{number}") for number in range(50)]
        listing = [asyncio.create_task(hub.repository(name).tags(n=None, last="")) for name in names]
        await until(lambda: hub.shelf.calls["tags"] == 4)
        hub.shelf.slow.set()
        hub.shelf.slow = asyncio.Event()
        hub.shelf.slow.set()
        assert (await hub.repository().manifest(LATEST)).digest == digest
        await ended(listing)

    async def test_many_digests_that_are_not_there(self, around: Make) -> None:
        hub = around()
        digests = [Digest.of(str(number).encode()) for number in range(1000)]
        for start in range(0, len(digests), 200):
            asking = [asyncio.create_task(hub.read(digest)) for digest in digests[start : start + 200]]
            assert all(isinstance(one, BlobUnknown) for one in await ended(asking))
        assert hub.mirror.blobs.under_way == 0 and hub.mirror.tasks.each == []
        assert await leftovers(hub) == []

    async def test_so_many_blobs_come_at_once(self, around: Make) -> None:
        hub = around()
        digests = [hub.shelf.add_blob(os.urandom(100_000)) for _ in range(300)]
        hub.shelf.hold(0)
        asking = [asyncio.create_task(hub.read(digest)) for digest in digests]
        await until(lambda: sum(one.done() for one in asking) == 44)
        assert all(isinstance(one.exception(), TooManyRequests) for one in asking if one.done())
        for one in asking:
            one.cancel()
        await ended(asking)


async def ended(asking: list[asyncio.Task[Any]]) -> list[Any]:
    """What came of each."""
    return await asyncio.gather(*asking, return_exceptions=True)


class TestMemory:
    async def test_what_is_remembered_of_failures_holds_nothing_else(self, around: Make) -> None:
        """An exception keeps all that was on the way when it was raised."""
        hub = around()

        async def fail(cause: str) -> None:
            hub.shelf.fail(cause)
            for ask in (hub.repository().manifest(LATEST), hub.read(Digest.of(cause.encode()))):
                with pytest.raises(RegistryError):
                    await ask
            hub.time.now += 15

        for cause in ("absent", "refusing", "unreachable", "limited"):
            await fail(cause)
        hub.shelf.failure = None
        hub.failures.clear()
        await until(lambda: not hub.mirror.tasks.each)
        gc.collect()
        kept = [one for one in gc.get_objects() if isinstance(one, UpstreamError)]
        assert kept
        assert not [traceback.format_tb(one.__traceback__) for one in kept if one.__traceback__ is not None]
        assert not [one for one in kept if one.__context__ is not None]

    def test_what_weighs_too_much_goes_the_oldest_first(self) -> None:
        memory = Memory[list[int]](10.0, lambda: 0.0, 10, len)
        for key in range(4):
            memory.put(key, [0] * 4)
        assert [memory.get(key) is not None for key in range(4)] == [False, False, True, True]
        memory.put(3, [0] * 6)
        assert memory.get(2) is not None
        memory.put(4, [0] * 11)
        assert [memory.get(key) for key in range(5)] == [None] * 5
        memory.put(5, [0] * 10)
        assert memory.get(5) is not None, "what has gone weighs nothing"


class TestRests:
    async def test_a_store_that_it_sends_to_is_not_the_upstream(self, around: Make) -> None:
        hub = around()
        digest = hub.shelf.add(image("one"), "latest")
        hub.shelf.failure = UpstreamError("cdn.example", "cannot connect", "unreachable")
        with pytest.raises(Unavailable, match=r"cdn\.example"):
            await hub.read(Digest.of(b"blob"))
        hub.shelf.failure = None
        assert (await hub.repository().manifest(LATEST)).digest == digest

    async def test_one_that_asks_for_patience_is_left_alone_for_so_long(self, around: Make) -> None:
        hub = around()
        digest = hub.shelf.add(image("one"), "latest")
        hub.shelf.failure = UpstreamError("shelf", "too often", "limited", 429, retry_after_seconds=40.0)
        for passed in (0, 30):
            hub.time.now += passed
            with pytest.raises(TooManyRequests) as told:
                await hub.repository().manifest(LATEST)
            assert told.value.headers["Retry-After"] == str(40 - passed)
        assert hub.shelf.calls["manifest"] == 1 and len(hub.failures) == 1
        hub.shelf.failure = None
        hub.time.now += 11
        assert (await hub.repository().manifest(LATEST)).digest == digest

    async def test_that_it_does_not_let_us_is_remembered_for_a_while(self, around: Make) -> None:
        hub = around()
        hub.shelf.fail("refusing")
        for _ in range(3):
            with pytest.raises(Denied):
                await hub.repository().manifest(LATEST)
            with pytest.raises(Denied):
                await hub.read(Digest.of(b"blob"))
        assert hub.shelf.calls == {"manifest": 1, "blob": 1}

    async def test_who_failed_is_one_of_those_that_are_configured(self, around: Make) -> None:
        """Whatever hosts an upstream sends to: there are only so many names for metrics."""
        hub = around()
        named = []
        hub.mirror.upstreams._tell = lambda upstream, _: named.append(upstream)
        digest = hub.shelf.add_blob(b"x" * 100)
        for number in range(3):
            hub.shelf.failure = UpstreamError(f"host-{number}.example", "it failed", "failing")
            with pytest.raises(Unavailable):
                await hub.read(digest)
        hub.shelf.failure = None
        hub.shelf.blobs[str(digest)] = b"y" * 100
        with pytest.raises(Unavailable):
            await hub.read(digest)
        assert named == ["shelf"] * 4


class TestTagsThatAreInDoubt:
    async def test_an_image_that_was_deleted_behind_a_fresh_tag(self, around: Make) -> None:
        hub = around(fresh_for="5m")
        old = image("old", layers=[b"old layer"])
        hub.shelf.add(old, "latest")
        await hub.repository().manifest(LATEST)
        moved = hub.shelf.add(image("new"), "latest")
        del hub.shelf.blobs[str(Digest.of(b"old layer"))]
        with pytest.raises(BlobUnknown):
            await hub.read(Digest.of(b"old layer"))
        # Whoever pulls again is given what stands, and need not wait until the tag is looked for by itself.
        assert (await hub.repository().manifest(LATEST)).digest == moved
        calls = dict(hub.shelf.calls)
        await hub.repository().manifest(LATEST)
        assert dict(hub.shelf.calls) == calls

    async def test_tags_that_are_not_there_cast_no_doubt(self, around: Make) -> None:
        hub = around(fresh_for="5m")
        hub.shelf.add(image("one"), "latest")
        await hub.repository().manifest(LATEST)
        with pytest.raises(ManifestUnknown):
            await hub.repository().manifest(Tag("sha256-of-a-signature"))
        await hub.repository().manifest(LATEST)
        assert hub.shelf.calls == {"manifest": 2}


class TestLists:
    async def test_one_that_nobody_gives_is_not_taken_for_empty(self, around: Make) -> None:
        hub = around()
        hub.shelf.fail("lying")
        with pytest.raises(Unavailable):
            await hub.repository().tags(n=None, last="")
        hub.shelf.fail("absent")
        with pytest.raises(NameUnknown):
            await hub.repository().tags(n=None, last="")

    async def test_what_is_held_is_listed_with_a_warning(self, around: Make) -> None:
        hub = around()
        hub.shelf.add(image("one"), "latest")
        await hub.repository().manifest(LATEST)
        hub.shelf.fail("lying", "its Link is broken")
        assert (await hub.repository().tags(n=None, last="")).entries == ["latest"]
        assert "its Link is broken" in hub.warnings[0]

    async def test_pages_of_both(self, around: Make) -> None:
        hub = around()
        there = [f"t{number:02d}" for number in range(0, 40, 2)]
        here = [f"t{number:02d}" for number in range(0, 60, 5)]
        for tag in there:
            hub.shelf.manifests[tag] = image("one")
        for tag in here:
            await hub.world.push(image("two"), Tag(tag), HERE)
        for n in (1, 3, 7, 100):
            found: list[str] = []
            last: str | None = ""
            while last is not None:
                page = await hub.repository().tags(n=n, last=last)
                assert len(page.entries) <= n
                found += page.entries
                last = page.next
            assert found == sorted({*there, *here})
        assert (await hub.repository().tags(n=0, last="")).entries == []
        assert hub.shelf.calls["tags"] == 1

    @pytest.mark.parametrize(
        "more",
        [
            {"annotations": {"a": "\ud800"}},
            {"annotations": {"a": float("nan")}},
            {"size": True},
            {"deep": None},
        ],
        ids=["surrogate", "nan", "no size", "deep"],
    )
    async def test_referrers_that_cannot_be_told_are_not(self, around: Make, more: dict[str, Any]) -> None:
        hub = around()
        subject = hub.shelf.add(image("one"), "latest")
        if "deep" in more:
            more = {"deep": []}
            for _ in range(100_000):
                more = {"deep": more}
        good = descriptor(b"good")

        async def referrers(name: RepositoryName, digest: Digest) -> list[dict[str, Any]]:
            return [good, {**descriptor(b"bad"), **more}, good]

        hub.shelf.referrers = referrers  # type: ignore[method-assign]
        page = await hub.repository().referrers(subject, artifact_types=(), after="")
        text = "".join(page.entries).encode()
        assert str(Digest.of(b"good")).encode() in text
        assert len(page.entries) <= 2
        for entry in page.entries:
            json.loads(entry, parse_constant=pytest.fail)

    async def test_many_referrers_take_one_look(self, around: Make) -> None:
        hub = around()
        subject = hub.shelf.add(image("one"), "latest")
        many = [descriptor(str(number).encode()) for number in range(5000)]

        async def referrers(name: RepositoryName, digest: Digest) -> list[dict[str, Any]]:
            return many

        hub.shelf.referrers = referrers  # type: ignore[method-assign]
        before = sum(hub.world.counted.calls.values())
        page = await hub.repository().referrers(subject, artifact_types=(), after="")
        assert len(page.entries) == 5000
        assert sum(hub.world.counted.calls.values()) - before < 20
