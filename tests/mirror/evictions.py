"""What the tests of eviction share: images of a size that come, or are pulled, each on its day."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from registry.mirror.evicting import Evicted, Evicting
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE, OCI_INDEX
from registry.model.names import RepositoryName, Tag
from registry.upkeep.collection import Rules, collect
from registry.upkeep.recording import Recording
from registry.upkeep.reports import Collection
from registry.work.pace import let_others
from tests.inmemory import descriptor, image
from tests.mirror.shelf import HERE, Around

Make = Callable[..., Around]

LAYER = (
    1000  # bytes of a layer; an image of one has some three times as many, since it says what it is made of
)
GRACE = timedelta(days=1)
KEEP = timedelta(days=7)


def layer(note: str) -> bytes:
    """A layer of that size."""
    return (note.encode() * LAYER)[:LAYER]


def made(note: str, **more: Any) -> bytes:
    """An image with a layer of its own."""
    return image(note, **{"layers": [layer(note)], **more})


def size_of(*images: bytes) -> int:
    """How many bytes images have with their blobs, each once."""
    parts = {Digest.of(content): len(content) for content in images}
    for content in images:
        document = json.loads(content)
        parts |= {
            Digest.parse(one["digest"]): one["size"] for one in (document["config"], *document["layers"])
        }
    return sum(parts.values())


async def fetch(hub: Around, content: bytes, tag: str | None = None, name: RepositoryName = HERE) -> Digest:
    """Have an image come whole, by its tag or by its digest alone; a day goes by."""
    digest = hub.shelf.add(content, tag)
    await hub.repository(name).manifest(Tag(tag) if tag else digest)
    document = json.loads(content)
    for one in (document["config"], *document["layers"]):
        await hub.read(Digest.parse(one["digest"]), name=name)
    hub.world.clock.advance(days=1)
    return digest


def listing(*images: bytes) -> bytes:
    """An index of images."""
    manifests = [{**descriptor(content), "mediaType": OCI_IMAGE} for content in images]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()


async def fetch_index(hub: Around, tag: str, *images: bytes) -> Digest:
    """Have an index come with images that it lists, all on one day."""
    content = listing(*images)
    digest = Digest.of(content)
    hub.shelf.manifests[tag] = hub.shelf.manifests[str(digest)] = content
    await hub.repository().manifest(Tag(tag))
    for one in images:
        await fetch(hub, one)
        hub.world.clock.advance(days=-1)
    hub.world.clock.advance(days=1)
    return digest


async def pulled(hub: Around, *references: tuple[Tag | Digest, Digest], name: RepositoryName = HERE) -> None:
    """Have it recorded that clients were given something today; a day goes by."""
    recording = Recording(lambda: hub.world.registry, who="a server")
    recording.count()
    await recording.begin()
    for reference, digest in references:
        hub.world.registry.pulls.note(name, reference, digest)
    await recording.end()
    hub.world.clock.advance(days=1)


def evicting(hub: Around, who: str = "the first", **more: Any) -> Evicting:
    """Who evicts in a process."""
    return Evicting(hub.world.registry, hub.settings, who=who, **more)


async def evict(hub: Around, *, dry_run: bool = False, **more: Any) -> Evicted:
    """What comes of an eviction."""
    return [one async for one in evicting(hub, **more).run(dry_run=dry_run)][-1]


async def held(hub: Around, digests: Sequence[Digest], name: RepositoryName = HERE) -> list[Digest]:
    """Which of the manifests are held."""
    return [digest for digest in digests if await hub.world.holds(digest, name)]


async def collected(hub: Around) -> Collection:
    """What comes of a collection."""
    world = hub.world
    report = Collection(world.clock.now, "tester", dry_run=False)

    async def save(_: Collection) -> None:
        pass

    steps = collect(
        world.store,
        report,
        Rules(GRACE, KEEP, None),
        now=world.clock.now.timestamp(),
        save=save,
        step=let_others,
        clock=lambda: 0.0,
    )
    return [one async for one in steps][-1]
