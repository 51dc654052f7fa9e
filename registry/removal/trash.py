"""The trash, and what comes back from it without being asked for.

A trash copy lies under its run: `u-…` was taken by a user, `c-…` by a policy. What a policy took comes back
when its repository needs it; what a user deleted stays deleted until it is uploaded or restored.
"""

from __future__ import annotations

from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.store import layout
from storage.contract import Driver
from storage.errors import NotFound

BY_USER = "u-"
BY_POLICY = "c-"
_LIMIT = 64 << 20  # bytes; a manifest that lies whole in one object


class Trash:
    """The trash of one store."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def data_key(self, digest: Digest) -> str | None:
        """Where a copy of a blob's bytes lies; None when there is none."""
        copies = await self._driver.children(layout.trash_data(digest), limit=1)
        return f"{layout.trash_data(digest)}/{copies[0]}" if copies else None

    async def put_back_data(self, digest: Digest) -> bool:
        """Let a blob's bytes lie in their place again, the trash copy staying; whether they could be had."""
        key = await self.data_key(digest)
        if key is None:
            return False
        try:
            await self._driver.copy(layout.blob_data(digest), key)
        except NotFound:
            # Destroyed a moment ago: another copy may be left.
            return await self.put_back_data(digest)
        return True

    async def put_back_layer(self, name: RepositoryName, digest: Digest) -> bool:
        """Give the repository a blob again that a policy took; whether it was so."""
        return await self._put_back(layout.layer_link(name, digest), layout.trash_layer(name, digest))

    async def put_back_manifest(self, name: RepositoryName, digest: Digest) -> bool:
        """Give the repository a manifest again that a policy took; whether it was so."""
        link = layout.revision_link(name, digest)
        whole = layout.whole_manifest(name, digest)
        return await self._put_back(link, layout.trash_revision(name, digest)) or await self._put_back(
            whole, layout.trash_whole_manifest(name, digest)
        )

    async def _put_back(self, key: str, trashed: str) -> bool:
        runs = await self._driver.children(trashed)
        if not runs or any(run.startswith(BY_USER) for run in runs):
            return False
        try:
            content = await self._driver.get(f"{trashed}/{runs[-1]}", limit=_LIMIT)
        except NotFound:
            return False
        # A plain put renews the link's age.
        await self._driver.put(key, content)
        return True
