"""How many syncs each request costs, counted; docs/durability.md shows the same numbers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from registry.app.opening import open_scratch
from registry.core.registry import Registry
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.upkeep.crash.acts import image
from registry.upkeep.crash.client import Client, Made, Received
from tests.storage.watched import WatchedFiles

OLD, NEW, GOING = RepositoryName("team/old"), RepositoryName("team/new"), RepositoryName("team/going")
Costs = dict[str, tuple[int, int]]


@dataclass
class Measured:
    """A registry in use for long, so that the directories which all content shares are there."""

    client: Client
    files: WatchedFiles

    async def cost(self, request: Awaitable[object]) -> tuple[int, int]:
        """How many durable objects a request writes, and how many syncs it makes."""
        self.files.calls.clear()
        await request
        names = self.files.names()
        return names.count("sync") - names.count("sync_directory"), names.count("sync")


def blob(number: int) -> bytes:
    """Content of which all digests begin alike, so that none is the first in its directory."""
    return next(
        content
        for content in (f"{number} {attempt}".encode() for attempt in count())
        if Digest.of(content).encoded.startswith("ab")
    )


def manifest(number: int, *blobs: bytes, subject: Made | None = None, untyped: bool = False) -> Made:
    """A manifest of which the same holds."""
    return next(
        made
        for made in (
            image(f"{number} {attempt}", *blobs, subject=subject, untyped=untyped) for attempt in count()
        )
        if Digest.parse(made.digest).encoded.startswith("ab")
    )


async def costs(root: Path) -> Costs:
    """By the names of the requests."""
    files = WatchedFiles()
    async with open_scratch(str(root), files) as registry:
        client = Client(registry, lambda *_: None)
        measured = Measured(client, files)
        config = blob(0)
        await client.at_once(OLD, config)
        first, second = manifest(1, config), manifest(2, config)
        signature = manifest(3, config, subject=first)
        await client.manifest(OLD, signature, "kept")
        await client.delete_tag(OLD, "kept")
        await client.manifest(OLD, signature, "kept")
        await client.at_once(OLD, blob(9))
        await client.delete_blob(OLD, blob(9))
        await client.at_once(NEW, blob(9))
        await client.mount(GOING, config, OLD)
        await client.manifest(GOING, manifest(7, config), "only")
        requests: dict[str, Callable[[], Awaitable[object]]] = {
            "POST, PATCH, DELETE of an upload": lambda: _begin(registry),
            "blob, single POST": lambda: client.at_once(OLD, blob(1)),
            "blob, POST and PUT": lambda: client.in_one_body(OLD, blob(2)),
            "blob, POST, PATCH, PUT": lambda: client.in_pieces(OLD, blob(3)),
            "blob, POST, PATCH, PATCH, PUT": lambda: client.in_pieces(OLD, blob(4)[:1], blob(4)[1:]),
            "blob, mounted": lambda: client.mount(NEW, config, OLD),
            "manifest, by digest": lambda: client.manifest(OLD, first),
            "manifest, by a new tag": lambda: client.manifest(OLD, second, "new"),
            "manifest, by a tag that moves": lambda: client.manifest(OLD, manifest(4, config), "new"),
            "manifest with a subject": lambda: client.manifest(OLD, manifest(5, config, subject=first)),
            "manifest, the first of its repository": lambda: client.manifest(
                NEW, manifest(6, config), "first"
            ),
            "DELETE a tag": lambda: client.delete_tag(OLD, "new"),
            "DELETE a manifest with one tag": lambda: client.delete_manifest(OLD, signature, "kept"),
            "DELETE a blob": lambda: client.delete_blob(OLD, blob(1)),
            "repo delete, one manifest with one tag and one blob": lambda: registry.door.remove_repository(
                GOING, "tester"
            ),
            "storage read-only on": lambda: client.set_read_only(on=True),
            "storage read-only off": lambda: client.set_read_only(on=False),
        }
        return {name: await measured.cost(request()) for name, request in requests.items()}


async def _begin(registry: Registry) -> None:
    """Begin an upload, send a piece, and cancel it."""
    repository = registry.repository(OLD, "tester")
    session = await repository.begin_upload("sha256")
    await repository.append(session.uuid, Received(b"piece"), None)
    await repository.cancel_upload(session.uuid)
