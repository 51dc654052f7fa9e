"""What somebody may not see who may pull from some repositories of a namespace: what others of it have."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from registry.core.registry import Registry
from registry.errors import BlobUnknown, RegistryError
from registry.mirror import fetching
from registry.mirror.fetching import lease_name
from registry.mirror.mirror import Mirror
from registry.mirror.upstreams import Upstreams
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.work import leases
from storage.keys import is_segment
from tests.mirror.shelf import HERE, Around
from tests.mirror.test_blobs import Make, dies_at, until

MIB = 1 << 20
# The upstream has no such repository.
STRANGE = RepositoryName("hub/nowhere/app")


class TestWhileItComes:
    @pytest.mark.parametrize("first", [HERE, STRANGE])
    async def test_for_another_repository_at_the_same_moment(
        self, around: Make, first: RepositoryName
    ) -> None:
        hub = around()
        content = os.urandom(2 * MIB)
        digest = hub.shelf.add_blob(content)
        names = (HERE, STRANGE) if first == HERE else (STRANGE, HERE)
        found = await asyncio.gather(*(hub.read(digest, name=name) for name in names), return_exceptions=True)
        told = dict(zip(names, found, strict=True))
        assert told[HERE] == content, "whoever asks for what is not there spoils it for nobody"
        assert isinstance(told[STRANGE], BlobUnknown)
        with pytest.raises(BlobUnknown):
            await hub.world.repository(STRANGE).blob(digest, may_push=False)

    async def test_to_another_process(self, around: Make) -> None:
        hub = around()
        digest = hub.shelf.add_blob(os.urandom(4 * MIB))
        hub.shelf.hold(3 * MIB)
        seen, seen_there = bytearray(), bytearray()
        first = asyncio.create_task(hub.read(digest, seen=seen.extend))
        await until(lambda: len(seen) == 3 * MIB)
        second = hub.process(hub.world.process(), "the second")
        with pytest.raises(BlobUnknown):
            await hub.read(digest, name=STRANGE, mirror=second, seen=seen_there.extend)
        assert not seen_there
        first.cancel()


@pytest.mark.parametrize("came", [3 * MIB, 4 * MIB])
async def test_what_came_for_another_before_a_process_died(around: Make, came: int) -> None:
    hub = around()
    content = os.urandom(4 * MIB)
    digest = hub.shelf.add_blob(content)
    await dies_at(hub, digest, content[:came], len(content))
    seen = bytearray()
    with pytest.raises(BlobUnknown):
        await hub.read(digest, name=STRANGE, seen=seen.extend)
    assert not seen
    assert await hub.read(digest) == content
    assert hub.shelf.sent_bytes == len(content) - came, "what had come does not come again"


async def test_a_digest_that_others_brought(around: Make) -> None:
    hub = around()
    digest = hub.shelf.add_blob(b"content")
    await hub.read(digest)
    with pytest.raises(BlobUnknown):
        await hub.read(digest, name=STRANGE)


async def test_a_slow_namespace_holds_up_no_other() -> None:
    digest = Digest.of(b"content")
    names = [RepositoryName("hub"), RepositoryName("mirrors/hub"), RepositoryName("mirrors-hub")]
    leases = {lease_name(name, digest) for name in names}
    assert len(leases) == len(names) and all(map(is_segment, leases))


class TestOneThatLies:
    async def test_followers_get_no_mixture_of_lie_and_truth(self, around: Make) -> None:
        hub = around()
        content, lie = os.urandom(4 * MIB), os.urandom(4 * MIB)
        digest = hub.shelf.add_blob(content)
        hub.shelf.blobs[str(digest)] = lie
        more = hub.shelf.hold(3 * MIB)
        seen, seen_there = bytearray(), bytearray()
        first = asyncio.create_task(hub.read(digest, seen=seen.extend))
        await until(lambda: len(seen) == 3 * MIB)
        second = hub.process(hub.world.process(), "the second")
        following = asyncio.create_task(hub.read(digest, mirror=second, seen=seen_there.extend))
        await until(lambda: len(seen_there) >= MIB)
        # From the next request on it behaves.
        hub.shelf.blobs[str(digest)] = content
        more.set()
        with pytest.raises(RegistryError, match="what it gave"):
            await first
        with pytest.raises(RegistryError, match="begun it anew"):
            await following
        assert len(seen_there) < len(content)
        assert await hub.read(digest, mirror=second) == content

    @pytest.mark.parametrize("whole", [True, False])
    async def test_nor_if_another_process_begins_anew_between_two_looks(
        self, around: Make, monkeypatch: pytest.MonkeyPatch, whole: bool
    ) -> None:
        hub = around()
        content, lie = os.urandom(4 * MIB), os.urandom(4 * MIB)
        digest = hub.shelf.add_blob(content)
        hub.shelf.blobs[str(digest)] = lie
        more = hub.shelf.hold(3 * MIB)
        seen, seen_there = bytearray(), bytearray()
        first = asyncio.create_task(hub.read(digest, seen=seen.extend))
        await until(lambda: len(seen) == 3 * MIB)
        second = hub.process(hub.world.process(), "the second")
        looks = asyncio.Event()

        async def asleep(_: float) -> None:
            await looks.wait()

        monkeypatch.setattr(second.blobs._fetching, "_sleep", asleep)
        following = asyncio.create_task(hub.read(digest, mirror=second, seen=seen_there.extend))
        await until(lambda: len(seen_there) >= MIB)
        hub.shelf.blobs[str(digest)] = content
        more.set()
        with pytest.raises(RegistryError, match="what it gave"):
            await first
        if not whole:
            hub.shelf.hold(3 * MIB)
        third = hub.process(hub.world.process(), "the third")
        begun = asyncio.create_task(hub.read(digest, mirror=third))
        await until(lambda: begun.done() if whole else hub.shelf.sent_bytes == 7 * MIB)
        looks.set()
        with pytest.raises(RegistryError, match="begun it anew"):
            await following
        assert len(seen_there) < len(content)
        begun.cancel()


class Real:
    """Processes that wait for real time, and not for long."""

    def __init__(self, hub: Around, monkeypatch: pytest.MonkeyPatch) -> None:
        self._hub = hub
        monkeypatch.setattr(fetching, "_LEASE_SECONDS", 0.4)
        monkeypatch.setattr(fetching, "_LOOK_SECONDS", 0.02)
        monkeypatch.setattr(leases, "_BEAT_SECONDS", 0.05)

    def process(self, registry: Registry, who: str) -> Mirror:
        upstreams = Upstreams(
            [self._hub.shelf],  # type: ignore[list-item]
            clock=time.monotonic,
            tell=lambda _, error: self._hub.failures.append(error),
            rest_seconds=1.0,
        )
        return Mirror(
            self._hub.settings, registry, upstreams, who=who, clock=time.monotonic, memory=self._hub.memory
        )


async def test_an_upstream_that_says_nothing_for_a_while_is_asked_by_nobody_else(
    around: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = around()
    real = Real(hub, monkeypatch)
    content = os.urandom(2 * MIB)
    digest = hub.shelf.add_blob(content)
    more = hub.shelf.hold(MIB)
    mirrors = [real.process(hub.world.registry, "the first"), real.process(hub.world.process(), "the second")]
    reading = [asyncio.create_task(hub.read(digest, mirror=mirror)) for mirror in mirrors]
    # Twice as long as a process may be silent that holds the lease.
    await asyncio.sleep(0.8)
    more.set()
    assert [await one for one in reading] == [content, content]
    assert hub.shelf.calls["blob"] == 1


async def test_a_process_that_was_asleep_gives_its_clients_nothing_of_another(
    around: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever goes on with it may be given other bytes than it was."""
    hub = around()
    digest = hub.shelf.add_blob(os.urandom(2 * MIB))
    more = hub.shelf.hold(MIB)
    real = Real(hub, monkeypatch)
    mirror = real.process(hub.world.registry, "the first")
    seen = bytearray()
    reading = asyncio.create_task(hub.read(digest, mirror=mirror, seen=seen.extend))
    await until(lambda: len(seen) == MIB)
    lease = f"_moorage/v1/leases/{lease_name(hub.mirror.name, digest)}"
    await hub.world.driver.put(f"{lease}/{9:020d}", b"{}")
    # Long enough for it to say once more that it is alive.
    await asyncio.sleep(0.3)
    more.set()
    with pytest.raises(RegistryError, match="another server has taken over"):
        await reading
    assert f"{lease}/{9:020d}" in await hub.world.keys(lease), "it is not ours to end"
