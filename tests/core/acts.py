"""Those who act on a yard (tests/core/yard.py), and what each is told."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta

from registry.core.batches import Given
from registry.core.registry import Repository
from registry.errors import BlobUnknown, ManifestUnknown, RegistryError
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE, OCI_INDEX
from registry.model.names import RepositoryName, Tag
from registry.removal.releasing import Releasing
from registry.store.manifests import StoredManifest
from registry.work.effects import in_turn
from storage.errors import Withheld
from tests.actors import Watched
from tests.core.explored import CONFIG, CONFIG_DIGEST, Bytes
from tests.core.yard import (
    IMAGE,
    IMAGE_DIGEST,
    MOUNTED,
    NAME,
    OLD,
    OLD_DIGEST,
    OTHER,
    TAG,
    UNTAGGED,
    Act,
    Gone,
    Prepare,
    Told,
    Yard,
    collected,
)
from tests.exploring import Explored, explore

CHILD = {"mediaType": OCI_IMAGE, "digest": str(IMAGE_DIGEST), "size": len(IMAGE)}
INDEX = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [CHILD]}).encode()


def _repository(yard: Yard, driver: Watched, name: RepositoryName = NAME) -> Repository:
    return yard.opened(driver, driver.name).repository(name, driver.name)


async def _answer(work: Awaitable[object], told: object) -> object:
    """What somebody is told of what they do: that it is so, or what the registry refuses it with."""
    try:
        await work
    except (RegistryError, Withheld) as error:
        return error
    return told


# Pushers.


async def pushing(yard: Yard, driver: Watched) -> object:
    """Push an image whose config is there already."""
    return await _answer(_repository(yard, driver).push_manifest(TAG, IMAGE, OCI_IMAGE, []), Told(NAME))


async def pushing_another(yard: Yard, driver: Watched) -> object:
    """Push the older image, with the same config, by the same tag."""
    push = _repository(yard, driver).push_manifest(TAG, OLD, OCI_IMAGE, [])
    return await _answer(push, Told(NAME, OLD, OLD))


async def pushing_both(yard: Yard, driver: Watched) -> object:
    """Push the older image, then the other by the same tag."""
    repository = _repository(yard, driver)
    await _answer(repository.push_manifest(TAG, OLD, OCI_IMAGE, []), None)
    return await _answer(repository.push_manifest(TAG, IMAGE, OCI_IMAGE, []), Told(NAME))


async def pushing_index(yard: Yard, driver: Watched) -> object:
    """Push an index of the image, which is there already."""
    push = _repository(yard, driver).push_manifest(TAG, INDEX, OCI_INDEX, [])
    # Taken before or not: it came back with what the index lists.
    return await _answer(push, Told(NAME, INDEX))


async def pushing_together(yard: Yard, driver: Watched) -> object:
    """Push the image among others, and then have the tag name it."""
    repository, given = _repository(yard, driver), StoredManifest(IMAGE_DIGEST, OCI_IMAGE, IMAGE)

    async def push() -> None:
        await repository.push_manifests([Given(given)], in_turn)
        done = await repository.tag_manifests({TAG: IMAGE_DIGEST}, in_turn)
        if TAG not in done or not done[TAG].stands:
            raise ManifestUnknown

    return await _answer(push(), Told(NAME))


async def uploading(yard: Yard, driver: Watched) -> object:
    """Push the config once more, then the image."""
    return await _upload(_repository(yard, driver))


async def uploading_there(yard: Yard, driver: Watched) -> object:
    """The same in the other repository."""
    return await _upload(_repository(yard, driver, OTHER))


async def _upload(repository: Repository) -> object:
    async def push() -> None:
        await repository.push_blob(CONFIG_DIGEST, Bytes(CONFIG))
        await repository.push_manifest(TAG, IMAGE, OCI_IMAGE, [])

    return await _answer(push(), Told(repository.name))


# Those who take from another repository.


async def mounting(yard: Yard, driver: Watched) -> object:
    """Mount the config into the other repository."""

    async def mount() -> None:
        repository = _repository(yard, driver, OTHER)
        if not await repository.mount(CONFIG_DIGEST, NAME, lambda _: True, lambda _: True):
            raise BlobUnknown

    return await _answer(mount(), MOUNTED)


async def copying(yard: Yard, driver: Watched) -> object:
    """Let a tag in the other repository name the image."""
    return await _copy(yard, driver, IMAGE)


async def copying_older(yard: Yard, driver: Watched) -> object:
    """Let a tag in the other repository name the older image."""
    return await _copy(yard, driver, OLD)


async def _copy(yard: Yard, driver: Watched, content: bytes) -> object:
    registry = yard.opened(driver, driver.name)
    target, source = registry.repository(OTHER, driver.name), registry.repository(NAME, driver.name)
    copy = target.copy(TAG, source, Digest.of(content), put_back=True, referrers=True)
    return await _answer(copy, Told(OTHER, content, content))


# Deleters.


async def deleting(yard: Yard, driver: Watched) -> object:
    """Delete the older image by its digest."""
    return await _answer(_repository(yard, driver).delete_manifest(OLD_DIGEST), Gone(OLD_DIGEST))


async def deleting_image(yard: Yard, driver: Watched) -> object:
    """Delete the image by its digest."""
    return await _answer(_repository(yard, driver).delete_manifest(IMAGE_DIGEST), Gone(IMAGE_DIGEST))


async def deleting_tag(yard: Yard, driver: Watched) -> object:
    """Delete the tag alone."""
    return await _answer(_repository(yard, driver).delete_tag(TAG), None)


async def pushing_and_deleting_tag(yard: Yard, driver: Watched) -> object:
    """Push an image by the tag, by a server whose clock is ahead, and then delete the tag by another."""
    ahead = yard.opened(driver, f"{driver.name}-ahead", ahead=timedelta(hours=1))
    await ahead.repository(NAME, driver.name).push_manifest(TAG, IMAGE, OCI_IMAGE, [])
    return await _answer(_repository(yard, driver).delete_tag(TAG), UNTAGGED)


async def deleting_config(yard: Yard, driver: Watched) -> object:
    """Delete the config, unless something needs it."""
    return await _answer(_repository(yard, driver).delete_blob(CONFIG_DIGEST), None)


async def deleting_repository(yard: Yard, driver: Watched) -> object:
    """Delete the repository with all that is in it."""
    door = yard.opened(driver, driver.name).door
    return await _answer(door.remove_repository(NAME, driver.name), Gone(IMAGE_DIGEST))


# Retention.


async def releasing_tag(yard: Yard, driver: Watched) -> object:
    """Take the tag away, as it was judged."""
    return await _releasing(yard, driver).release_tag(NAME, TAG, IMAGE_DIGEST, yard.history)


async def releasing_older(yard: Yard, driver: Watched) -> object:
    """Take the tag away, as it was judged while it named the older image."""
    return await _releasing(yard, driver).release_tag(NAME, TAG, OLD_DIGEST, yard.history)


async def releasing_manifest(yard: Yard, driver: Watched) -> object:
    """Take the image away, which no tag led to."""
    await _releasing(yard, driver).release_manifests(NAME, {IMAGE_DIGEST: yard.written})
    return None


async def releasing_repository(yard: Yard, driver: Watched) -> object:
    """Take the repository off the lists if there is nothing in it."""
    return await _releasing(yard, driver).release_repository(NAME)


def _releasing(yard: Yard, driver: Watched) -> Releasing:
    registry = yard.opened(driver, driver.name)
    return Releasing(registry.store, registry.intents, "retention")


# Collectors.


async def collecting(yard: Yard, driver: Watched) -> object:
    """Collect once."""
    return await _answer(collected(yard.opened(driver, driver.name).store, now=yard.day), None)


LOSING: dict[Act, set[Digest | Tag]] = {
    deleting: {OLD_DIGEST},
    deleting_image: {IMAGE_DIGEST, TAG},
    deleting_tag: {TAG},
    deleting_repository: {IMAGE_DIGEST, OLD_DIGEST, TAG},
}
"""What may be lost to a user who deletes it, though somebody was told at the same time that it is there."""


KINDS: dict[Act, str] = {
    **dict.fromkeys((pushing, pushing_another, pushing_both, pushing_index), "pusher"),
    **dict.fromkeys((pushing_together, uploading, uploading_there), "pusher"),
    mounting: "mounter",
    **dict.fromkeys((deleting, deleting_image, deleting_tag, deleting_config), "deleter"),
    **dict.fromkeys((deleting_repository, pushing_and_deleting_tag), "deleter"),
    **dict.fromkeys((releasing_tag, releasing_older, releasing_manifest, releasing_repository), "retention"),
    **dict.fromkeys((copying, copying_older), "copier"),
    collecting: "collector",
}
"""What each is an actor of."""


def tried(
    *acts: Act,
    prepare: Prepare,
    mortal: Collection[str] = "abc",
    preemptions: int | None = None,
    yard: Callable[[Prepare], Yard] = Yard,
) -> Explored:
    """Explore acts beside one another; how many states there were is printed."""
    named = dict(zip("abc", acts, strict=False))
    before = yard(prepare)
    before.losing = frozenset[Digest | Tag]().union(*(LOSING.get(act, ()) for act in acts))
    made = explore(lambda: before.copied().situation(named, mortal), preemptions=preemptions)
    print(f"{' beside '.join(act.__name__ for act in acts)}, {prepare.__name__}: {made}")
    return made
