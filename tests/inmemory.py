"""A registry in memory whose clock only tests move, and what the tests of the rooms put into it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeVar, cast

from registry.core.registry import Registry, Repository
from registry.core.uploads import UploadLimits
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE, OCI_INDEX
from registry.model.names import RepositoryName, Tag
from registry.store.effects import Effects
from registry.store.store import Store
from storage.contract import Driver
from storage.memory import MemoryDriver

T = TypeVar("T")
P = ParamSpec("P")

NAME = RepositoryName("team/app")
TAG = Tag("latest")


class Clock:
    """A time that only tests move."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def advance(self, **by: float) -> None:
        """Let time pass."""
        self.now += timedelta(**by)


class Counted:
    """A driver that counts its calls, and whose epoch a test may set."""

    def __init__(self, inner: Driver) -> None:
        self._inner = inner
        self.epoch = inner.epoch
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def call(*arguments: Any, **options: Any) -> Any:
            self.calls[name] += 1
            return method(*arguments, **options)

        return call


class Bytes:
    """A body that is there already."""

    cut_off = False

    def __init__(self, content: bytes = b"", *, length: int | None = -1) -> None:
        self._content = content
        self.length = len(content) if length == -1 else length

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._content:
            yield self._content


class World:
    """One store, and a registry on it."""

    def __init__(
        self,
        *,
        chunks: int = 100,
        deletes: bool = True,
        quotas: Mapping[RepositoryName, int] | None = None,
        driver: Driver | None = None,
    ) -> None:
        self.clock = Clock()
        self.counted = Counted(driver or MemoryDriver(clock=lambda: self.clock.now))
        self.driver = cast(Driver, self.counted)
        self.store = Store(self.driver, effects(self.clock), manifest_cache_bytes=0)
        self._chunks, self._deletes, self.quotas = chunks, deletes, dict(quotas or {})
        self.registry = self.process()

    def process(self, *, sessions: int = 10_000) -> Registry:
        """Another process on the same store."""
        return Registry(
            self.store,
            uploads=UploadLimits(open=sessions, chunks=self._chunks, in_flight=100),
            max_references=10_000,
            allow_missing_layers=False,
            deletes=self._deletes,
            read_only=False,
            quotas=self.quotas,
        )

    def repository(self, name: RepositoryName = NAME) -> Repository:
        """One of its repositories, as the tester sees it."""
        return self.registry.repository(name, "tester")

    async def blob(self, content: bytes, name: RepositoryName = NAME) -> Digest:
        """Push a blob; its digest."""
        digest = Digest.of(content)
        await self.repository(name).push_blob(digest, Bytes(content))
        return digest

    async def push(
        self, content: bytes, reference: Tag | Digest = TAG, name: RepositoryName = NAME
    ) -> Digest:
        """Push a manifest with the blobs that `image` made it of; its digest."""
        document = json.loads(content)
        for blob in document["annotations"]["blobs"].split():
            await self.blob(bytes.fromhex(blob), name)
        return await self.push_alone(content, reference, name)

    async def push_alone(
        self, content: bytes, reference: Tag | Digest = TAG, name: RepositoryName = NAME
    ) -> Digest:
        """Push a manifest and nothing that it needs; its digest."""
        return (await self.repository(name).push_manifest(reference, content, OCI_IMAGE, [])).digest

    async def push_index(self, tag: str, children: Iterable[bytes]) -> Digest:
        """Push an index of manifests; its digest."""
        manifests = [{**descriptor(child), "mediaType": OCI_IMAGE} for child in children]
        content = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()
        return (await self.repository().push_manifest(Tag(tag), content, OCI_INDEX, [])).digest

    async def holds(self, digest: Digest, name: RepositoryName = NAME) -> bool:
        """Whether a manifest can be pulled by its digest."""
        return await self.store.manifests.exists(name, digest)

    async def keys(self, prefix: str = "") -> list[str]:
        """What lies in the store."""
        return [key async for key in self.driver.walk(prefix)]

    def remove_all(self, keys: Iterable[str]) -> Coroutine[Any, Any, None]:
        """Take objects away behind the registry's back."""
        return self.driver.delete(list(keys))


def image(note: str, *, layers: Iterable[bytes] = (b"layer",), subject: Digest | None = None) -> bytes:
    """A small image; its annotations say what it is made of, so that `World.push` knows."""
    blobs = [b"{}", *layers]
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "config": descriptor(blobs[0]),
        "layers": [descriptor(layer) for layer in blobs[1:]],
        "annotations": {"note": note, "blobs": " ".join(blob.hex() for blob in blobs)},
    }
    if subject is not None:
        document["subject"] = {"mediaType": OCI_IMAGE, "digest": str(subject), "size": 1}
    return json.dumps(document).encode()


def descriptor(content: bytes) -> dict[str, Any]:
    """The descriptor of a blob."""
    return {"mediaType": "application/x-test", "digest": str(Digest.of(content)), "size": len(content)}


def effects(clock: Clock) -> Effects:
    """Effects of one thread, on the tests' clock, with identifiers that count up."""
    count = 0

    def unique() -> str:
        nonlocal count
        count += 1
        return f"00000000-0000-4000-8000-{count:012x}"

    async def together(coroutines: Iterable[Coroutine[Any, Any, T]], /) -> list[T]:
        return [await coroutine for coroutine in coroutines]

    async def aside(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    return Effects(now=lambda: clock.now, unique=unique, together=together, aside=aside, turn=nullcontext)
