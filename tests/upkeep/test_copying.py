"""A store copied to another place while its registry serves: sound after every pass, and alike in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, cast

import pytest

from registry.core.last_pulls import coverage
from registry.core.pull_records import PullRecords
from registry.errors import Unsupported
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from registry.store.store import Store
from registry.upkeep.check import Looked, check_repository
from registry.upkeep.comparing import Comparing
from registry.upkeep.copying import SETTLE, Copying
from storage.contract import Driver, ObjectInfo, OpenObject
from storage.errors import NotFound, Unavailable
from tests.inmemory import NAME, TAG, World, image
from tests.upkeep.pulling import known, now, process

OTHER = RepositoryName("other")
LAYER = Digest.of(b"layer")


@dataclass
class Pair:
    """Two registries."""

    source: World = field(default_factory=World)
    target: World = field(default_factory=World)

    async def copy(
        self, *, source: Driver | None = None, target: Driver | None = None, with_secrets: bool = False
    ) -> Copying:
        stores = (
            Store(driver or world.driver, world.store.effects, manifest_cache_bytes=0)
            for driver, world in ((source, self.source), (target, self.target))
        )
        copying = Copying(*stores, with_secrets=with_secrets, pause=self._pause)
        async for _ in copying.run():
            pass
        return copying

    async def freeze(self) -> None:
        """The source takes no writes any more, and nobody is still at it."""
        await self.source.store.marks.set_read_only(on=True)
        self.source.clock.advance(seconds=SETTLE.total_seconds())

    async def differences(self) -> list[str]:
        comparing = Comparing(self.source.store, self.target.store)
        async for _ in comparing.run():
            pass
        return sorted(one.key for one in comparing.compared.differences)

    async def problems(self) -> list[str]:
        """What is not whole in the target."""
        found: list[str] = []
        async for name in self.target.store.catalog.tree():
            checked = check_repository(self.target.registry, name, hash_blobs=True, looked=Looked())
            found += [f"{name} {one.content}: {one.problem}" async for one in checked]
        return found

    async def _pause(self, seconds: float) -> None:
        self.source.clock.advance(seconds=seconds)


@pytest.fixture
async def pair() -> Pair:
    made = Pair()
    await made.source.push(image("one"))
    await made.source.push(image("two"), Tag("v2"), OTHER)
    return made


async def pulled(world: World, tag: Tag = TAG, name: RepositoryName = NAME) -> bytes:
    return (await world.repository(name).manifest(tag)).content


async def test_all_comes_over_and_the_target_takes_writes_after_the_last_pass(pair: Pair) -> None:
    first = await pair.copy()
    assert not first.last
    assert await pulled(pair.target) == image("one")
    assert await pulled(pair.target, Tag("v2"), OTHER) == image("two")
    assert await pair.target.store.marks.is_read_only()
    assert await pair.problems() == [] == await pair.differences()
    await pair.freeze()
    last = await pair.copy()
    assert last.last and last.copied.objects == 0, "nothing is copied twice"
    assert not await pair.target.store.marks.is_read_only()


async def test_the_next_pass_brings_only_what_is_new_and_what_moved(pair: Pair) -> None:
    await pair.copy()
    await pair.source.push(image("three"))
    await pair.source.push(image("one"), Tag("old"))
    again = await pair.copy()
    assert again.copied.data_bytes == len(image("three"))
    assert await pulled(pair.target) == image("three")
    assert await pulled(pair.target, Tag("old")) == image("one")
    assert await pair.differences() == []


async def test_what_came_from_elsewhere_is_known_there_too_and_what_of_it_is_pinned(pair: Pair) -> None:
    store, digest = pair.source.store, Digest.of(image("one"))
    await store.transfers.mark(RepositoryName("team"), LAYER, None)
    await store.origins.note_elsewhere(NAME, digest)
    await store.pins.put(NAME, TAG, "operator")
    await store.pins.put(NAME, digest, "operator")
    assert len(await pair.differences()) > 4
    await pair.copy()
    assert await pair.differences() == []
    copied = pair.target.store
    assert (await copied.origins.of(NAME)).cached == {digest}
    assert await copied.pins.of(NAME) == {TAG, digest}
    await store.pins.remove(NAME, TAG)
    await pair.freeze()
    assert (await pair.copy()).last
    assert await copied.pins.of(NAME) == {digest}


async def test_what_is_known_of_bundles_is_known_there_too(pair: Pair) -> None:
    """An older one is refused there as it is here, and a number is given once."""
    driver = pair.source.store.driver
    keys = [
        layout.bundle_sent("weekly", 1, "acknowledged"),
        layout.bundle_received("b-00000000000000000000", "decision"),
        layout.bundle_contents("b-00000000000000000000"),
    ]
    for key in keys:
        await driver.put(key, b"{}")
    await pair.copy()
    assert await pair.differences() == []
    assert [key async for key in pair.target.store.driver.walk(layout.BUNDLES)] == sorted(keys)
    await driver.delete(keys[:1])
    await pair.freeze()
    assert (await pair.copy()).last
    assert [key async for key in pair.target.store.driver.walk(layout.BUNDLES)] == sorted(keys[1:])


async def test_the_targets_own_audit_trail_stays_beside_the_sources(pair: Pair) -> None:
    theirs, own = layout.audit_entry("1"), layout.audit_entry("2")
    await pair.source.driver.put(theirs, b"{}")
    await pair.copy()
    await pair.target.driver.put(own, b"{}")
    await pair.freeze()
    assert (await pair.copy()).last
    assert (
        await pair.target.driver.get(theirs, limit=10) == await pair.target.driver.get(own, limit=10) == b"{}"
    )
    assert await pair.differences() == []


async def test_what_the_source_lost_goes_in_the_last_pass_and_not_before(pair: Pair) -> None:
    await pair.copy()
    await pair.source.repository().delete_tag(TAG)
    await pair.source.repository(OTHER).delete_manifest(Digest.of(image("two")))
    await pair.source.driver.delete([layout.blob_data(Digest.of(image("two")))])
    await pair.copy()
    assert await pulled(pair.target) == image("one")
    await pair.freeze()
    assert (await pair.copy()).last
    assert await pair.differences() == []
    assert await pair.target.store.links.tags(NAME) == []
    assert await pair.target.store.links.tags(OTHER) == []


async def test_the_last_pass_waits_until_every_process_has_seen_the_mark(pair: Pair) -> None:
    await pair.copy()
    await pair.source.store.marks.set_read_only(on=True)
    begun = pair.source.clock.now
    assert (await pair.copy()).last
    assert pair.source.clock.now - begun >= SETTLE


async def test_a_mark_that_goes_during_the_pass_makes_it_no_last_one(pair: Pair) -> None:
    await pair.freeze()
    copying = Copying(pair.source.store, pair.target.store, with_secrets=False)
    async for _ in copying.run():
        await pair.source.store.marks.set_read_only(on=False)
    assert not copying.last
    assert await pair.target.store.marks.is_read_only()


async def test_all_that_is_weighed_and_hashed_is_counted_though_the_store_takes_its_time(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [
        (await pair.source.driver.stat(key)).size_bytes async for key in pair.source.driver.walk(layout.BLOBS)
    ]
    for driver in (pair.source.driver, pair.target.driver):
        monkeypatch.setattr(driver, "stat", later(driver.stat))
    copying = Copying(pair.source.store, pair.target.store, with_secrets=False, pause=asyncio.sleep)
    totals = {step.total async for step in copying.run() if step.text == "data"}
    assert totals == {sum(sizes)}
    comparing = Comparing(pair.source.store, pair.target.store)
    async for _ in comparing.run():
        pass
    assert comparing.compared.hashed_bytes == sum(sizes)


def later(call: Callable[[str], Awaitable[ObjectInfo]]) -> Callable[[str], Awaitable[ObjectInfo]]:
    """The call, which lets others go first."""

    async def answer(key: str) -> ObjectInfo:
        await asyncio.sleep(0)
        return await call(key)

    return answer


async def test_damaged_data_stays_behind_and_is_named(pair: Pair) -> None:
    damaged = layout.blob_data(LAYER)
    await pair.source.driver.put(damaged, b"other")
    await pair.freeze()
    copying = await pair.copy()
    assert [one.key for one in copying.copied.problems] == [damaged], (
        "once, though two repositories link to it"
    )
    assert await pair.target.store.marks.is_read_only(), "somebody has to look first"
    assert damaged in await pair.differences()


class Dying:
    """A driver on a disk that does not give one object any more."""

    def __init__(self, inner: Driver, key: str) -> None:
        self._inner, self._key, self.epoch = inner, key, inner.epoch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def get(self, key: str, *, limit: int) -> bytes:
        self._look(key)
        return await self._inner.get(key, limit=limit)

    @asynccontextmanager
    async def open(self, key: str) -> AsyncIterator[OpenObject]:
        self._look(key)
        async with self._inner.open(key) as opened:
            yield opened

    def _look(self, key: str) -> None:
        if key == self._key:
            raise Unavailable(key, "Input/output error")


@pytest.mark.parametrize("key", [layout.blob_data(LAYER), layout.layer_link(NAME, LAYER)])
async def test_what_a_dying_disk_does_not_give_stays_behind_and_the_rest_comes_over(
    pair: Pair, key: str
) -> None:
    copying = await pair.copy(source=cast(Driver, Dying(pair.source.driver, key)))
    assert {(one.key, one.problem) for one in copying.copied.problems} == {(key, "Input/output error")}
    assert key not in await pair.target.keys()
    assert await pulled(pair.target, Tag("v2"), OTHER) == image("two")


@pytest.mark.parametrize("secrets", [False, True])
async def test_secrets_come_over_only_when_asked_for(pair: Pair, secrets: bool) -> None:
    key = layout.secret("accounts", "alice")
    await pair.source.driver.put(key, b"sealed")
    await pair.copy(with_secrets=secrets)
    assert (key in await pair.target.keys()) == secrets


async def test_a_secret_that_is_gone_from_the_source_is_good_for_nothing_in_the_copy(pair: Pair) -> None:
    revoked, kept = layout.secret("apikeys", "6369"), layout.secret("apikeys", "6f70")
    await pair.source.driver.put(revoked, b"sealed")
    await pair.source.driver.put(kept, b"sealed")
    await pair.copy(with_secrets=True)
    await pair.source.driver.delete([revoked])
    await pair.copy(with_secrets=True)
    assert [key for key in await pair.target.keys() if key.startswith(layout.SECRET)] == [kept]


async def test_a_copy_without_secrets_leaves_those_of_the_target_alone(pair: Pair) -> None:
    await pair.copy()
    theirs = layout.secret("apikeys", "6369")
    await pair.target.driver.put(theirs, b"sealed")
    await pair.freeze()
    assert (await pair.copy()).last
    assert theirs in await pair.target.keys()


async def test_sessions_and_intents_stay_behind(pair: Pair) -> None:
    await pair.source.repository().begin_upload("sha256")
    await pair.source.driver.put(layout.intent("1"), b"{}")
    await pair.copy()
    assert not [key for key in await pair.target.keys() if "uploads" in key or "intents" in key]


async def test_a_target_that_takes_writes_is_refused_and_left_alone(pair: Pair) -> None:
    await pair.target.push(image("theirs"))
    before = await pair.target.keys()
    with pytest.raises(Unsupported, match="takes writes"):
        await pair.copy()
    assert await pair.target.keys() == before


async def test_a_store_is_not_copied_to_itself(pair: Pair) -> None:
    await pair.source.store.marks.set_read_only(on=True)
    before = await pair.source.keys()
    with pytest.raises(Unsupported, match="the same store"):
        await Pair(pair.source, pair.source).copy()
    assert await pair.source.keys() == before


async def test_a_source_without_anything_is_refused() -> None:
    with pytest.raises(Unsupported, match="no store"):
        await Pair().copy()


async def test_a_source_of_a_newer_program_is_refused(pair: Pair) -> None:
    await pair.source.driver.put(layout.FORMAT, b'{"oldest_writer": 99}')
    with pytest.raises(
        Unsupported, match="the source cannot be used: the store allows writers from level 99"
    ):
        await pair.copy()


class Meddled:
    """A driver; before its call of a number, or the step of a walk, something happens."""

    def __init__(self, inner: Driver, number: int, happens: Callable[[], Awaitable[None]]) -> None:
        self._inner, self._number, self._happens = inner, number, happens
        self.epoch = inner.epoch
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            await self._step()
            return await method(*arguments, **options)

        return call

    @asynccontextmanager
    async def open(self, key: str) -> AsyncIterator[OpenObject]:
        await self._step()
        async with self._inner.open(key) as opened:
            yield opened

    async def walk(self, prefix: str) -> AsyncIterator[str]:
        await self._step()
        async for key in self._inner.walk(prefix):
            yield key
            await self._step()

    async def _step(self) -> None:
        self.count += 1
        if self.count == self._number:
            await self._happens()


@pytest.mark.exhaustive
@pytest.mark.parametrize("side", ["source", "target"])
async def test_a_push_at_any_moment_is_copied_whole_or_not_yet(side: str) -> None:
    for number in count(1):
        pair = Pair()
        await pair.source.push(image("one"))

        async def push(world: World = pair.source) -> None:
            await world.push(image("late", layers=[b"another layer"]), Tag("late"))
            await world.push(image("late", layers=[b"another layer"]))

        meddled = Meddled(getattr(pair, side).driver, number, push)
        driver = cast(Driver, meddled)
        await (pair.copy(source=driver) if side == "source" else pair.copy(target=driver))
        if meddled.count < number:
            break
        assert await pair.problems() == [], number
        await pair.copy()
        assert await pulled(pair.target) == image("late", layers=[b"another layer"]), number
        assert await pair.differences() == [], number
    assert number > 20


@pytest.mark.exhaustive
async def test_a_source_that_vanishes_at_any_moment_takes_nothing_from_the_target() -> None:
    """As when its disk is unmounted: listings are empty then."""
    for number in count(1):
        pair = Pair()
        secret = layout.secret("apikeys", "6369")
        await pair.source.push(image("one"))
        await pair.source.push(image("two"), Tag("v2"), OTHER)
        await pair.source.driver.put(secret, b"sealed")
        await pair.copy(with_secrets=True)
        if number % 2:
            await pair.freeze()

        async def vanish(source: World = pair.source) -> None:
            await source.driver.delete(await source.keys())

        meddled = Meddled(pair.source.driver, number // 2 + 1, vanish)
        with suppress(Unsupported, NotFound):
            await pair.copy(source=cast(Driver, meddled), with_secrets=True)
        if meddled.count < number // 2 + 1:
            break
        assert await pair.target.store.marks.is_read_only(), number
        assert await pulled(pair.target) == image("one"), number
        assert await pulled(pair.target, Tag("v2"), OTHER) == image("two"), number
        assert secret in await pair.target.keys()
        assert await pair.problems() == [], number
    assert number > 40


@pytest.mark.exhaustive
async def test_what_is_pushed_to_a_target_that_takes_writes_at_any_moment_is_not_lost() -> None:
    """As when a second copy to it ends first."""
    theirs, live = image("theirs", layers=[b"their layer"]), RepositoryName("live")
    refused = 0
    for number in count(1):
        pair = Pair()
        await pair.source.push(image("one"))
        await pair.source.push(image("two"), Tag("v2"), OTHER)
        await pair.copy()
        await pair.source.push(image("three"))
        await pair.freeze()

        async def go_live(world: World = pair.target) -> None:
            await world.store.marks.set_read_only(on=False)
            await world.push(theirs, Tag("theirs"))
            await world.push(theirs, Tag("v9"), live)

        meddled = Meddled(pair.target.driver, number, go_live)
        try:
            await pair.copy(target=cast(Driver, meddled))
        except Unsupported:
            refused += 1
        if meddled.count < number:
            break
        assert await pulled(pair.target, Tag("theirs")) == theirs, number
        assert await pulled(pair.target, Tag("v9"), live) == theirs, number
        assert await pair.problems() == [], number
    assert refused > 5


@pytest.mark.exhaustive
async def test_a_copy_that_breaks_off_at_any_moment_is_sound_and_goes_on() -> None:
    async def fail() -> None:
        raise Unavailable("", "the store has gone")

    for number in count(1):
        pair = Pair()
        await pair.source.push(image("one"))
        await pair.source.push(image("two"), Tag("v2"), OTHER)
        meddled = Meddled(pair.target.driver, number, fail)
        try:
            await pair.copy(target=cast(Driver, meddled))
        except Unavailable:
            assert await pair.problems() == [], number
            await pair.copy()
            assert await pair.differences() == [], number
        else:
            break
    assert number > 20


async def test_what_is_known_of_pulls_goes_along_and_what_is_not_is_known_there_too(pair: Pair) -> None:
    one, two = process(pair.source), process(pair.source)
    await one.recording.begin()
    await two.recording.begin()
    for day in range(3):
        one.pull(times=day + 1)
        two.pull()
        await one.recording.record()
        await two.recording.record()
        await pair.copy()
        pair.source.clock.advance(days=1)
        await one.folding.run()
    began = now(pair.source)
    await two.recording.end()
    await one.recording.record()
    await pair.freeze()
    one.pull()
    await pair.copy()
    assert await known(pair.target.driver) == await known(pair.source.driver)
    assert sum((await known(pair.target.driver)).values()) == 9
    pair.source.clock.advance(days=1)
    found = (await coverage(PullRecords(pair.target.driver), began.date(), now(pair.source))).uncovered
    # Of what was answered since, nothing will ever come there.
    assert found == (began.date(), now(pair.source).date())
