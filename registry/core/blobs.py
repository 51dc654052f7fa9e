"""Blobs of a repository: found by their link, opened, mounted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from registry.errors import BlobUnknown
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.removal.trash import Trash
from registry.store import layout
from registry.store.store import Store
from storage.contract import ObjectInfo, OpenObject
from storage.errors import NotFound

_HINTS = 10_000


class Blobs:
    """The blobs of all repositories, each reached only through a link of its own repository."""

    def __init__(self, store: Store, trash: Trash, may_write: Callable[[], bool]) -> None:
        self._store = store
        self._trash = trash
        self._may_write = may_write
        # Where this process lately linked a digest: all that an anonymous mount looks at.
        self._hints: OrderedDict[Digest, RepositoryName] = OrderedDict()

    async def stat(self, name: RepositoryName, digest: Digest, *, put_back: bool = False) -> ObjectInfo:
        """The blob's size. With `put_back` (for who may push) a link that a policy took comes back.

        Raises BlobUnknown.
        """
        return (await self.find(name, digest, put_back=put_back))[1]

    async def find(
        self, name: RepositoryName, digest: Digest, *, put_back: bool = False
    ) -> tuple[str, ObjectInfo]:
        """The key under which the blob's bytes lie, and their size; see `stat`. Raises BlobUnknown."""
        target = await self._target(name, digest, put_back=put_back)
        return await self._data(name, digest, target)

    @asynccontextmanager
    async def open(
        self, name: RepositoryName, digest: Digest, start: int = 0, end: int | None = None
    ) -> AsyncIterator[OpenObject]:
        """Open the blob's bytes. Raises BlobUnknown, storage InvalidRange."""
        target = await self._target(name, digest, put_back=False)
        key = layout.blob_data(target)
        opening = self._store.driver.open(key, start, end)
        try:
            opened = await opening.__aenter__()
        except NotFound:
            key, _ = await self._data(name, digest, target)
            opening = self._store.driver.open(key, start, end)
            opened = await opening.__aenter__()
        try:
            yield opened
        finally:
            await opening.__aexit__(None, None, None)

    async def link(self, name: RepositoryName, digest: Digest) -> None:
        """Give the repository a blob whose bytes it has sent and that were hashed."""
        await self._store.links.put_layer(name, digest)
        self._hint(name, digest)

    async def mount(
        self, name: RepositoryName, digest: Digest, source: RepositoryName, *, put_back: bool
    ) -> bool:
        """Give the repository a blob that `source` has; False when it has not.

        The caller has checked that the client may pull from `source`; with `put_back`, that it may push
        there too, so that a link which a policy took comes back. (dist-spec: Mounting a blob)
        """
        try:
            target = await self._target(source, digest, put_back=put_back)
            await self._data(source, digest, target)
        except BlobUnknown:
            return False
        return await self._take_over(name, digest, target)

    async def share(self, name: RepositoryName, digest: Digest) -> bool:
        """Give the repository a blob whose bytes lie in the store; False when they do not."""
        try:
            await self._data(name, digest, digest)
        except BlobUnknown:
            return False
        return await self._take_over(name, digest, digest)

    def hinted(self, digest: Digest) -> RepositoryName | None:
        """A repository that this process lately linked the digest in; rights and link are to be checked."""
        return self._hints.get(digest)

    async def _take_over(self, name: RepositoryName, digest: Digest, target: Digest) -> bool:
        await self._store.links.put_alias(name, digest, target)
        try:
            # The link stands now: what a collector took a moment before must come back.
            await self._data(name, digest, target)
        except BlobUnknown:
            return False
        self._hint(name, digest)
        return True

    def _hint(self, name: RepositoryName, digest: Digest) -> None:
        self._hints[digest] = name
        self._hints.move_to_end(digest)
        if len(self._hints) > _HINTS:
            self._hints.popitem(last=False)

    async def _target(self, name: RepositoryName, digest: Digest, *, put_back: bool) -> Digest:
        try:
            return await self._store.links.layer(name, digest)
        except BlobUnknown:
            if not (put_back and self._may_write()):
                # A collector that has taken it looks whether it is needed, and pulls do not wait for that.
                taken = await self._trash.layer(name, digest)
                if taken is None:
                    return await self._store.links.layer(name, digest)
                return taken
            if not await self._trash.put_back_layer(name, digest):
                raise
            return await self._store.links.layer(name, digest)

    async def _data(self, name: RepositoryName, digest: Digest, target: Digest) -> tuple[str, ObjectInfo]:
        """Where the linked bytes lie; what a collector took comes back. Raises BlobUnknown."""
        stat = self._store.driver.stat
        key = layout.blob_data(target)
        try:
            return key, await stat(key)
        except NotFound:
            with suppress(NotFound):  # purged right behind that
                if self._may_write():
                    if await self._trash.put_back_data(target):
                        return key, await stat(key)
                elif (trashed := await self._trash.data_key(target)) is not None:
                    return trashed, await stat(trashed)
            raise BlobUnknown(
                "the repository links to this blob and its bytes are missing; push it again",
                detail={"name": name, "digest": str(digest)},
            ) from None
