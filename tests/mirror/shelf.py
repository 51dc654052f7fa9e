"""An upstream in memory: what it has, what it was asked for, and how it fails when a test says so."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from registry.core.registry import Registry
from registry.mirror.fetching import transfer_memory
from registry.mirror.mirror import Mirror
from registry.mirror.mirrors import Mirrors
from registry.mirror.repository import MirroredRepository
from registry.mirror.settings import MirrorSettings
from registry.mirror.upstreams import Upstreams
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE
from registry.model.names import RepositoryName, Tag
from registry.model.tag_rights import EVERY_TAG
from registry.remote.errors import UpstreamError
from registry.remote.upstream import RemoteHead, RemoteManifest, Upstream
from tests.inmemory import World

HUB = RepositoryName("hub")
THERE = RepositoryName("library/app")
HERE = RepositoryName("hub/library/app")
LATEST = Tag("latest")


@dataclass
class Blob:
    """What is given of a blob: from `start` on in pieces, until it breaks."""

    shelf: Shelf
    content: bytes
    start: int

    @property
    def size_bytes(self) -> int:
        return len(self.content)

    async def chunks(self) -> AsyncIterator[bytes]:
        place = self.start
        while place < len(self.content):
            piece = self.content[place : place + self.shelf.piece_bytes]
            if self.shelf.breaks and place + len(piece) > self.shelf.breaks[0]:
                self.shelf.breaks.pop(0)
                raise UpstreamError("shelf", "the connection broke", "unreachable")
            await self.shelf.gate(place)
            yield piece
            self.shelf.sent_bytes += len(piece)
            place += len(piece)


class Shelf:
    """An upstream with one repository, `THERE`."""

    def __init__(self, host: str = "shelf") -> None:
        self.host = host
        self.manifests: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.calls: Counter[str] = Counter()
        self.sent_bytes = 0
        self.failure: UpstreamError | None = None
        self.piece_bytes = 256 << 10
        self.breaks: list[int] = []
        self.gates: dict[int, asyncio.Event] = {}
        self.slow = asyncio.Event()
        self.slow.set()
        self.lists_referrers = True

    def add(self, content: bytes, tag: str | None = None) -> Digest:
        """Have an image, made by `tests.inmemory.image`, with all that it needs."""
        for blob in json.loads(content)["annotations"]["blobs"].split():
            self.add_blob(bytes.fromhex(blob))
        digest = Digest.of(content)
        self.manifests[str(digest)] = content
        if tag is not None:
            self.manifests[tag] = content
        return digest

    def add_blob(self, content: bytes) -> Digest:
        digest = Digest.of(content)
        self.blobs[str(digest)] = content
        return digest

    def fail(self, cause: str, reason: str = "it fails") -> None:
        """From now on every question is answered so."""
        self.failure = UpstreamError(self.host, reason, cast(Any, cause))

    def hold(self, place: int) -> asyncio.Event:
        """Give nothing of a blob from a place on before the event is set."""
        self.gates[place] = asyncio.Event()
        return self.gates[place]

    async def gate(self, place: int) -> None:
        for at, event in self.gates.items():
            if place >= at:
                await event.wait()

    async def check(self) -> None:
        await self._ask("check", THERE)

    async def head_manifest(self, name: RepositoryName, reference: Tag | Digest) -> RemoteHead:
        content = await self._manifest("head_manifest", name, reference)
        return RemoteHead(Digest.of(content), len(content), OCI_IMAGE)

    async def manifest(self, name: RepositoryName, reference: Tag | Digest) -> RemoteManifest:
        content = await self._manifest("manifest", name, reference)
        told = json.loads(content).get("mediaType", OCI_IMAGE)
        return RemoteManifest(told, Digest.of(content), content)

    async def head_blob(self, name: RepositoryName, digest: Digest) -> int:
        return len(await self._blob("head_blob", name, digest))

    @asynccontextmanager
    async def blob(self, name: RepositoryName, digest: Digest, start: int = 0) -> AsyncIterator[Blob]:
        content = await self._blob("blob", name, digest)
        if start and start >= len(content):
            raise UpstreamError(self.host, f"its blob ends before byte {start}", "lying")
        yield Blob(self, content, start)

    async def tags(self, name: RepositoryName) -> list[Tag]:
        await self._ask("tags", name)
        return [Tag(one) for one in self.manifests if ":" not in one]

    async def referrers(self, name: RepositoryName, digest: Digest) -> list[dict[str, Any]] | None:
        await self._ask("referrers", name)
        if not self.lists_referrers:
            return None
        found = []
        for content in dict.fromkeys(self.manifests.values()):
            document = json.loads(content)
            if document.get("subject", {}).get("digest") == str(digest):
                found.append(
                    {"mediaType": OCI_IMAGE, "digest": str(Digest.of(content)), "size": len(content)}
                )
        return found

    async def _manifest(self, call: str, name: RepositoryName, reference: Tag | Digest) -> bytes:
        await self._ask(call, name)
        try:
            return self.manifests[str(reference)]
        except KeyError:
            raise UpstreamError(self.host, "it answered 404", "absent") from None

    async def _blob(self, call: str, name: RepositoryName, digest: Digest) -> bytes:
        await self._ask(call, name)
        try:
            return self.blobs[str(digest)]
        except KeyError:
            raise UpstreamError(self.host, "it answered 404", "absent") from None

    async def _ask(self, call: str, name: RepositoryName) -> None:
        self.calls[call] += 1
        await self.slow.wait()
        if self.failure is not None:
            raise self.failure
        if name.startswith("nowhere"):
            raise UpstreamError(self.host, "it answered 404", "absent")


class Time:
    """A monotonic clock that only tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let the time pass, and others go on."""
        self.now += seconds
        await asyncio.sleep(0)


class Around:
    """A namespace `hub` on a registry in memory, before a shelf; `process` gives another process of it."""

    def __init__(self, world: World, shelf: Shelf, **settings: Any) -> None:
        self.world = world
        self.shelf = shelf
        self.time = Time()
        self.failures: list[UpstreamError] = []
        self.memory = transfer_memory()
        self.settings = MirrorSettings.model_validate(
            {"name": "hub", "answers_for": ["docker.io"], "upstreams": [{"url": "https://shelf"}], **settings}
        )
        self.mirror = self.process(world.registry)
        self.warnings: list[str] = []

    def process(self, registry: Registry, who: str = "the first", *others: Shelf) -> Mirror:
        upstreams = Upstreams(
            cast(list[Upstream], [self.shelf, *others]),
            clock=self.time,
            tell=lambda _, error: self.failures.append(error),
            rest_seconds=self.settings.rest_for.total_seconds(),
        )
        return Mirror(
            self.settings,
            registry,
            upstreams,
            who=who,
            clock=self.time,
            sleep=self.time.sleep,
            memory=self.memory,
        )

    def repository(self, name: RepositoryName = HERE, mirror: Mirror | None = None) -> MirroredRepository:
        mirror = mirror or self.mirror
        mirrors = Mirrors(self.world.registry, [mirror])
        found = mirrors.repository(name, "puller", EVERY_TAG, self.warnings.append)
        assert isinstance(found, MirroredRepository)
        return found

    async def read(
        self,
        digest: Digest,
        start: int = 0,
        end: int | None = None,
        *,
        name: RepositoryName = HERE,
        mirror: Mirror | None = None,
        seen: Callable[[bytes], None] = lambda _: None,
    ) -> bytes:
        """A blob as a client gets it."""
        content = bytearray()
        async with self.repository(name, mirror).open_blob(digest, start, end) as opened:
            async for piece in opened.chunks():
                seen(piece)
                content += piece
        return bytes(content)
