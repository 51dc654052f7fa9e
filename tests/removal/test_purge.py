"""Content that was purged is gone from wherever it lay, and does not come back, whoever dies on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast

import pytest

from registry.core.restoring import Wanted
from registry.errors import BlobUnknown, Denied, ManifestUnknown, RegistryError
from registry.model.digests import Digest
from registry.model.media_types import DOCKER_IMAGE, OCI_IMAGE
from registry.model.names import Tag
from registry.removal.purging import Needing, Purge, Purging
from registry.store import layout
from storage.contract import Driver, ObjectInfo
from storage.errors import NotFound, StorageError, Withheld
from storage.memory import MemoryDriver
from storage.withholding import WithholdingDriver
from tests.inmemory import Bytes, Counted, image
from tests.interleaving import Actor, Killed, MortalDriver, PausingDriver, counted_effects, explore, run
from tests.removal.leaking import (
    LEAKED,
    NAME,
    NEEDS,
    OTHER,
    SECRET,
    TWIN,
    Process,
    bytes_of,
    named,
    spread,
    step,
)


@pytest.fixture
def driver() -> MemoryDriver:
    return MemoryDriver()


@pytest.fixture
def process(driver: MemoryDriver) -> Process:
    return Process(driver)


async def test_a_blob_goes_from_wherever_it_lies(driver: MemoryDriver, process: Process) -> None:
    needs = await spread(driver, process)
    purge = await process.purge()
    assert (purge.links, purge.data, purge.trashed, purge.quarantined) == (3, 2, 2, 1)
    assert purge.needing == [Needing(NAME, str(needs), ["latest"])]
    assert bytes_of(driver) == named(driver) == named(driver, TWIN) == []
    assert (await process.repository().manifest(Tag("harmless"))).content == image("harmless")
    with pytest.raises(BlobUnknown):
        await process.repository().blob(LEAKED, may_push=True)


async def test_what_of_it_is_on_its_way_from_elsewhere_goes_and_is_given_to_nobody(
    driver: MemoryDriver, process: Process
) -> None:
    """As when a mirror has fetched a part of it, and its upstream does not answer any more."""
    segment = f"{layout.transfer(NAME, LEAKED)}/segment"
    await driver.put(segment, SECRET)
    await process.purge()
    assert bytes_of(driver) == []
    with pytest.raises(Withheld):
        await process.store.driver.put(segment, SECRET)
    # Written by a process that had not heard of it.
    await driver.put(segment, SECRET)
    with pytest.raises(NotFound):
        await process.store.driver.get(segment, limit=1000)
    await process.again()
    assert bytes_of(driver) == []


async def test_who_needs_it_is_told_however_much_that_refers_to(process: Process) -> None:
    process.registry.pushes.max_references = 20_000
    await process.blob(SECRET)
    await process.blob(b"{}")
    many = image("many", layers=[SECRET] * 10_001)
    await process.repository().push_manifest(Tag("many"), many, OCI_IMAGE, [])
    purge = await process.purge()
    assert purge.needing == [Needing(NAME, str(Digest.of(many)), ["many"])]
    assert purge.unread == []


async def test_it_is_refused_in_each_way_and_by_its_other_digest(
    driver: MemoryDriver, process: Process
) -> None:
    await spread(driver, process)
    await process.purge()
    repository = process.repository()
    session = await repository.begin_upload("sha256")
    await repository.append(session.uuid, Bytes(SECRET), None)
    with pytest.raises(Denied, match="purged"):
        await repository.finish_upload(session.uuid, LEAKED, Bytes(), None)
    for digest in (LEAKED, TWIN):
        with pytest.raises(Denied, match=str(digest)):
            await repository.push_blob(digest, Bytes(SECRET))
        with pytest.raises(Denied, match=str(digest)):
            await repository.mount(digest, OTHER, lambda _: True)
    with pytest.raises(Denied, match=str(LEAKED)):
        await repository.push_manifest(Tag("again"), NEEDS, OCI_IMAGE, [])
    with pytest.raises(Denied, match=str(LEAKED)):
        await process.repository(OTHER).copy(
            Tag("copied"), repository, Tag("latest"), put_back=True, referrers=True
        )
    assert bytes_of(driver) == [], "nor is any left in the upload"


@pytest.mark.parametrize("media_type", [OCI_IMAGE, DOCKER_IMAGE])
async def test_a_manifest_goes_with_its_tags_and_what_describes_it(
    driver: MemoryDriver, process: Process, media_type: str
) -> None:
    subject = await process.push(image("subject"), "subject")
    document = json.loads(image("the secret in it", subject=subject))
    if media_type == DOCKER_IMAGE:
        del document["mediaType"]  # Distribution would refuse it: it lies whole in one object
    content = json.dumps(document).encode()
    repository = process.repository()
    digest = (await repository.push_manifest(Tag("a"), content, media_type, [Tag("b")])).digest
    await repository.delete_tag(Tag("b"))
    secret = b"the secret in it"
    assert bytes_of(driver, secret)
    purge = await process.purge(digest)
    assert purge.tags == [f"{NAME}:a"]
    assert bytes_of(driver, secret) == named(driver, digest) == []
    with pytest.raises(ManifestUnknown):
        await repository.manifest(digest)
    assert (await repository.tags(n=None, last="")).entries == ["subject"]
    assert (await repository.referrers(subject, artifact_types=(), after="")).entries == []
    with pytest.raises(Denied):
        await repository.push_manifest(Tag("a"), content, media_type, [])
    last = await process.store.history.read((await process.store.history.keys(NAME, Tag("a")))[-1])
    assert last is not None
    assert (last.digest, last.replaced, last.by) == (None, digest, "operator")


async def test_what_distribution_linked_under_its_sha512_goes_too(
    driver: MemoryDriver, process: Process
) -> None:
    await process.blob(SECRET)
    await driver.put(layout.layer_link(OTHER, TWIN), str(LEAKED).encode())
    await process.purge(TWIN)
    assert bytes_of(driver) == named(driver) == named(driver, TWIN) == []
    assert process.blocked.digests == {LEAKED, TWIN}


async def test_it_may_be_pushed_again_once_it_is_unblocked(process: Process) -> None:
    await process.blob(SECRET)
    await process.purge()
    assert [block.reason for block in process.blocked.blocks] == ["it leaked"]
    assert set(await process.blocked.lift(TWIN)) == {LEAKED, TWIN}
    assert await process.blocked.lift(LEAKED) == []
    await process.push(NEEDS, "latest")
    assert (await process.repository().blob(LEAKED, may_push=False)).size_bytes == len(SECRET)


async def test_a_restore_says_why_it_does_not_come_back(process: Process) -> None:
    needs = await process.push(NEEDS, "latest")
    await process.repository().delete_manifest(needs)
    await process.purge()
    wanted = Wanted({Tag("latest"): needs})
    with pytest.raises(ManifestUnknown, match=rf"{LEAKED} \(it was purged\)"):
        await process.repository().restore(wanted, overwrite=False, some=False)


async def test_what_has_never_been_here_can_be_blocked(process: Process) -> None:
    assert await process.purge() == Purge()
    with pytest.raises(Denied):
        await process.blob(SECRET)


async def test_a_mark_that_cannot_be_read_blocks_what_its_key_says(
    driver: MemoryDriver, process: Process
) -> None:
    await process.blob(SECRET)
    await driver.put(layout.blocked(LEAKED), b"{")
    await driver.put(f"{layout.BLOCKED}/stray", b"")
    await process.blocked.look()
    with pytest.raises(Denied):
        await process.blob(SECRET)
    with pytest.raises(BlobUnknown):
        await process.repository().blob(LEAKED, may_push=False)


async def test_a_mark_is_read_once(driver: MemoryDriver) -> None:
    counted = Counted(driver)
    process, other = Process(cast(Driver, counted)), Process(driver)
    await other.purge()
    for _ in range(3):
        await process.blocked.look()
    assert counted.calls == {"walk": 3, "get": 1}
    await other.blocked.lift(LEAKED)
    await process.blocked.look()
    assert process.blocked.digests == frozenset()


async def test_a_dry_run_changes_nothing(driver: MemoryDriver, process: Process) -> None:
    needs = await spread(driver, process)
    before = dict(driver._objects)
    looking = Purging(process.store, by="operator", step=step, dry_run=True)
    purge = await looking.remove(await looking.same(LEAKED))
    assert (purge.links, purge.data, purge.trashed, purge.quarantined) == (3, 2, 2, 1)
    assert [one.manifest for one in purge.needing] == [str(needs)]
    assert driver._objects == before


async def test_a_push_under_way_that_needs_it_is_refused() -> None:
    class Looking(MemoryDriver):
        """On which the secret is purged right behind the look of a push that needs it."""

        purges = False

        async def stat(self, key: str) -> ObjectInfo:
            info = await super().stat(key)
            if self.purges and key == layout.blob_data(LEAKED):
                self.purges = False
                await served.purge()
            return info

    looking = Looking()
    served = Process(looking)
    await served.blob(b"{}")
    await served.blob(SECRET)
    looking.purges = True
    with pytest.raises(Denied, match=str(LEAKED)):
        await served.repository().push_manifest(Tag("latest"), NEEDS, OCI_IMAGE, [])
    assert not looking.purges
    assert await served.store.links.tags(NAME) == []


async def test_what_is_being_written_when_it_is_blocked_is_taken_away_again(driver: MemoryDriver) -> None:
    blocked = False

    class Slow(MemoryDriver):
        async def put(self, key: str, data: bytes, *, if_absent: bool = False, durable: bool = True) -> None:
            nonlocal blocked
            await driver.put(key, data, if_absent=if_absent, durable=durable)
            blocked = True

        async def delete(self, keys: Sequence[str], *, durable: bool = True) -> None:
            await driver.delete(keys, durable=durable)

    withholding = WithholdingDriver(Slow(), lambda _: blocked)
    with pytest.raises(Withheld):
        await withholding.put("key", SECRET)
    assert bytes_of(driver) == []


def test_a_purge_that_dies_is_finished_by_another_or_by_a_collection() -> None:
    for by_collection in (False, True):
        deaths = 0
        while True:
            driver = MemoryDriver()
            run(spread(driver, Process(driver)))
            mortal = MortalDriver(driver, deaths)
            dying = Process(cast(Driver, mortal), counted_effects())
            try:
                run(dying.purge())
                break
            except Killed:
                deaths += 1
            other = Process(driver)
            run(other.blocked.look())
            if not other.blocked.digests:
                assert bytes_of(driver), "it had not begun"
                continue
            with pytest.raises(BlobUnknown):
                run(other.repository().blob(LEAKED, may_push=True))
            if by_collection:
                run(other.again())
            else:
                assert [one.tags for one in run(other.purge()).needing] == [["latest"]]
            assert bytes_of(driver) == named(driver) == named(driver, TWIN) == [], deaths
        assert deaths > 30


def _upload(process: Process) -> Actor:
    return process.blob(SECRET)


def _push_what_needs_it(process: Process) -> Actor:
    return process.push(NEEDS, "latest")


def _mount(process: Process) -> Actor:
    return process.repository(OTHER).mount(LEAKED, NAME, lambda _: True, lambda _: True)


def _bring_back(process: Process) -> Actor:
    return process.registry.trash.put_back_data(LEAKED)


@pytest.mark.parametrize("seen", [False, True], ids=["unaware", "sees it at some time"])
@pytest.mark.parametrize("act", [_upload, _push_what_needs_it, _mount, _bring_back])
def test_beside_others_nothing_is_left_once_all_have_seen_it(
    act: Callable[[Process], Actor], seen: bool
) -> None:
    """In each order of their steps; `again` is what the purge does when all have seen the mark."""

    def world() -> tuple[list[Actor], Callable[[], None]]:
        driver = MemoryDriver()
        pausing = PausingDriver(driver)
        before = Process(driver)
        run(before.blob(SECRET))
        run(driver.put(f"{layout.trash_data(LEAKED)}/c-1", SECRET))
        writer, purger = (Process(cast(Driver, pausing), counted_effects()) for _ in range(2))

        async def write() -> None:
            with suppress(RegistryError, StorageError):
                await act(writer)

        def verify() -> None:
            run(writer.blocked.look())
            run(purger.again())
            assert bytes_of(driver) == named(driver) == []
            for process in (writer, purger):
                with pytest.raises(BlobUnknown):
                    run(process.repository().blob(LEAKED, may_push=True))

        actors = [write(), purger.purge()]
        return [*actors, writer.blocked.look()] if seen else actors, verify

    assert explore(world, preemptions=1) > 20
