"""Looks whether the store holds what its links promise; changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from registry.core.registry import Registry
from registry.errors import RegistryError
from registry.model.descriptors import Descriptor
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.store import layout, parsing
from registry.store.store import Store
from storage.errors import NotFound

STILL_SERVED = (
    "blobs are not hashed when they are pulled: those with wrong bytes are served as they are until"
    " `moorage scrub run` has set them aside; then the same push again makes them whole"
)
"""What is to be done where bytes were found that do not have their digest."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be: where, what, and whether a pull fails by it."""

    repository: str
    content: str
    problem: str
    damaged: bool


Leading = Callable[[], AsyncIterator[tuple[str, str]]]
"""By which keys something from outside of the store is content, and where each leads to."""


async def leading_out(leading: Leading | None) -> AsyncIterator[Problem]:
    """What is content and does not lie in the store: by a disk that is mounted elsewhere, or by mischief."""
    if leading is None:
        return
    async for key, there in leading():
        repository = parsing.in_repository(key)[0] if key.startswith(f"{layout.REPOSITORIES}/") else ""
        told = f"leads out of the storage: {there}; it is followed, served and collected like what lies here"
        yield Problem(repository, key, told, False)


@dataclass(slots=True)
class Looked:
    """What was looked at so far, added to from repository to repository; no blob is hashed twice."""

    tags: int = 0
    manifests: int = 0
    blobs: int = 0
    # Of what came from elsewhere, if anything did, what manifests need that nobody has asked for yet.
    from_elsewhere: bool = False
    not_fetched: int = 0
    wrong: int = 0  # blobs whose bytes do not have their digest
    hashed: dict[Digest, int] = field(default_factory=dict)  # with the size of each


async def check_repository(
    registry: Registry, name: RepositoryName, *, hash_blobs: bool, looked: Looked
) -> AsyncIterator[Problem]:
    """Check tags, manifests and blobs of a repository; with `hash_blobs` also the bytes of each blob."""
    # A server remembers manifests as they were, and its cache has its own copies of content.
    store = registry.store.uncached()
    for tag in await store.links.tags(name):
        looked.tags += 1
        try:
            digest = await store.links.tag(name, tag)
            if not await store.manifests.exists(name, digest):
                yield Problem(name, f"tag {tag}", f"names {digest}, which is not here", True)
        except RegistryError as error:
            yield Problem(name, f"tag {tag}", error.message, True)
    cached = (await store.origins.of(name)).cached
    looked.from_elsewhere |= bool(cached)
    for digest in [digest async for digest in store.links.manifests(name)]:
        looked.manifests += 1
        try:
            stored = await store.manifests.read(name, digest)
        except NotFound:
            yield Problem(name, str(digest), "the manifest's bytes are missing", True)
            continue
        except RegistryError as error:
            yield Problem(name, str(digest), error.message, True)
            continue
        try:
            manifest = await store.effects.aside(stored.parse)
        except RegistryError as error:
            yield Problem(
                name,
                str(digest),
                f"{error.message}; it is served, and nothing here is ever collected",
                False,
            )
            continue
        for descriptor in manifest.required_blobs:
            blob = descriptor.digest
            if digest in cached and blob.supported and not await store.links.has_layer(name, blob):
                looked.not_fetched += 1
                continue
            wrong = await _wrong(registry, store, name, descriptor)
            if wrong is not None:
                yield Problem(name, str(blob), f"{wrong}, and manifest {digest} needs it", True)
    for digest in [digest async for digest in store.links.layers(name)]:
        looked.blobs += 1
        try:
            target = await store.links.layer(name, digest)
            if target in looked.hashed:
                continue
            found = await store.content.stat(target)
            if hash_blobs:
                looked.hashed[target] = found.size_bytes
                if not await store.content.is_sound(target):
                    looked.wrong += 1
                    yield Problem(name, str(digest), "the bytes do not have the digest", True)
        except NotFound:
            yield Problem(name, str(digest), "linked, and the bytes are missing", True)
        except RegistryError as error:
            yield Problem(name, str(digest), error.message, True)


async def _wrong(
    registry: Registry, store: Store, name: RepositoryName, descriptor: Descriptor
) -> str | None:
    """Why a pull would not have the blob as its manifest describes it; nothing of it is read.

    One in the trash would come back for it; nothing is taken from there here.
    """
    try:
        target = await store.links.layer(name, descriptor.digest)
    except RegistryError:
        return "missing"
    try:
        found = await store.content.stat(target)
    except NotFound:
        return "missing" if await registry.trash.data_key(target) is None else None
    if found.size_bytes != descriptor.size_bytes:
        return f"has {found.size_bytes} bytes and not {descriptor.size_bytes}"
    return None
