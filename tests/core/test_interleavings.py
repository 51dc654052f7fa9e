"""What must hold whatever the order of driver calls: pushes beside deletes, tag moves and collectors."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from registry.core.uploads import ChunkOutOfOrder
from registry.errors import ManifestBlobUnknown, RegistryError, Unsupported
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE
from registry.model.names import Tag
from registry.model.ranges import ByteRange
from registry.store import layout
from storage.errors import NotFound
from tests.core.explored import CONFIG, CONFIG_DIGEST, NAME, TAG, Bytes, World, image, outcome
from tests.interleaving import Actor, explore, run

pytestmark = pytest.mark.exhaustive


def test_a_push_that_moves_the_tag_survives_the_delete_of_the_old_manifest() -> None:
    def world() -> tuple[list[Actor], Callable[[], None]]:
        made = World()
        old = made.push(image("old"))
        pushed: list[object] = []
        deleted: list[object] = []

        def verify() -> None:
            new = Digest.of(image("new"))
            assert not isinstance(pushed[0], RegistryError)
            assert made.tagged() == new
            assert made.pullable(TAG)
            assert not made.pullable(old)

        push = made.actor.push_manifest(TAG, image("new"), OCI_IMAGE, [])
        return [outcome(push, pushed), outcome(made.actor.delete_manifest(old), deleted)], verify

    assert explore(world, preemptions=2) > 100


def test_a_push_beside_the_delete_of_its_repository_keeps_all_it_has_pushed_or_nothing() -> None:
    def world() -> tuple[list[Actor], Callable[[], None]]:
        made = World()
        old = made.push(image("old"))
        results: list[object] = []

        def verify() -> None:
            new = Digest.of(image("new"))
            kept = made.pullable(new)
            assert not made.pullable(old)
            assert made.tagged() == (new if kept else None)
            assert not kept or run(made.plain.store.catalog.is_listed(NAME))
            if kept:
                assert run(made.repository.blob(CONFIG_DIGEST, may_push=False)).size_bytes == len(CONFIG)

        push = made.actor.push_manifest(TAG, image("new"), OCI_IMAGE, [])
        delete = made.paused.door.remove_repository(NAME, "tester")
        return [outcome(push, results), outcome(delete, results)], verify

    assert explore(world, preemptions=2) > 100


def test_a_blob_is_never_deleted_under_an_acknowledged_manifest() -> None:
    """trap 79: by a user"""

    def world() -> tuple[list[Actor], Callable[[], None]]:
        made = World()
        pushed: list[object] = []
        deleted: list[object] = []

        def verify() -> None:
            # The push may be refused while the blob is away for a moment, whatever becomes of the delete.
            if not isinstance(pushed[0], ManifestBlobUnknown):
                assert isinstance(deleted[0], Unsupported)
                assert run(made.repository.blob(CONFIG_DIGEST, may_push=False)).size_bytes == len(CONFIG)

        push = made.actor.push_manifest(TAG, image("new"), OCI_IMAGE, [])
        return [outcome(push, pushed), outcome(made.actor.delete_blob(CONFIG_DIGEST), deleted)], verify

    assert explore(world, preemptions=2) > 100


def test_a_tag_delete_beside_a_push_leaves_a_tag_whole_or_gone() -> None:
    def world() -> tuple[list[Actor], Callable[[], None]]:
        made = World()
        made.push(image("old"))
        results: list[object] = []

        def verify() -> None:
            new = Digest.of(image("new"))
            assert made.tagged() in (new, None)
            assert made.pullable(new)
            assert made.tagged() is None or made.pullable(TAG)

        push = made.actor.push_manifest(TAG, image("new"), OCI_IMAGE, [])
        return [outcome(push, results), outcome(made.actor.delete_tag(TAG), results)], verify

    explore(world, preemptions=2)


def test_a_referrer_is_listed_exactly_while_its_manifest_exists() -> None:
    def world() -> tuple[list[Actor], Callable[[], None]]:
        made = World()
        subject = made.push(image("subject"))
        content = image("referrer", subject=subject)
        referrer = made.push(content, tag=Tag("signature"))
        results: list[object] = []

        def verify() -> None:
            page = run(made.repository.referrers(subject, artifact_types=[], after=""))
            assert len(page.entries) == (1 if made.pullable(referrer) else 0)

        push = made.actor.push_manifest(referrer, content, OCI_IMAGE, [])
        return [outcome(push, results), outcome(made.actor.delete_manifest(referrer), results)], verify

    explore(world, preemptions=2)


def test_of_two_pieces_at_one_offset_one_wins_and_closes_as_itself() -> None:
    def world() -> tuple[list[Actor], Callable[[], None]]:
        made = World()
        session = run(made.repository.begin_upload("sha256"))
        one, two = b"one one one", b"two two"
        results: list[object] = []

        def verify() -> None:
            won = [answer for answer in results if isinstance(answer, int)]
            lost = [answer for answer in results if isinstance(answer, ChunkOutOfOrder)]
            if len(won) == 2:  # one after the other: both are there
                assert max(won) == len(one) + len(two)
                return
            assert len(won) == 1
            assert len(lost) == 1
            content = one if won == [len(one)] else two
            run(made.repository.finish_upload(session.uuid, Digest.of(content), Bytes(b""), None))
            assert run(made.repository.blob(Digest.of(content), may_push=False)).size_bytes == len(content)

        return [
            outcome(made.actor.append(session.uuid, Bytes(one), None), results),
            outcome(made.actor.append(session.uuid, Bytes(two), None), results),
        ], verify

    explore(world, preemptions=3)


@pytest.mark.parametrize("pieces", [[b"a layer"], [b"a ", b"layer"]])
def test_the_same_closing_request_sent_twice_at_once_succeeds_twice(pieces: list[bytes]) -> None:
    def world() -> tuple[list[Actor], Callable[[], None]]:
        made = World()
        content = b"".join(pieces)
        digest = Digest.of(content)
        session = run(made.repository.begin_upload("sha256"))
        for piece in pieces:
            run(made.repository.append(session.uuid, Bytes(piece), None))
        results: list[object] = []

        def verify() -> None:
            assert results == [None, None], results
            assert run(made.repository.blob(digest, may_push=False)).size_bytes == len(content)
            assert run(made.driver.get(layout.blob_data(digest), limit=100)) == content

        return [
            outcome(made.actor.finish_upload(session.uuid, digest, Bytes(b""), None), results),
            outcome(made.actor.finish_upload(session.uuid, digest, Bytes(b""), None), results),
        ], verify

    explore(world, preemptions=2)


@pytest.mark.parametrize("piece", [None, ByteRange(2, 7)])
def test_the_same_closing_request_with_the_last_piece_sent_twice_at_once_succeeds_twice(
    piece: ByteRange | None,
) -> None:
    def world() -> tuple[list[Actor], Callable[[], None]]:
        made = World()
        digest = Digest.of(b"a layer")
        session = run(made.repository.begin_upload("sha256"))
        run(made.repository.append(session.uuid, Bytes(b"a "), None))
        results: list[object] = []

        def verify() -> None:
            assert results == [None, None], results
            assert run(made.repository.blob(digest, may_push=False)).size_bytes == 7
            assert run(made.driver.get(layout.blob_data(digest), limit=100)) == b"a layer"
            assert run(made.driver.children(layout.UPLOADS)) == []

        def finish() -> Actor:
            return made.actor.finish_upload(session.uuid, digest, Bytes(b"layer"), piece)

        return [outcome(finish(), results), outcome(finish(), results)], verify

    assert explore(world, preemptions=2) > 100


def test_a_renewal_beside_a_cancel_brings_no_session_back() -> None:
    def world() -> tuple[list[Actor], Callable[[], None]]:
        made = World()
        session = run(made.repository.begin_upload("sha256"))
        results: list[object] = []

        async def receive() -> None:
            await made.paused.store.sessions.renew(session)
            await made.actor.append(session.uuid, Bytes(b"piece"), None)

        def verify() -> None:
            left = run(made.driver.children(layout.upload(session.uuid)))
            assert "session" not in left

        cancel = made.actor.cancel_upload(session.uuid)
        return [outcome(receive(), results), outcome(cancel, results)], verify

    explore(world, preemptions=2)


async def collect(made: World, run_name: str) -> None:
    """A collector that takes the config blob when nothing needs it, step by step as the design says."""
    driver, store, intents = made.paused.store.driver, made.paused.store, made.paused.intents

    async def needed() -> bool:
        if CONFIG_DIGEST in await intents.needed(NAME):
            return True
        return [digest async for digest in store.links.revisions(NAME)] != []

    if await needed():
        return
    link, data = layout.layer_link(NAME, CONFIG_DIGEST), layout.blob_data(CONFIG_DIGEST)
    taken = [
        (link, f"{layout.trash_layer(NAME, CONFIG_DIGEST)}/{run_name}"),
        (data, f"{layout.trash_data(CONFIG_DIGEST)}/{run_name}"),
    ]
    for key, trash in taken:
        try:
            await driver.copy(trash, key)
        except NotFound:
            continue
        await driver.delete([key])
    if await needed():
        for key, trash in taken:
            try:
                await driver.copy(key, trash)
            except NotFound:
                continue


def test_a_push_beside_a_collector_is_refused_or_whole() -> None:
    def world() -> tuple[list[Actor], Callable[[], None]]:
        made = World()
        pushed: list[object] = []

        def verify() -> None:
            assert not isinstance(pushed[0], RegistryError), pushed
            assert made.pullable(TAG)
            assert run(made.repository.blob(CONFIG_DIGEST, may_push=True)).size_bytes == len(CONFIG)
            assert run(made.driver.get(layout.blob_data(CONFIG_DIGEST), limit=100)) == CONFIG

        push = made.actor.push_manifest(TAG, image("new"), OCI_IMAGE, [])
        return [outcome(push, pushed), collect(made, "c-1")], verify

    assert explore(world, preemptions=2) > 100


def test_a_push_beside_two_collectors_is_whole() -> None:
    def world() -> tuple[list[Actor], Callable[[], None]]:
        made = World()
        pushed: list[object] = []

        def verify() -> None:
            assert not isinstance(pushed[0], RegistryError), pushed
            assert run(made.repository.blob(CONFIG_DIGEST, may_push=True)).size_bytes == len(CONFIG)

        push = made.actor.push_manifest(TAG, image("new"), OCI_IMAGE, [])
        return [outcome(push, pushed), collect(made, "c-1"), collect(made, "c-2")], verify

    explore(world, preemptions=1)


def test_indexing_beside_a_delete_and_a_push_keeps_an_acknowledged_manifest_listed() -> None:
    def world() -> tuple[list[Actor], Callable[[], None]]:
        made = World()
        old = made.push(image("old"))
        results: list[object] = []

        def verify() -> None:
            if made.pullable(TAG):
                page = run(made.plain.catalog(n=10, last="", visible=lambda _: True))
                assert page.entries == [NAME]

        remove = made.actor.delete_manifest(old)
        index = made.paused.listings.index(NAME)
        push = made.actor.push_manifest(TAG, image("new"), OCI_IMAGE, [])
        return [outcome(remove, results), outcome(index, results), outcome(push, results)], verify

    explore(world, preemptions=1)


def test_a_repository_delete_beside_a_push_keeps_an_acknowledged_manifest_listed() -> None:
    def world() -> tuple[list[Actor], Callable[[], None]]:
        made = World()
        made.push(image("old"))
        pushed: list[object] = []
        removed: list[object] = []

        def verify() -> None:
            if made.pullable(TAG):
                page = run(made.plain.catalog(n=10, last="", visible=lambda _: True))
                assert page.entries == [NAME]

        push = made.actor.push_manifest(TAG, image("new"), OCI_IMAGE, [])
        remove = made.paused.door.remove_repository(NAME, "tester")
        return [outcome(push, pushed), outcome(remove, removed)], verify

    explore(world, preemptions=1)


def test_a_repository_delete_beside_a_push_keeps_what_an_acknowledged_manifest_needs() -> None:
    def world() -> tuple[list[Actor], Callable[[], None]]:
        made = World()
        made.push(image("old"))
        pushed: list[object] = []
        removed: list[object] = []

        def verify() -> None:
            new = Digest.of(image("new"))
            if not isinstance(pushed[0], RegistryError) and made.pullable(new):
                assert run(made.repository.blob(CONFIG_DIGEST, may_push=False)).size_bytes == len(CONFIG)

        push = made.actor.push_manifest(TAG, image("new"), OCI_IMAGE, [])
        remove = made.paused.door.remove_repository(NAME, "tester")
        return [outcome(push, pushed), outcome(remove, removed)], verify

    explore(world, preemptions=1)


@pytest.mark.parametrize("tag", [TAG, Tag("another")])
def test_a_manifest_delete_beside_a_push_of_the_same_leaves_no_tag_that_names_nothing(tag: Tag) -> None:
    def world() -> tuple[list[Actor], Callable[[], None]]:
        made = World()
        content = image("the same")
        digest = made.push(content)
        results: list[object] = []

        def verify() -> None:
            named = made.tagged(tag)
            assert named is None or made.pullable(named)

        push = made.actor.push_manifest(tag, content, OCI_IMAGE, [])
        return [outcome(push, results), outcome(made.actor.delete_manifest(digest), results)], verify

    assert explore(world, preemptions=2) > 100


def test_a_tag_that_always_named_something_is_always_pulled() -> None:
    def world() -> tuple[list[Actor], Callable[[], None]]:
        made = World()
        old = made.push(image("old"))
        pulled: list[object] = []
        results: list[object] = []

        async def move_and_delete() -> None:
            await made.actor.push_manifest(TAG, image("new"), OCI_IMAGE, [])
            await made.actor.delete_manifest(old)

        def verify() -> None:
            assert not isinstance(pulled[0], RegistryError)

        return [outcome(made.actor.manifest(TAG), pulled), outcome(move_and_delete(), results)], verify

    explore(world, preemptions=2)
