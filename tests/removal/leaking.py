"""Processes of a registry that heed what is blocked, and a secret that leaks into their store."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from registry.core.registry import Registry, Repository
from registry.core.uploads import UploadLimits
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE
from registry.model.names import RepositoryName, Tag
from registry.removal.purging import Purge, Purging
from registry.store import layout, parsing
from registry.store.blocked import Block, Blocked
from registry.store.effects import Effects
from registry.store.store import Store
from storage.contract import Driver
from storage.memory import MemoryDriver
from storage.withholding import WithholdingDriver
from tests.inmemory import Bytes, Clock, effects, image

NAME, OTHER = RepositoryName("team/app"), RepositoryName("team/other")
SECRET = b"a leaked secret, made for this"
LEAKED = Digest.of(SECRET)
TWIN = Digest.of(SECRET, "sha512")
NEEDS = image("needs it", layers=[SECRET])


async def step() -> None:
    """Nobody else is at work."""


class Process:
    """A registry process on a driver, as the composition root makes it."""

    def __init__(self, driver: Driver, given: Effects | None = None) -> None:
        self.blocked = Blocked(driver)
        self.store = Store(
            WithholdingDriver(driver, self.blocked.withholds),
            given or effects(Clock()),
            manifest_cache_bytes=1 << 20,
            beneath=driver,
            blocked=self.blocked,
        )
        self.registry = Registry(
            self.store,
            uploads=UploadLimits(open=100, chunks=100, in_flight=100),
            max_references=1000,
            allow_missing_layers=False,
            deletes=True,
            read_only=False,
        )

    def repository(self, name: RepositoryName = NAME) -> Repository:
        return self.registry.repository(name, "tester")

    async def blob(self, content: bytes, name: RepositoryName = NAME) -> Digest:
        digest = Digest.of(content)
        await self.repository(name).push_blob(digest, Bytes(content))
        return digest

    async def push(self, content: bytes, tag: str, name: RepositoryName = NAME) -> Digest:
        for blob in json.loads(content)["annotations"]["blobs"].split():
            await self.blob(bytes.fromhex(blob), name)
        return (await self.repository(name).push_manifest(Tag(tag), content, OCI_IMAGE, [])).digest

    async def purge(self, digest: Digest = LEAKED) -> Purge:
        """As the operation does it, but for the wait."""
        await self.blocked.look()
        purging = Purging(self.store, by="operator", step=step)
        known = self.blocked.of(digest) is not None
        digests = await purging.same(digest)
        await self.blocked.put(Block(digests, "operator", datetime(2026, 1, 1, tzinfo=UTC), "it leaked"))
        return await purging.remove(digests, everywhere=known)

    async def again(self) -> None:
        """As the second look and each collection do it."""
        await self.blocked.look()
        await Purging(self.store, by="collection", step=step).remove(self.blocked.digests)


def bytes_of(driver: MemoryDriver, secret: bytes = SECRET) -> list[str]:
    """Where its bytes lie."""
    return [key for key, (data, _) in driver._objects.items() if secret in data]


def named(driver: MemoryDriver, digest: Digest = LEAKED) -> list[str]:
    """What lies under keys that hold content with the digest."""
    return [key for key in driver._objects if parsing.content_of(key) == digest]


async def spread(driver: MemoryDriver, process: Process) -> Digest:
    """The secret wherever content may lie; the manifest that needs it."""
    needs = await process.push(NEEDS, "latest")
    await process.blob(SECRET, OTHER)
    await process.repository(OTHER).push_blob(TWIN, Bytes(SECRET))
    await driver.put(f"{layout.trash_data(LEAKED)}/c-1", SECRET)
    await driver.put(f"{layout.trash_layer(OTHER, LEAKED)}/c-1", str(LEAKED).encode())
    await driver.put(layout.quarantine(LEAKED, "uuid"), SECRET + b", damaged")
    await process.push(image("harmless"), "harmless")
    return needs
