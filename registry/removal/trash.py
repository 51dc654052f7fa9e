"""The trash, and what comes back from it without being asked for.

A trash copy lies under its run: `u-…` was taken by a user, `c-…` by a policy. What a policy took comes back
when its repository needs it; what a user deleted stays deleted until it is uploaded or restored.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import timedelta

from registry.errors import DigestInvalid
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.store import layout, parsing
from storage.contract import Driver, exists
from storage.errors import NotFound

BY_USER = "u-"
BY_POLICY = "c-"
# So begins what a policy takes that came from elsewhere and comes from there again: it is not kept for long.
CACHED = f"{BY_POLICY}cached-"
# Nothing leaves the trash younger than this, whatever the operator asks.
FLOOR = timedelta(hours=24)
_LIMIT = 64 << 20  # bytes; a manifest that lies whole in one object


def time_kept(run: str, keep_for: timedelta, floor: timedelta = FLOOR) -> timedelta:
    """How long the trash keeps what a run has taken, where it is to keep things `keep_for`."""
    return floor if run.startswith(CACHED) else max(keep_for, floor)


def why_taken(run: str, why: str) -> str:
    """Why a run of that name, or whose name begins so, has taken what a policy takes for `why`."""
    return f"{why}, and it comes from elsewhere again" if run.startswith(CACHED) else why


class Trash:
    """The trash of one store."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def copies(self) -> AsyncIterator[tuple[Digest, str]]:
        """All that lies here of data: its digest, and the run that has taken it."""
        async for key in self._driver.walk(layout.TRASH_DATA):
            entry = parsing.trashed_data(key)
            if entry is not None:
                yield entry

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

    async def layer(self, name: RepositoryName, digest: Digest) -> Digest | None:
        """What the link of a blob contains that a policy took, or that a user is just about to delete.

        None when it was not so. It was one of the repository when it was taken, and may come back at any
        moment.
        """
        trashed = layout.trash_layer(name, digest)
        runs = await self._driver.children(trashed)
        if not runs or not all([await self._is_open(run) for run in runs if run.startswith(BY_USER)]):
            return None
        try:
            content = await self._driver.get(f"{trashed}/{runs[-1]}", limit=_LIMIT)
            return Digest.parse(content.decode("ascii")).require_supported()
        except (NotFound, UnicodeDecodeError, DigestInvalid):
            return None

    async def layer_key(self, name: RepositoryName, digest: Digest) -> str | None:
        """Where the link of a blob lies that a policy took, and no user; None when it was not so."""
        return await self._taken_key(layout.trash_layer(name, digest))

    async def layers(self, name: RepositoryName) -> AsyncIterator[Digest]:
        """The blobs of a repository whose links lie in the trash, whoever took them."""
        async for key in self._driver.walk(layout.trash_layers(name)):
            if (digest := parsing.content_of(key)) is not None:
                yield digest

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

    async def has_manifest(self, name: RepositoryName, digest: Digest) -> bool:
        """Whether `put_back_manifest` would find one."""
        places = layout.trash_revision(name, digest), layout.trash_whole_manifest(name, digest)
        return any([await self._taken_key(place) is not None for place in places])

    async def put_back_needs(self, name: RepositoryName, digests: Iterable[Digest]) -> None:
        """Give the repository again what a policy took, of that which a manifest of it refers to."""
        for digest in digests:
            if await self.put_back_layer(name, digest):
                await self.put_back_data(digest)

    async def away(self, *prefixes: str) -> str | None:
        """A copy of what a policy has just taken, of which it does not know yet whether it is needed."""
        if not await self._driver.children(layout.TRASH_OPEN, limit=1):
            return None
        for prefix in prefixes:
            key = await self._taken_key(prefix)
            if key is None:
                continue
            if await self._is_open(key.rpartition("/")[2]):
                return key
        return None

    async def _is_open(self, run: str) -> bool:
        """Whether it is not known yet if something needs what a run took."""
        return await exists(self._driver, layout.trash_open(run))

    async def _put_back(self, key: str, trashed: str) -> bool:
        content = await self._taken(trashed)
        if content is None:
            return False
        # A plain put renews the link's age.
        await self._driver.put(key, content)
        return True

    async def _taken(self, trashed: str) -> bytes | None:
        """What a policy took, and no user."""
        key = await self._taken_key(trashed)
        try:
            return None if key is None else await self._driver.get(key, limit=_LIMIT)
        except NotFound:
            return None

    async def _taken_key(self, trashed: str) -> str | None:
        runs = await self._driver.children(trashed)
        if not runs or any(run.startswith(BY_USER) for run in runs):
            return None
        return f"{trashed}/{runs[-1]}"
