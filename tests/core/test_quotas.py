"""Quotas: what fits is pushed, what does not is refused before it is visible, and each byte counts once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from registry.core.batches import Given
from registry.core.registry import Registry
from registry.core.restoring import Wanted
from registry.errors import ManifestUnknown, QuotaExceeded
from registry.model.digests import Digest
from registry.model.media_types import OCI_INDEX
from registry.model.names import RepositoryName, Tag
from registry.removal.releasing import Releasing
from registry.store import layout
from registry.store.manifests import StoredManifest
from registry.store.quotas import Counted, QuotaIndex
from registry.work.effects import in_turn
from storage.errors import Unavailable
from tests.inmemory import NAME, TAG, Bytes, World, descriptor, image
from tests.upkeep.gathering import Interrupted, another, collected, push_index
from tests.upkeep.test_usage import process as counting_process

TEAM = RepositoryName("team")
OTHER = RepositoryName("team/other")
ELSEWHERE = RepositoryName("elsewhere")


def world_with(limit: int, **more: int) -> World:
    """A store where the prefix `team` may hold so many bytes, and others what is said."""
    return World(quotas={TEAM: limit, **{RepositoryName(name): size for name, size in more.items()}})


async def counted(world: World, registry: Registry | None = None) -> None:
    """Count everything."""
    async for _ in counting_process(world, registry=registry).run("tester"):
        pass


async def used(world: World, prefix: RepositoryName = TEAM, registry: Registry | None = None) -> int:
    """What counts for a quota."""
    return (await (registry or world.registry).quotas.exactly(prefix)).used_bytes


async def needed(world: World, prefix: str = "team") -> int:
    """What counts by the definition: manifests below a prefix, and what they refer to and is linked there."""
    store = world.store
    sizes: dict[Digest, int] = {}
    async for name in store.catalog.tree():
        if name != prefix and not name.startswith(f"{prefix}/"):
            continue
        async for digest in store.links.manifests(name):
            stored = await store.manifests.read(name, digest)
            sizes[digest] = len(stored.content)
            document = json.loads(stored.content)
            blobs = [document.get("config"), *document.get("layers", ()), *document.get("manifests", ())]
            for blob in (Digest.parse(one["digest"]) for one in blobs if one):
                if layout.layer_link(name, blob) in await world.keys():
                    target = await store.links.layer(name, blob)
                    sizes[target] = (await store.content.stat(target)).size_bytes
    return sum(sizes.values())


def size_of(*images: bytes) -> int:
    """What images take together."""
    sizes = {Digest.of(one): len(one) for one in images}
    for one in images:
        document = json.loads(one)
        sizes |= {Digest.parse(d["digest"]): d["size"] for d in [document["config"], *document["layers"]]}
    return sum(sizes.values())


async def test_what_fits_is_pushed_and_what_does_not_is_refused_with_numbers_and_not_seen() -> None:
    one, two = image("one", layers=(b"x" * 1000,)), image("two", layers=(b"y" * 1000,))
    limit = size_of(one, two) - 1
    world = world_with(limit)
    await world.push(one)
    assert await used(world) == size_of(one) == await needed(world)
    for blob in (b"{}", b"y" * 1000):
        await world.blob(blob, OTHER)
    with pytest.raises(QuotaExceeded, match=r"below team hold .* of the .* leaves no room for") as refused:
        await world.push_alone(two, name=OTHER)
    more = len(two) + 1000
    assert refused.value.detail == {
        "prefix": "team",
        "limit": limit,
        "used": size_of(one),
        "needed": more,
    }
    assert (refused.value.status, refused.value.code) == (403, "DENIED")
    assert not await world.holds(Digest.of(two), OTHER)
    with pytest.raises(ManifestUnknown):
        await world.repository(OTHER).manifest(TAG)
    assert await used(world) == size_of(one)
    # Who has no quota is not concerned.
    await world.push(two, name=ELSEWHERE)
    world.quotas[TEAM] += 1
    await world.process().repository(OTHER, "tester").push_manifest(TAG, two, None, [])
    assert await used(world) == size_of(one, two) == world.quotas[TEAM]


async def test_what_is_shared_below_the_prefix_counts_once_and_the_same_again_nothing() -> None:
    one, two = image("one"), image("two")
    world = world_with(size_of(one, two))
    await world.push(one)
    await world.push(two, name=OTHER)
    assert await used(world) == size_of(one, two)
    # All of it is used, and still this adds nothing.
    for name in (NAME, OTHER):
        await world.push_alone(one if name == NAME else two, Tag("again"), name)
    assert await world.repository().mount(Digest.of(b"layer"), OTHER, lambda _: True)
    await world.repository().push_blob(Digest.of(b"layer"), Bytes(b"layer"))
    assert await used(world) == size_of(one, two)
    await counted(world)
    assert await used(world) == size_of(one, two)
    await world.push_alone(one, Tag("third"))
    assert await world.keys(f"{layout.QUOTAS}/team/added") == []


async def test_what_others_hold_makes_no_difference() -> None:
    one = image("one")
    world = world_with(size_of(one) - 1)
    await world.push(one, name=ELSEWHERE)
    for blob in (b"{}", b"layer"):
        await world.blob(blob)
    with pytest.raises(QuotaExceeded) as refused:
        await world.push_alone(one)
    detail = refused.value.detail
    assert isinstance(detail, Mapping) and detail["needed"] == size_of(one)


async def test_each_of_nested_quotas_holds() -> None:
    one, two = image("one"), image("two")
    world = world_with(size_of(one, two), **{"team/app": size_of(one)})
    await world.push(one)
    assert await used(world, NAME) == await used(world) == size_of(one)
    with pytest.raises(QuotaExceeded, match="below team/app hold"):
        await world.push_alone(two)
    assert await used(world, NAME) == await used(world) == size_of(one)
    await world.push(two, name=OTHER)
    assert (await used(world, NAME), await used(world)) == (size_of(one), size_of(one, two))
    # A name that only begins alike is another.
    await world.push(image("three"), name=RepositoryName("team-b"))


async def test_an_upload_that_cannot_fit_is_refused_at_its_start() -> None:
    world = world_with(100)
    repository = world.repository()

    class Unread(Bytes):
        async def __aiter__(self) -> Any:
            raise AssertionError("the body was read")
            yield b""

    with pytest.raises(QuotaExceeded, match="no room for 101B more"):
        await repository.push_blob(Digest.of(b"x" * 101), Unread(length=101))
    session = await repository.begin_upload("sha256")
    assert await repository.append(session.uuid, Bytes(b"x" * 60), None) == 60
    with pytest.raises(QuotaExceeded, match="no room for 101B more"):
        await repository.append(session.uuid, Unread(length=41), None)
    with pytest.raises(QuotaExceeded):
        await repository.finish_upload(session.uuid, Digest.of(b"x" * 101), Unread(length=41), None)
    await repository.append(session.uuid, Bytes(b"x" * 40), None)
    await repository.finish_upload(session.uuid, Digest.of(b"x" * 100), Bytes(), None)
    # One that does not say how long it is, as soon as it is too long.
    session = await repository.begin_upload("sha256")
    with pytest.raises(QuotaExceeded):
        await repository.append(session.uuid, Bytes(b"x" * 101, length=None), None)
    assert await repository.upload_size(session.uuid) == 0
    assert await repository.append(session.uuid, Bytes(b"x" * 100, length=None), None) == 100
    await world.blob(b"z" * 101, ELSEWHERE)
    with pytest.raises(QuotaExceeded):
        await repository.mount(Digest.of(b"z" * 101), ELSEWHERE, lambda _: True)
    assert not await repository.mount(Digest.of(b"none"), ELSEWHERE, lambda _: True)


async def test_where_all_is_used_no_upload_begins() -> None:
    one = image("one")
    world = world_with(size_of(one))
    await world.push(one)
    with pytest.raises(QuotaExceeded, match="no room for anything more"):
        await world.repository(OTHER).begin_upload("sha256")
    await world.repository(ELSEWHERE).begin_upload("sha256")


async def test_a_delete_makes_room_from_the_next_count_on() -> None:
    one, two = image("one", layers=(b"x" * 1000,)), image("two", layers=(b"y" * 1000,))
    world = world_with(size_of(one, two) - 1)
    await world.push(one)
    await world.repository().delete_manifest(Digest.of(one))
    for blob in (b"{}", b"y" * 1000):
        await world.blob(blob)
    with pytest.raises(QuotaExceeded):
        await world.push_alone(two)
    await counted(world)
    assert await used(world) == await needed(world) == 0
    await world.push_alone(two)
    assert await used(world) == await needed(world) == size_of(two)


async def test_a_quota_that_is_set_later_counts_what_was_there_when_it_was_counted() -> None:
    one, two = image("one"), image("two")
    world = World()
    await world.push(one)
    world.quotas[TEAM] = size_of(one, two) - 1
    world.registry = world.process()
    assert await used(world) == 0
    # It is due at once, whatever the interval.
    counting = counting_process(world)
    await counting.if_due()
    assert await used(world) == size_of(one)
    await counting.if_due()
    assert len(await world.keys(layout.reports("usage"))) == 1
    with pytest.raises(QuotaExceeded):
        await world.push_alone(two)
    # Where it is none any more, nobody keeps account.
    del world.quotas[TEAM]
    world.clock.advance(days=1)
    await counting_process(world, registry=world.process()).if_due()
    assert await world.keys(layout.QUOTAS) == []


async def test_a_count_by_somebody_who_knows_of_no_quotas_counts_those_that_servers_know() -> None:
    world = world_with(1000)
    await world.push(image("one"))
    await world.repository().delete_manifest(Digest.of(image("one")))
    await counted(world, World.process(_without_quotas(world)))
    assert await used(world) == 0 and await world.keys(f"{layout.QUOTAS}/team/added") == []


def _without_quotas(world: World) -> World:
    other = World()
    other.clock, other.driver, other.store = world.clock, world.driver, world.store
    return other


async def test_children_of_an_index_count_also_where_they_were_there_before_the_quota() -> None:
    one, two = image("one"), image("two", layers=(b"other",))
    world = World()
    await world.push(one, Digest.of(one))
    await world.push(two, Digest.of(two))
    await world.blob(b"cached")
    world.quotas[TEAM] = 100_000
    world.registry = world.process()
    absent = descriptor(b"absent")
    index = await push_index(world, [*map(descriptor, (one, two, b"cached")), absent], TAG)
    assert await used(world) == size_of(one, two) + 6 + len(index) == await needed(world)
    await counted(world)
    assert await used(world) == size_of(one, two) + 6 + len(index)
    # Those that count are not looked at again.
    world.counted.calls.clear()
    await push_index(world, [*map(descriptor, (one, two))], Tag("again"))
    plain = World()
    for child in (one, two):
        await plain.push(child, Digest.of(child))
    plain.counted.calls.clear()
    await push_index(plain, [*map(descriptor, (one, two))], Tag("again"))
    assert world.counted.calls["get"] - plain.counted.calls["get"] == 2  # no links of blobs


@pytest.mark.parametrize("how", ["an index", "an index of it", "several at once"])
@pytest.mark.parametrize("is_collected", [False, True])
async def test_what_would_come_back_for_a_push_has_to_fit_before_it_does(
    how: str, is_collected: bool
) -> None:
    """trap 79: it can be pulled, and counts, whatever becomes of the push"""
    big, other = image("big", layers=(b"x" * 10_000,)), image("other", layers=(b"y" * 9_000,))
    world = world_with(1 << 20)
    digest = await world.push(big, Digest.of(big))
    taken = {digest: await world.store.manifests.written_at(NAME, digest)}
    listed = big
    if how == "an index of it":
        listed = await push_index(world, [descriptor(big)])
        index = Digest.of(listed)
        taken = {index: await world.store.manifests.written_at(NAME, index), **taken}
    releasing = Releasing(world.store, world.registry.intents, "retention")
    assert await releasing.release_manifests(NAME, taken) == taken.keys()
    if is_collected:
        world.clock.advance(days=2)
        assert (await collected(world)).blobs_taken > 1
    await world.push(other, TAG)
    await counted(world)
    pushed = Digest.of(content := index_of(listed))
    room = size_of(big, other) + len(content) + (0 if listed is big else len(listed))

    async def push() -> None:
        repository = world.registry.repository(NAME, "tester")
        if how == "several at once":
            await repository.push_manifests([Given(StoredManifest(pushed, OCI_INDEX, content))], in_turn)
        else:
            await repository.push_manifest(Tag("index"), content, OCI_INDEX, [])

    world.quotas[TEAM] = room - 1
    world.registry = world.process()
    before = await world.keys()
    with pytest.raises(QuotaExceeded):
        await push()
    assert not await world.holds(digest)
    assert await world.keys() == before
    world.quotas[TEAM] = room
    world.registry = world.process()
    await push()
    assert await world.holds(digest)
    assert await used(world) == room == await needed(world)
    await counted(world)
    assert await used(world) == room


def index_of(child: bytes) -> bytes:
    """An index of one manifest."""
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor(child)], "of": "all"}
    return json.dumps(document).encode()


async def test_a_blob_under_another_digest_of_the_same_bytes_counts_once() -> None:
    world = world_with(10_000)
    sha256, sha512 = Digest.of(b"layer"), Digest.of(b"layer", "sha512")
    one = image("one")
    await world.push(one)
    await world.store.links.put_alias(NAME, sha512, sha256)
    alias = json.dumps(
        {
            "schemaVersion": 2,
            "config": {**descriptor(b"layer"), "digest": str(sha512)},
            "layers": [],
        }
    ).encode()
    await world.push_alone(alias, Tag("alias"))
    assert await used(world) == size_of(one) + len(alias) == await needed(world)
    await counted(world)
    assert await used(world) == size_of(one) + len(alias)


async def test_copies_and_restores_are_refused_before_anything_is_written() -> None:
    one = image("one", layers=(b"x" * 1000,))
    world = world_with(size_of(one) - 1)
    await world.push(one, name=ELSEWHERE)
    before = await world.keys()
    source = world.repository(ELSEWHERE)
    with pytest.raises(QuotaExceeded) as refused:
        await world.repository().copy(TAG, source, TAG, put_back=False, referrers=True)
    assert not refused.value.in_part and await world.keys() == before
    world.quotas[TEAM] += 1
    world.registry = world.process()
    await world.repository().copy(TAG, source, TAG, put_back=False, referrers=True)
    assert await used(world) == size_of(one)
    await world.repository().delete_manifest(Digest.of(one))
    await counted(world)
    assert await used(world) == 0
    filler = image("filler")
    await world.push(filler, name=OTHER)
    before = await world.keys()
    with pytest.raises(QuotaExceeded):
        await world.repository().restore(Wanted({TAG: Digest.of(one)}, [], []), overwrite=False, some=False)
    assert await world.keys() == before
    await world.repository(OTHER).delete_manifest(Digest.of(filler))
    await counted(world)
    await world.repository().restore(Wanted({TAG: Digest.of(one)}, [], []), overwrite=False, some=False)
    assert await used(world) == size_of(one) == await needed(world)


async def test_without_a_quota_no_call_more_is_made() -> None:
    async def calls(world: World) -> Mapping[str, int]:
        world.counted.calls.clear()
        await world.push(image("one"), name=ELSEWHERE)
        await world.repository(ELSEWHERE).mount(Digest.of(b"layer"), ELSEWHERE, lambda _: True)
        session = await world.repository(ELSEWHERE).begin_upload("sha256")
        await world.repository(ELSEWHERE).append(session.uuid, Bytes(b"xyz"), None)
        return dict(world.counted.calls)

    assert await calls(world_with(10)) == await calls(World())


async def test_whether_something_was_counted_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_with(1 << 20)
    await world.push(image("counted"))
    await counted(world)
    asked: Counter[Digest] = Counter()
    inner = QuotaIndex.holds

    async def noted(self: QuotaIndex, last: Counted, digests: Collection[Digest]) -> set[Digest]:
        asked.update(digests)
        return await inner(self, last, digests)

    monkeypatch.setattr(QuotaIndex, "holds", noted)
    digest = await world.push_alone(image("new"))
    assert asked == dict.fromkeys((digest, Digest.of(b"{}"), Digest.of(b"layer")), 1)


async def test_two_processes_exceed_it_by_no_more_than_what_was_in_flight() -> None:
    """Both look before either adds; whoever looks after that is refused."""
    images = [image(f"{number}", layers=(b"x" * 100 * (number + 1),)) for number in range(3)]
    limit = max(size_of(one) for one in images[:2])
    world = world_with(limit)
    for one in images:
        for blob in (b"{}", b"x" * (json.loads(one)["layers"][0]["size"])):
            await world.blob(blob)

    class Meeting:
        """Lets another push go all the way when this one is about to add what it has found to fit."""

        def __init__(self) -> None:
            self.met = False

        def __getattr__(self, name: str) -> Any:
            return getattr(world.driver, name)

        async def put(self, key: str, data: bytes, **how: Any) -> None:
            if "/added/" in key and not self.met:
                self.met = True
                await world.push_alone(images[1], Tag("second"))
            await world.driver.put(key, data, **how)

    slow = world.process()
    first = Registry(
        another(world, Meeting()),
        uploads=slow.uploads._limits,
        max_references=100,
        allow_missing_layers=False,
        deletes=True,
        read_only=False,
        quotas=world.quotas,
    )
    await first.repository(NAME, "tester").push_manifest(Tag("first"), images[0], None, [])
    assert limit < await used(world) == size_of(*images[:2]) == await needed(world)
    with pytest.raises(QuotaExceeded):
        await world.push_alone(images[2], Tag("third"))
    # What is there may go on being tagged.
    await world.push_alone(images[0], Tag("again"))


async def test_of_a_restore_that_does_not_fit_as_a_whole_nothing_is_there_again() -> None:
    one, two = image("one"), image("two", layers=(b"y" * 1000,))
    world = world_with(size_of(one, two))
    await world.push(one, Tag("one"))
    await world.push(two, Tag("two"))
    for content in (one, two):
        await world.repository().delete_manifest(Digest.of(content))
    await counted(world)
    world.quotas[TEAM] -= 1
    world.registry = world.process()
    wanted = Wanted({Tag("one"): Digest.of(one), Tag("two"): Digest.of(two)}, [], [])
    before = await world.keys()
    with pytest.raises(QuotaExceeded) as refused:
        await world.repository().restore(wanted, overwrite=False, some=False)
    assert not refused.value.in_part and await world.keys() == before
    world.quotas[TEAM] += 1
    await world.process().repository(NAME, "tester").restore(wanted, overwrite=False, some=False)
    assert await used(world) == size_of(one, two)


class Dying:
    """A driver that fails for good at a call of a number: what comes after it does not happen."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self.left = number

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._world.driver, name)
        if name in ("put", "delete", "copy", "compose"):

            async def call(*arguments: Any, **options: Any) -> Any:
                self.left -= 1
                if self.left <= 0:
                    raise Unavailable("", "died")
                return await method(*arguments, **options)

            return call
        return method


def on(world: World, driver: Any) -> Registry:
    """A process that sees the store through another driver."""
    return Registry(
        another(world, driver),
        uploads=world.registry.uploads._limits,
        max_references=100,
        allow_missing_layers=False,
        deletes=True,
        read_only=False,
        quotas=world.quotas,
    )


async def test_a_push_that_dies_at_any_step_is_exact_again_after_a_count() -> None:
    one, two = image("one"), image("two", layers=(b"y" * 100,))
    for number in range(1, 40):
        world = world_with(size_of(one, two))
        await world.push(one)
        for blob in (b"{}", b"y" * 100):
            await world.blob(blob)
        driver = Dying(world, number)
        done = False
        try:
            await on(world, driver).repository(NAME, "tester").push_manifest(Tag("two"), two, None, [])
            done = True
        except Unavailable:
            pass
        # Never too little, whatever of it is visible.
        assert await used(world) >= await needed(world)
        await counted(world)
        assert await used(world) >= await needed(world)
        # Its intent, if it stands, is believed for two hours.
        world.clock.advance(hours=2, seconds=1)
        await counted(world)
        assert await used(world) == await needed(world)
        if done:
            return
    raise AssertionError("it never comes to its end")


@pytest.mark.parametrize("act", ["push", "delete and push", "refused", "push again"])
async def test_whatever_comes_at_any_call_of_a_count_counts_never_too_little_and_exactly_after_the_next(
    act: str,
) -> None:
    one, two = image("one"), image("two", layers=(b"y" * 100,))
    for number in range(1, 100):
        world = world_with(size_of(one, two) + 10)
        await world.push(one)
        await world.push(image("three"), name=OTHER)
        await world.repository(OTHER).delete_manifest(Digest.of(image("three")))

        async def meanwhile(world: World = world) -> None:
            if "delete" in act:
                await world.repository().delete_manifest(Digest.of(one))
            if "again" in act:
                await world.push_alone(one, Tag("again"))
            for blob in (b"{}", b"y" * 100):
                await world.blob(blob)
            try:
                content = image("too large" * 1000) if act == "refused" else two
                await world.push_alone(content, Tag("two"))
            except QuotaExceeded:
                pass

        interrupted = Interrupted(world, number, meanwhile)
        registry = on(world, interrupted)
        await counted(world, registry)
        assert await used(world) >= await needed(world)
        if interrupted.left > 0:
            return
        await counted(world)
        assert await used(world) == await needed(world)
    raise AssertionError("the count never comes to its end")


@pytest.mark.parametrize("size", [0, 1, 5, 4096, 5000, 20_000])
async def test_what_was_counted_is_found_however_much_that_is(size: int) -> None:
    world = World()
    index = world.registry.quotas.index
    digests = [Digest.of(str(number).encode()) for number in range(size + 200)]
    halves = sorted(digest.half for digest in digests[:size])
    await index.end(TEAM, await index.begin(TEAM, 1.0), 12, halves)
    found = (await index.counts(TEAM)).last
    assert found is not None and (found.size_bytes, found.number) == (12, size)
    asked = digests[max(0, size - 200) :]
    assert await index.holds(found, asked) == set(asked[: min(size, 200)])
    edges = {digests[at] for at in range(size) if digests[at].half in (halves[0], halves[-1])}
    assert await index.holds(found, edges) == edges
    # What a power cut or two counts since have taken is not known to count.
    await world.remove_all([found.key])
    assert await index.holds(found, asked) == set()


async def test_what_was_counted_is_found_where_digests_are_not_as_even_as_chance_has_them() -> None:
    world = World()
    index = world.registry.quotas.index
    await index.end(TEAM, await index.begin(TEAM, 1.0), 12, range(0, 20_000, 2))
    found = (await index.counts(TEAM)).last
    assert found is not None
    digests = [Digest("sha256", f"{number:032x}{'0' * 32}") for number in (0, 1, 5000, 9999, 19_998, 19_999)]
    assert await index.holds(found, digests) == {digests[at] for at in (0, 2, 4)}


async def test_a_push_that_dies_lets_nothing_count_whose_blobs_do_not() -> None:
    """The next push of the same does not look at what counts already."""
    for number in range(1, 40):
        world = World()
        children = [image(f"{one}", layers=(b"x" * one, b"shared")) for one in (10, 20)]
        for child in children:
            await world.push(child, Digest.of(child))
        index = [*map(descriptor, children)]
        world.quotas[TEAM] = 100_000
        world.registry = on(world, Dying(world, number))
        done = False
        try:
            await push_index(world, index, TAG)
            done = True
        except Unavailable:
            world.registry = world.process()
            await push_index(world, index, TAG)
        assert await used(world) == await needed(world)
        if done:
            return
    raise AssertionError("it never comes to its end")


async def test_a_lost_count_is_followed_by_the_one_before() -> None:
    world = world_with(100_000)
    await world.push(image("one"))
    for _ in range(3):
        await counted(world)
    keys = await world.keys(f"{layout.QUOTAS}/team/counted")
    assert len(keys) == 2
    await world.remove_all(keys[-1:])
    assert await used(world) == size_of(image("one"))


async def test_a_count_is_due_after_a_power_cut_and_when_very_much_was_added(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = world_with(100_000)

    async def counts() -> int:
        world.clock.advance(seconds=1)
        await counting_process(world).if_due()
        return len(await world.keys(layout.reports("usage")))

    assert [await counts(), await counts()] == [1, 1]
    world.counted.epoch = "another"
    assert [await counts(), await counts()] == [2, 2]
    # Two machines in turn.
    world.counted.epoch = "memory"
    assert await counts() == 2
    monkeypatch.setattr("registry.upkeep.counting.MOST_ADDED", 2)
    await world.push(image("one"))
    assert [await counts(), await counts()] == [3, 3]
