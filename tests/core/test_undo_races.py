"""Restores and copies beside deletes, pushes and collectors, killed before each of their calls."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from registry.core.promotion import Copied
from registry.core.registry import Registry, Repository
from registry.core.restoring import Restored, Wanted
from registry.errors import ManifestUnknown, RegistryError
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE, OCI_INDEX
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from storage.errors import NotFound
from tests.core.explored import CONFIG, CONFIG_DIGEST, NAME, TAG, World, image, mortal
from tests.interleaving import Actor, MortalDriver, explore, run
from tests.soak import is_soak

pytestmark = pytest.mark.exhaustive

PROD = RepositoryName("team/prod")
OLD, NEW, CHILD = image("old"), image("new"), image("child")
OLD_DIGEST, NEW_DIGEST, CHILD_DIGEST = Digest.of(OLD), Digest.of(NEW), Digest.of(CHILD)
INDEX = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [{"mediaType": OCI_IMAGE, "digest": str(CHILD_DIGEST), "size": len(CHILD)}],
    }
).encode()
INDEX_DIGEST = Digest.of(INDEX)
SIGNATURE = image("signature", subject=OLD_DIGEST)
SIGNATURE_DIGEST = Digest.of(SIGNATURE)

Act = Callable[[Registry], Actor]
"""What an actor does, given its process's registry."""
Prepare = Callable[[World], None]
Judge = Callable[[World, list[object], list[object]], None]


def of(registry: Registry, name: RepositoryName = NAME) -> Repository:
    return registry.repository(name, "tester")


def restore(digest: Digest, tag: Tag = TAG) -> Act:
    return lambda registry: of(registry).restore(Wanted({tag: digest}), overwrite=True, some=False)


def copy(digest: Digest) -> Act:
    return lambda registry: of(registry, PROD).copy(TAG, of(registry), digest, put_back=True, referrers=True)


def push(content: bytes, name: RepositoryName = NAME) -> Act:
    return lambda registry: of(registry, name).push_manifest(TAG, content, OCI_IMAGE, [])


def delete(digest: Digest) -> Act:
    return lambda registry: of(registry).delete_manifest(digest)


UNSIGN = delete(SIGNATURE_DIGEST)


def delete_tag() -> Act:
    return lambda registry: of(registry).delete_tag(TAG)


def delete_config() -> Act:
    return lambda registry: of(registry).delete_blob(CONFIG_DIGEST)


def delete_all(name: RepositoryName = NAME) -> Act:
    return lambda registry: registry.door.remove_repository(name, "tester")


def collect() -> Act:
    """A collector that takes the config's link and data when nothing needs them, and looks again."""

    async def collector(registry: Registry) -> None:
        driver, store = registry.store.driver, registry.store

        async def needed() -> bool:
            for name in (NAME, PROD):
                if CONFIG_DIGEST in await registry.intents.needed(name):
                    return True
            # Each has a config.
            return [one for name in (NAME, PROD) async for one in store.links.manifests(name)] != []

        link, data = layout.layer_link(NAME, CONFIG_DIGEST), layout.blob_data(CONFIG_DIGEST)
        moves = [
            (link, f"{layout.trash_layer(NAME, CONFIG_DIGEST)}/c-1"),
            (data, f"{layout.trash_data(CONFIG_DIGEST)}/c-1"),
        ]
        if await needed():
            return
        taken = []
        for key, trash in moves:
            try:
                await driver.copy(trash, key)
            except NotFound:
                continue
            await driver.delete([key])
            taken.append((key, trash))
        if await needed():
            for key, trash in taken:
                await driver.copy(key, trash)

    return lambda registry: collector(registry)


def old_deleted(made: World) -> None:
    made.push(OLD)
    run(made.repository.delete_manifest(OLD_DIGEST))


def old_overwritten(made: World) -> None:
    made.push(OLD)
    made.push(NEW)


def repository_deleted(made: World) -> None:
    run(made.repository.push_manifest(CHILD_DIGEST, CHILD, OCI_IMAGE, []))
    run(made.repository.push_manifest(TAG, INDEX, OCI_INDEX, []))
    run(made.plain.door.remove_repository(NAME, "tester"))


def index_there(made: World) -> None:
    run(made.repository.push_manifest(CHILD_DIGEST, CHILD, OCI_IMAGE, []))
    run(made.repository.push_manifest(TAG, INDEX, OCI_INDEX, []))


def signed(made: World) -> None:
    made.push(OLD)
    run(made.repository.push_manifest(SIGNATURE_DIGEST, SIGNATURE, OCI_IMAGE, []))


def read(made: World, name: RepositoryName, reference: Tag | Digest) -> None:
    """Fail unless a manifest can be pulled with all that hangs on it."""
    repository = of(made.plain, name)
    stored = run(repository.manifest(reference))
    document = json.loads(stored.content)
    for child in document.get("manifests", []):
        read(made, name, Digest.parse(child["digest"]))
    if "config" in document:
        # What a policy took comes back to who may push, also when who took it has died since.
        run(repository.blob(CONFIG_DIGEST, may_push=True))
        key, _ = run(repository.find_blob(CONFIG_DIGEST))
        assert run(made.driver.get(key, limit=100)) == CONFIG


def nothing_half_visible(made: World, *, died: bool) -> None:
    """What a tag or a digest leads to is whole, once what died half-way has been put right.

    Where somebody `died`, a manifest may be missing: its delete has not come to what names it, or a push
    whose manifest was deleted in that moment not to its second look. No blob of what is there may be.
    """
    run(made.plain.door.finish_open(float("inf")))
    for name in (NAME, PROD):

        async def manifests(of_name: RepositoryName = name) -> list[Digest]:
            return [digest async for digest in made.plain.store.links.manifests(of_name)]

        references: list[Tag | Digest] = [*run(made.plain.store.links.tags(name)), *run(manifests())]
        for reference in references:
            try:
                read(made, name, reference)
            except ManifestUnknown:
                if not died:
                    raise


def may_be_restored(made: World, digest: Digest) -> None:
    """Whatever has happened, nothing of it is lost."""
    run(of(made.plain).restore(Wanted({TAG: digest}), overwrite=True, some=False))
    assert made.tagged() == digest
    read(made, NAME, TAG)


def every_order(
    prepare: Prepare,
    first: Act,
    second: Act,
    judge: Judge,
    *,
    preemptions: int = 1,
    killed: tuple[int | None, int | None] = (None, None),
    died: list[MortalDriver] | None = None,
) -> int:
    """Try every order of two actors; how many there were.

    Each is killed before its call of the number in `killed`; `died` gets the drivers of those that may be.
    """

    def world() -> tuple[list[Actor], Callable[[], None]]:
        made = World()
        prepare(made)
        answers: tuple[list[object], list[object]] = ([], [])
        actors: list[Actor] = []
        for act, at, results in zip((first, second), killed, answers, strict=True):
            registry, driver = made.process(at)
            if died is not None and at is not None:
                died.append(driver)
            actors.append(mortal(act(registry), results))
        return actors, lambda: judge(made, *answers)

    return explore(world, preemptions=preemptions)


def every_death(
    prepare: Prepare, first: Act, second: Act, judge: Judge, *, whose: tuple[int, ...] = (0, 1)
) -> int:
    """Try every order of two actors, one of them killed, before each of its calls; how many there were."""
    tried = 0
    for which in whose:
        at = 0
        while True:
            died: list[MortalDriver] = []
            killed = (at, None) if which == 0 else (None, at)
            tried += every_order(prepare, first, second, judge, killed=killed, died=died)
            if all(driver.alive for driver in died):
                break
            at += 1
    return tried


def is_done(answers: list[object]) -> bool:
    """Whether an actor was told that it had succeeded."""
    return bool(answers) and not isinstance(answers[0], RegistryError)


def refused(answers: list[object]) -> bool:
    return bool(answers) and isinstance(answers[0], RegistryError)


def undone(digest: Digest) -> Judge:
    """What was acknowledged reads whole unless it was deleted since; what was deleted can come back."""

    def judge(made: World, restored: list[object], other: list[object]) -> None:
        nothing_half_visible(made, died=not restored or not other)
        assert not restored or isinstance(restored[0], Restored), restored
        if restored and refused(other):
            assert made.tagged() == digest
        may_be_restored(made, digest)

    return judge


MANY_STEPS = (delete_all(), restore(OLD_DIGEST))


@pytest.mark.parametrize("prepare", [old_deleted, old_overwritten], ids=["deleted", "overwritten"])
@pytest.mark.parametrize(
    "other",
    [delete(OLD_DIGEST), delete_tag(), delete_config(), MANY_STEPS[0], collect(), MANY_STEPS[1]],
    ids=["manifest", "tag", "blob", "repository", "collector", "restore"],
)
def test_a_restore_beside_a_removal(prepare: Prepare, other: Act) -> None:
    # Those that take many steps make their way twice in `make soak` alone.
    preemptions = 2 if is_soak() or other not in MANY_STEPS else 1
    assert every_order(prepare, restore(OLD_DIGEST), other, undone(OLD_DIGEST), preemptions=preemptions) > 50


@pytest.mark.parametrize(
    "other",
    [delete(OLD_DIGEST), delete_config(), collect(), *([delete_all()] if is_soak() else [])],
    ids=["manifest", "blob", "collector", *(["repository"] if is_soak() else [])],
)
def test_a_restore_beside_a_removal_either_of_which_is_killed(other: Act) -> None:
    assert every_death(old_deleted, restore(OLD_DIGEST), other, undone(OLD_DIGEST)) > 1000


@pytest.mark.parametrize(
    "other",
    [delete_all(), delete(INDEX_DIGEST), delete_config(), collect()],
    ids=["repository", "manifest", "blob", "collector"],
)
@pytest.mark.parametrize("prepare", [repository_deleted, index_there], ids=["deleted", "there"])
def test_an_index_beside_a_removal(prepare: Prepare, other: Act) -> None:
    assert every_order(prepare, restore(INDEX_DIGEST), other, undone(INDEX_DIGEST)) > 50


def test_a_restore_of_an_index_that_is_killed_beside_a_removal() -> None:
    judge = undone(INDEX_DIGEST)
    assert every_death(repository_deleted, restore(INDEX_DIGEST), delete_all(), judge, whose=(0,)) > 1000


def test_a_restore_beside_a_push() -> None:
    def judge(made: World, restored: list[object], pushed: list[object]) -> None:
        nothing_half_visible(made, died=not restored or not pushed)
        assert not refused(restored) and not refused(pushed)
        if is_done(pushed):
            read(made, NAME, NEW_DIGEST)
        if is_done(restored):
            read(made, NAME, OLD_DIGEST)
            assert made.tagged() in (OLD_DIGEST, NEW_DIGEST)
        # Who came last is in the history as that.
        if is_done(pushed) and is_done(restored):
            assert made.tagged() is not None
        may_be_restored(made, OLD_DIGEST)

    assert every_order(old_deleted, restore(OLD_DIGEST), push(NEW), judge) > 30


@pytest.mark.parametrize(
    ("other", "spares", "kills"),
    [
        (delete(OLD_DIGEST), False, (0,)),
        (delete_tag(), True, ()),
        (delete_config(), True, ()),
        (delete_all(), False, (1,)),
        (delete_all(PROD), False, ()),
        (UNSIGN, True, ()),
        (collect(), True, ()),
    ],
    ids=["manifest", "tag", "blob", "source", "target", "signature", "collector"],
)
def test_a_copy_beside_a_removal(other: Act, spares: bool, kills: tuple[int, ...]) -> None:
    def judge(made: World, copied: list[object], removed: list[object]) -> None:
        nothing_half_visible(made, died=not copied or not removed)
        tags = run(made.plain.store.links.tags(PROD))
        if refused(copied):
            assert isinstance(copied[0], RegistryError)
            assert copied[0].code in ("MANIFEST_UNKNOWN", "BLOB_UNKNOWN")
            assert not spares and not tags
        elif copied:
            assert isinstance(copied[0], Copied)
            if tags or spares or refused(removed):
                read(made, PROD, TAG)
                assert run(made.plain.store.links.tag(PROD, TAG)) == OLD_DIGEST
                page = run(of(made.plain, PROD).referrers(OLD_DIGEST, artifact_types=(), after=""))
                assert len(page.entries) == copied[0].referrers >= (other is not UNSIGN)
        may_be_restored(made, OLD_DIGEST)

    assert every_order(signed, copy(OLD_DIGEST), other, judge) > 30
    if kills:
        assert every_death(signed, copy(OLD_DIGEST), other, judge, whose=kills) > 1000


def test_a_copy_beside_a_push_to_its_target() -> None:
    def judge(made: World, copied: list[object], pushed: list[object]) -> None:
        nothing_half_visible(made, died=not copied or not pushed)
        assert not refused(copied) and not refused(pushed)
        if is_done(copied):
            read(made, PROD, OLD_DIGEST)
        if is_done(copied) or is_done(pushed):
            read(made, PROD, TAG)

    def prepare(made: World) -> None:
        signed(made)
        run(made.plain.blobs.mount(PROD, CONFIG_DIGEST, NAME, put_back=False))

    assert every_order(prepare, copy(OLD_DIGEST), push(NEW, PROD), judge) > 30
