"""A namespace that holds too much lets go what was not used for longest, and nothing that is somebody's."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from registry.errors import TooManyRequests
from registry.mirror.mirrors import Mirrors
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE
from registry.model.names import RepositoryName, Tag
from registry.model.tag_rights import EVERY_TAG
from registry.removal.releasing import Releasing
from registry.upkeep.retention.in_use import InUse, read_in_use
from registry.upkeep.settings import InUseList
from tests.inmemory import World, descriptor, image
from tests.mirror.evictions import (
    LAYER,
    Make,
    evict,
    evicting,
    fetch,
    fetch_index,
    held,
    layer,
    listing,
    made,
    pulled,
    size_of,
)
from tests.mirror.shelf import HERE, Around

Judged = Mapping[Digest, float]
OTHER = RepositoryName("hub/library/other")


def bound(*images: bytes, less: int = 1, **more: Any) -> dict[str, Any]:
    """Settings by which images are just too much together."""
    return {"max_size": f"{size_of(*images) - less}B", "fresh_for": "0s", **more}


def listing_as_used(line: str) -> Callable[[], Awaitable[InUse]]:
    """What runs somewhere, by a list of one line."""

    async def in_use() -> InUse:
        found = InUse()
        found.add(line, "running")
        return found

    return in_use


def names(evicted: Any) -> list[str]:
    """What went, in order, without the digests."""
    return [one.reference.partition("@")[0] for one in evicted.gone]


ONE, TWO, THREE = made("1"), made("2"), made("3")


async def three(hub: Around) -> list[Digest]:
    """Have three images come, each on its day, when a server counts pulls already."""
    await pulled(hub)
    return [await fetch(hub, content, f"v{number}") for number, content in enumerate((ONE, TWO, THREE), 1)]


async def test_what_was_not_used_for_longest_goes(around: Make) -> None:
    hub = around(**bound(ONE, TWO, THREE))
    one, two, three_ = await three(hub)
    await pulled(hub, (Tag("v1"), one))
    evicted = await evict(hub)
    assert names(evicted) == ["hub/library/app:v2"]
    assert evicted.gone[0].last_used == "2026-01-03"
    assert (evicted.held_bytes, evicted.freed_bytes) == (
        size_of(ONE, TWO, THREE),
        size_of(ONE, TWO, THREE) - size_of(ONE, THREE),
    )
    assert evicted.failures == []
    assert await held(hub, [one, two, three_]) == [one, three_]
    assert await hub.world.store.links.tags(HERE) == ["v1", "v3"]


async def test_a_pull_by_digest_or_of_what_is_listed_is_a_use_too(around: Make) -> None:
    hub = around(**bound(ONE, TWO, THREE))
    one, two, _ = await three(hub)
    await pulled(hub, (one, one))
    assert names(await evict(hub)) == ["hub/library/app:v2"]
    assert await held(hub, [one, two]) == [one]


async def test_of_what_was_used_on_one_day_the_first_to_come_goes_first(around: Make) -> None:
    hub = around(**bound(ONE, TWO, THREE))
    one, two, three_ = await three(hub)
    await pulled(hub, (Tag("v3"), three_), (Tag("v2"), two), (Tag("v1"), one))
    assert names(await evict(hub)) == ["hub/library/app:v1"]


async def test_it_goes_on_until_there_is_some_room(around: Make) -> None:
    hub = around(max_size=f"{size_of(TWO, THREE)}B")
    await three(hub)
    assert names(await evict(hub)) == ["hub/library/app:v1", "hub/library/app:v2"], "down to nine tenths"


async def test_nothing_goes_while_there_is_room(around: Make) -> None:
    hub = around(**bound(ONE, TWO, THREE, less=0))
    digests = await three(hub)
    before = await hub.world.keys("docker")
    evicted = await evict(hub)
    assert (evicted.manifests, evicted.gone, evicted.held_bytes) == (0, [], size_of(ONE, TWO, THREE))
    assert await hub.world.keys("docker") == before
    assert await held(hub, digests) == digests


async def test_a_dry_run_says_the_same_and_writes_nothing(around: Make) -> None:
    hub = around(**bound(ONE, TWO, THREE))
    await three(hub)
    before = await hub.world.keys()
    rehearsed = await evict(hub, dry_run=True)
    assert await hub.world.keys() == before
    evicted = await evict(hub)
    assert (rehearsed.gone, rehearsed.freed_bytes) == (evicted.gone, evicted.freed_bytes)
    assert "would be evicted: 1 manifests" in rehearsed.told()
    assert "were evicted: 1 manifests" in evicted.told()


async def test_what_is_held_without_a_tag_goes_too(around: Make) -> None:
    hub = around(**bound(ONE, TWO))
    one = await fetch(hub, ONE)
    two = await fetch(hub, TWO, "v2")
    assert names(await evict(hub)) == ["hub/library/app"]
    assert await held(hub, [one, two]) == [two]


async def test_what_a_moved_tag_has_left_behind_goes(around: Make) -> None:
    hub = around(**bound(ONE, TWO))
    one = await fetch(hub, ONE, "latest")
    two = await fetch(hub, TWO, "latest")
    await evict(hub)
    assert await held(hub, [one, two]) == [two]


async def test_all_repositories_of_the_namespace_count_and_no_others(around: Make) -> None:
    hub = around(**bound(ONE, TWO, THREE))
    await fetch(hub, ONE, "v1", OTHER)
    await fetch(hub, TWO, "v2")
    await fetch(hub, THREE, "v3")
    await hub.world.push(made("team"), name=RepositoryName("team/app"))
    evicted = await evict(hub)
    assert evicted.held_bytes == size_of(ONE, TWO, THREE)
    assert names(evicted) == ["hub/library/other:v1"]
    assert not await hub.world.store.catalog.is_listed(OTHER), "nothing is left of it"


async def test_what_has_gone_is_fetched_again_when_it_is_asked_for(around: Make) -> None:
    hub = around(**bound(ONE, TWO, THREE))
    one, *_ = await three(hub)
    await evict(hub)
    assert await held(hub, [one]) == []
    assert (await hub.repository().manifest(Tag("v1"))).digest == one
    assert await hub.read(Digest.of(layer("1"))) == layer("1")


async def test_blobs_that_several_need_count_once_and_free_nothing(around: Make) -> None:
    shared = [layer("shared"), layer("s1")], [layer("shared"), layer("s2")]
    first, second = (image(note, layers=layers) for note, layers in zip("12", shared, strict=True))
    hub = around(**bound(first, second))
    await fetch(hub, first, "v1")
    await fetch(hub, second, "v2")
    evicted = await evict(hub)
    assert evicted.held_bytes == size_of(first, second)
    assert evicted.freed_bytes == len(first) + LAYER


async def test_what_was_never_fetched_does_not_count(around: Make) -> None:
    hub = around(**bound(ONE, TWO))
    hub.shelf.add(ONE, "v1")
    await hub.repository().manifest(Tag("v1"))
    await fetch(hub, TWO, "v2")
    assert (await evict(hub)).held_bytes == len(ONE) + size_of(TWO)


async def test_what_a_manifest_says_of_sizes_is_not_believed(around: Make) -> None:
    document = json.loads(ONE)
    document["layers"][0]["size"] = 1 << 40
    lying = json.dumps(document).encode()
    hub = around(**bound(lying, TWO, less=(1 << 40) - LAYER))
    await fetch(hub, lying, "v1")
    await fetch(hub, TWO, "v2")
    evicted = await evict(hub)
    assert (evicted.held_bytes, evicted.manifests) == (evicted.max_bytes, 0)


async def test_what_lies_there_beside_is_told(around: Make) -> None:
    hub = around(**bound(ONE, TWO))
    await fetch(hub, ONE, "v1")
    await hub.read(hub.shelf.add_blob(b"named by nothing"))
    evicted = await evict(hub)
    assert evicted.unneeded_bytes == len(b"named by nothing")
    assert evicted.manifests == 0, "collections take that"


class TestWhatIsSomebodys:
    async def test_a_tag_that_was_pushed_stays(self, around: Make) -> None:
        hub = around(**bound(ONE, TWO), precedence="upstream")
        ours = await hub.world.push(made("ours"), Tag("ours"), HERE)
        hub.world.clock.advance(days=1)
        one, two = await fetch(hub, ONE, "v1"), await fetch(hub, TWO, "v2")
        evicted = await evict(hub)
        assert evicted.held_bytes == size_of(ONE, TWO) - 2, "its config is that of ours"
        hub.settings = hub.settings.model_copy(update={"max_size": 1})
        assert (await evict(hub)).failures == []
        assert await held(hub, [ours, one, two]) == [ours]

    async def test_a_manifest_that_was_pushed_by_its_digest_stays(self, around: Make) -> None:
        hub = around(max_size="1B")
        one = await fetch(hub, ONE)
        two = await fetch(hub, TWO)
        pushed = await hub.repository().push_manifest(one, ONE, OCI_IMAGE, [])
        assert pushed.digest == one
        await evict(hub)
        assert await held(hub, [one, two]) == [one]

    async def test_where_the_upstreams_are_not_asked_any_more_too(self, around: Make) -> None:
        hub = around(max_size="1B", repositories=["library/app"])
        digest = Digest.of(ONE)
        # From when they were.
        await hub.world.store.origins.note_elsewhere(OTHER, digest)
        await hub.world.push(ONE, digest, OTHER)
        mirrors = Mirrors(hub.world.registry, [hub.mirror])
        repository = mirrors.repository(OTHER, "pusher", EVERY_TAG, hub.warnings.append)
        await repository.push_manifest(digest, ONE, OCI_IMAGE, [])
        await evict(hub)
        assert await held(hub, [digest], OTHER) == [digest]

    async def test_what_somebodys_tag_names_stays_wherever_it_came_from(self, around: Make) -> None:
        hub = around(max_size="1B")
        one = await fetch(hub, ONE, "v1")
        # As by `tag copy`: the manifest comes by no push of its own.
        await hub.world.push_alone(ONE, Tag("ours"), HERE)
        assert (await evict(hub)).manifests == 0
        assert await hub.world.store.links.tags(HERE) == ["ours", "v1"]
        assert await held(hub, [one]) == [one]

    async def test_what_was_here_before_the_upstream_gave_the_same_stays(self, around: Make) -> None:
        hub = around(max_size="1B")
        one = await hub.world.push(ONE, Digest.of(ONE), HERE)
        hub.shelf.add(ONE, "v1")
        await hub.repository().manifest(Tag("v1"))
        await evict(hub)
        assert await held(hub, [one]) == [one]

    async def test_what_it_lists_and_what_refers_to_it_stays(self, around: Make) -> None:
        hub = around(max_size="1B")
        one, two = await fetch(hub, ONE, "v1"), await fetch(hub, TWO, "v2")
        signature = await fetch(hub, made("signature", subject=one))
        index = listing(ONE)
        await hub.repository().push_manifest(Tag("ours"), index, None, [])
        await evict(hub)
        assert await held(hub, [one, two, signature]) == [one, signature]

    async def test_what_is_pushed_meanwhile_stays(
        self, around: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub = around(max_size="1B")
        one = await fetch(hub, ONE)
        release = Releasing.release_manifests

        async def late(
            self: Releasing, name: RepositoryName, judged: Mapping[Digest, float], *more: Any
        ) -> Any:
            # Its link is not written anew: who pushed has died, or is slow, behind the note.
            await hub.world.store.origins.note_here(HERE, one)
            return await release(self, name, judged, *more)

        monkeypatch.setattr(Releasing, "release_manifests", late)
        assert (await evict(hub)).manifests == 0
        assert await held(hub, [one]) == [one]


class TestPins:
    @pytest.mark.parametrize("reference", [None, Tag("v1"), Digest.of(ONE)])
    async def test_what_is_pinned_stays(self, around: Make, reference: Tag | Digest | None) -> None:
        hub = around(max_size="1B")
        one = await fetch(hub, ONE, "v1")
        two = await fetch(hub, TWO, "v2", OTHER)
        await hub.world.store.pins.put(HERE, reference, "operator")
        evicted = await evict(hub)
        assert await held(hub, [one]) == [one]
        assert await hub.world.store.links.tags(HERE) == ["v1"]
        assert await held(hub, [two], OTHER) == []
        assert evicted.pinned_bytes == size_of(ONE)
        assert "may not be evicted" in evicted.failures[0]
        assert await hub.world.store.pins.remove(HERE, reference)
        await evict(hub)
        assert await held(hub, [one]) == []

    async def test_with_all_that_belongs_to_it(self, around: Make) -> None:
        hub = around(max_size="1B")
        index = await fetch_index(hub, "multi", ONE, TWO)
        signature = await fetch(hub, made("signature", subject=Digest.of(TWO)))
        by_tag = await fetch(hub, made("by tag"), f"sha256-{Digest.of(ONE).encoded}.sig")
        other = await fetch(hub, THREE, "v3")
        await hub.world.store.pins.put(HERE, Tag("multi"), "operator")
        await evict(hub)
        digests = [index, Digest.of(ONE), Digest.of(TWO), signature, by_tag]
        assert await held(hub, [*digests, other]) == digests

    async def test_what_is_held_for_others_stays(self, around: Make) -> None:
        hub = around(max_size="1B")
        one, two = await fetch(hub, ONE, "v1"), await fetch(hub, TWO, "v2")

        await evict(hub, in_use=listing_as_used(str(two)))
        assert await held(hub, [one, two]) == [two]

    @pytest.mark.parametrize(
        "line",
        [
            "registry.example/hub/library/app:v2",
            "docker.io/library/app:v2",
            "app:v2",
            f"docker-pullable://app@{Digest.of(TWO)}",
        ],
    )
    async def test_what_runs_somewhere_stays_however_it_is_told(self, around: Make, line: str) -> None:
        hub = around(max_size="1B", answers_for=["docker.io"])
        one, two = await fetch(hub, ONE, "v1"), await fetch(hub, TWO, "v2")
        await evict(hub, in_use=listing_as_used(line))
        assert await held(hub, [one, two]) == [two]

    async def test_also_where_an_engine_tells_of_the_config(self, around: Make) -> None:
        hub = around(max_size="1B")
        config = b'{"os": "linux"}'
        hub.shelf.add_blob(config)
        content = json.dumps({**json.loads(TWO), "config": descriptor(config)}).encode()
        one, two = await fetch(hub, ONE, "v1"), await fetch(hub, content, "v2")
        await evict(hub, in_use=listing_as_used(str(Digest.of(config))))
        assert await held(hub, [one, two]) == [two]

    async def test_an_index_stays_of_which_an_image_runs(self, around: Make) -> None:
        hub = around(max_size="1B")
        inner = await fetch_index(hub, "inner", ONE)
        hub.shelf.manifests["outer"] = content = listing(listing(ONE))
        outer = Digest.of(content)
        await hub.repository().manifest(Tag("outer"))
        other = await fetch(hub, TWO, "v2")
        await evict(hub, in_use=listing_as_used(str(Digest.of(ONE))))
        assert await held(hub, [Digest.of(ONE), inner, outer, other]) == [Digest.of(ONE), inner, outer]

    async def test_nothing_goes_while_it_is_not_known_what_runs(self, around: Make, tmp_path: Path) -> None:
        hub = around(max_size="1B")
        digest = await fetch(hub, ONE, "v1")
        file = tmp_path / "running"

        async def in_use() -> InUse:
            return read_in_use([InUseList(file=file)])

        evicted = await evict(hub, in_use=in_use)
        assert str(file) in evicted.failures[0]
        assert evicted.ended is not None
        assert await held(hub, [digest]) == [digest]
        file.write_text(str(Digest.of(TWO)))
        assert (await evict(hub, in_use=in_use)).manifests == 1

    async def test_a_blob_that_it_needs_frees_nothing(self, around: Make) -> None:
        hub = around(max_size="1B")
        first, second = (image(note, layers=[layer("shared")]) for note in "12")
        await fetch(hub, first, "v1")
        await fetch(hub, second, "v2")
        await hub.world.store.pins.put(HERE, Tag("v2"), "operator")
        assert (await evict(hub)).freed_bytes == len(first)

    async def test_a_pin_that_comes_meanwhile_counts(
        self, around: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub = around(max_size="1B")
        one = await fetch(hub, ONE, "v1")
        release = Releasing.release_tag

        async def pinning(self: Releasing, name: RepositoryName, tag: Tag, *more: Any) -> bool:
            gone = await release(self, name, tag, *more)
            await hub.world.store.pins.put(name, tag, "operator")
            return gone

        monkeypatch.setattr(Releasing, "release_tag", pinning)
        assert (await evict(hub)).manifests == 0
        assert await hub.world.store.links.tag(HERE, Tag("v1")) == one
        assert await held(hub, [one]) == [one]

    async def test_what_is_mirrored_ahead_stays(self, around: Make) -> None:
        section = {"repositories": ["library/app"], "tags": ["semver:>=1.0.0"], "newest": 1}
        hub = around(max_size="1B", sync=[section])
        for number, content in enumerate((ONE, TWO, THREE), 1):
            await fetch(hub, content, f"{number}.0.0")
        await evict(hub)
        assert await hub.world.store.links.tags(HERE) == ["3.0.0"]


class TestWhatIsListed:
    async def test_it_stays_as_long_as_what_lists_it(self, around: Make) -> None:
        hub = around(**bound(ONE, TWO, THREE))
        await pulled(hub)
        index = await fetch_index(hub, "multi", ONE, TWO)
        three_ = await fetch(hub, THREE, "v3")
        await pulled(hub, (Tag("multi"), index))
        await evict(hub)
        digests = [index, Digest.of(ONE), Digest.of(TWO)]
        assert await held(hub, [*digests, three_]) == digests

    async def test_it_goes_behind_it(self, around: Make) -> None:
        hub = around(max_size="1B")
        index = await fetch_index(hub, "multi", ONE, TWO)
        evicted = await evict(hub)
        assert evicted.gone[0].reference == f"hub/library/app:multi@{index}"
        assert evicted.manifests == 3

    async def test_one_that_is_pulled_by_itself_outlives_it(self, around: Make) -> None:
        hub = around(max_size=f"{size_of(ONE) + 1000}B")
        await pulled(hub)
        index = await fetch_index(hub, "multi", ONE, TWO)
        await pulled(hub, (Digest.of(ONE), Digest.of(ONE)))
        await evict(hub)
        assert await held(hub, [index, Digest.of(ONE), Digest.of(TWO)]) == [Digest.of(ONE)]


async def test_a_repository_that_cannot_be_read_is_left_alone_and_told_of(around: Make) -> None:
    hub = around(max_size="1B")
    one = await fetch(hub, ONE, "v1")
    two = await fetch(hub, TWO, "v2", OTHER)
    await hub.world.store.driver.put(
        next(key for key in await hub.world.keys("docker") if one.encoded in key and "/blobs/" in key), b"{}"
    )
    evicted = await evict(hub)
    assert evicted.failures[0].startswith("hub/library/app: ")
    assert await hub.world.store.links.tags(HERE) == ["v1"]
    assert await held(hub, [two], OTHER) == []


async def test_what_was_moved_since_stays(around: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = around(max_size="1B")
    one = await fetch(hub, ONE, "v1")
    release = Releasing.release_tag

    async def late(self: Releasing, name: RepositoryName, tag: Tag, *more: Any) -> bool:
        await hub.repository().push_manifest(tag, ONE, OCI_IMAGE, [])
        return await release(self, name, tag, *more)

    monkeypatch.setattr(Releasing, "release_tag", late)
    assert (await evict(hub)).manifests == 0
    assert await hub.world.store.links.tag(HERE, Tag("v1")) == one


async def test_it_is_done_when_it_is_due_whoever_did_it_last(around: Make) -> None:
    hub = around(**bound(ONE, TWO, THREE), evict_interval="1h")
    await three(hub)
    await evicting(hub).if_due()
    (first,) = await evicting(hub).reports.last(10)
    assert (first.manifests, first.dry_run) == (1, False)
    await evicting(hub, "the second").if_due()
    assert len(await evicting(hub).reports.last(10)) == 1
    hub.world.clock.advance(hours=1)
    await evicting(hub, "the second").if_due()
    assert len(await evicting(hub).reports.last(10)) == 2


async def test_a_clock_that_was_wrong_for_once_does_not_end_it(around: Make) -> None:
    hub = around(**bound(ONE, TWO, THREE), evict_interval="1h")
    hub.world.clock.advance(days=3650)
    await evicting(hub).if_due()
    hub.world.clock.advance(days=-3650)
    for number in range(3):
        await evicting(hub).if_due()
        await evicting(hub).if_due()
        reports = await evicting(hub).reports.last(10)
        assert reports[0].began == hub.world.clock.now and len(reports) == number + 1
        hub.world.clock.advance(hours=1)


async def test_one_process_at_a_time_does_it(around: Make) -> None:
    hub = around(**bound(ONE, TWO, THREE))
    await three(hub)
    running = evicting(hub, seconds=4.0).run(dry_run=False)
    await anext(running)
    with pytest.raises(TooManyRequests, match=r"the first .* is evicting from hub already"):
        await anext(evicting(hub, "the second", seconds=4.0).run(dry_run=False))
    assert [one async for one in running][-1].manifests == 1


async def test_nothing_is_bound_by_default(around: Make) -> None:
    hub = around()
    await three(hub)
    await evicting(hub).if_due()
    assert await evicting(hub).reports.last(1) == []


async def test_manifests_are_told_apart_by_where_they_came_from(around: Make) -> None:
    hub = around(world=World())
    one, two = await fetch(hub, ONE, "v1"), await fetch(hub, TWO)
    ours = await hub.world.push(made("ours"), Tag("ours"), HERE)
    again = (await hub.repository().push_manifest(two, TWO, OCI_IMAGE, [])).digest
    origin = await hub.world.store.origins.of(HERE)
    assert (origin.elsewhere, origin.here, origin.cached) == ({one, two}, {again}, {one})
    assert ours not in origin.elsewhere
    assert json.loads(ONE)["annotations"]["note"] == "1"
