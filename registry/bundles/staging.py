"""Where bundles wait: below `staged/<bundle>/`, until they are decided about, or nobody goes on with them."""

from __future__ import annotations

from datetime import timedelta

from registry.model.staged import staged_prefix
from registry.removal.waiting import remove_waiting
from registry.store import layout
from registry.store.store import Store
from storage.errors import NotFound

ABANDONED = timedelta(days=2)
"""What is half staged goes when it is so old: what has come for it may be collected by then."""


class Staging:
    """Where the bundles that have come to one store's registry wait."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._driver = store.driver

    async def begin(self, bundle: str) -> None:
        """Note that from now on a part of a bundle may lie there."""
        await self._driver.put(layout.bundle_staging(bundle), b"")

    async def end(self, bundle: str) -> None:
        """Note that all of it does, or nothing; what a power cut brings back does no harm."""
        await self._driver.delete([layout.bundle_staging(bundle)], durable=False)

    async def is_there(self, bundle: str) -> bool:
        """Whether anything of a bundle lies there."""
        trees = layout.below(staged_prefix(bundle))
        return any([await self._driver.children(tree, limit=1) for tree in trees])

    async def half_done(self) -> list[str]:
        """The bundles of which a part may lie there."""
        return await self._driver.children(layout.BUNDLES_STAGING)

    async def is_abandoned(self, bundle: str, now: float) -> bool:
        """Whether nobody has gone on with it for long; `now` by the store's own clock (s)."""
        try:
            begun = (await self._driver.stat(layout.bundle_staging(bundle))).modified_at
        except NotFound:
            return False
        return now - begun.timestamp() > ABANDONED.total_seconds()

    async def put_away(self, bundle: str) -> None:
        """Take away all that waits there."""
        await remove_waiting(self._store, bundle)
        await self.end(bundle)
