"""The bytes of blobs and manifests under their digests."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress

from registry.model.digests import Digest
from registry.store import layout
from registry.store.effects import Effects
from storage.contract import Check, Driver, ObjectInfo, OpenObject
from storage.errors import NotFound


class Content:
    """Content-addressed data, shared by all repositories; what may be read is decided by links, not here."""

    def __init__(self, driver: Driver, effects: Effects, beneath: Driver) -> None:
        self._driver = driver
        self._effects = effects
        self._beneath = beneath

    async def stat(self, digest: Digest) -> ObjectInfo:
        """Size and modified time. Raises storage NotFound."""
        return await self._driver.stat(layout.blob_data(digest))

    def open(
        self, digest: Digest, start: int = 0, end: int | None = None
    ) -> AbstractAsyncContextManager[OpenObject]:
        """Open the bytes for reading. Raises storage NotFound, InvalidRange."""
        return self._driver.open(layout.blob_data(digest), start, end)

    async def put(self, digest: Digest, data: bytes) -> None:
        """Put bytes that are known to have the digest."""
        await self._driver.put(layout.blob_data(digest), data)

    async def write(self, digest: Digest, chunks: AsyncIterable[bytes], check: Check) -> int:
        """Stream bytes straight to their place; `check` must refuse those that lack the digest."""
        return await self._driver.write(layout.blob_data(digest), chunks, check=check)

    async def compose(self, digest: Digest, sources: Sequence[str], *, size: int) -> None:
        """Join the chunks of an upload, which are known to have the digest. Raises storage NotFound."""
        await self._driver.compose(layout.blob_data(digest), sources, size=size)

    async def hash(self, keys: Sequence[str], algorithm: str) -> Digest:
        """Read objects in order and hash them as one, past any cache. Raises storage NotFound."""
        hasher = Digest.of(b"", algorithm).hasher()
        for key in keys:
            async with self._beneath.open(key) as opened:
                async for piece in opened.chunks():
                    await self._effects.aside(hasher.update, piece)
        return Digest(algorithm, hasher.hexdigest())

    async def is_sound(self, digest: Digest) -> bool:
        """Whether the stored bytes have the digest; reads all of them. Raises storage NotFound."""
        return await self.is_sound_at(layout.blob_data(digest), digest)

    async def is_sound_at(self, key: str, digest: Digest) -> bool:
        """Whether the bytes under a key have the digest; reads all of them. Raises storage NotFound."""
        return await self.hash([key], digest.algorithm) == digest

    async def quarantine(self, digest: Digest) -> bool:
        """Move bytes that do not have the digest to where no put-back looks; whether there were such.

        What another upload has put in their place meanwhile stays. Raises storage NotFound.
        """
        if not await self.set_aside(layout.blob_data(digest), digest, self.is_sound_at):
            return False
        # What was damaged before it was taken would come back from the trash in its place.
        for run in await self._driver.children(layout.trash_data(digest)):
            copy = f"{layout.trash_data(digest)}/{run}"
            with suppress(NotFound):
                if not await self.is_sound_at(copy, digest):
                    await self._driver.delete([copy], durable=False)
        return True

    async def set_aside(
        self, damaged: str, digest: Digest, is_sound: Callable[[str, Digest], Awaitable[bool]]
    ) -> bool:
        """Quarantine what lies under the key `damaged` unless it `is_sound` after all; whether it was not."""
        seen = await self._driver.stat(damaged)
        if await is_sound(damaged, digest):
            return False
        kept = layout.quarantine(digest, self._effects.unique())
        await self._driver.copy(kept, damaged)
        if await self._driver.stat(damaged) != seen:
            await self._driver.delete([kept], durable=False)
            return False
        # If a power cut brings it back, the next push of a manifest finds it again, or the next scrub.
        await self._driver.delete([damaged], durable=False)
        return True
