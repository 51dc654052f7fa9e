"""Where bundles wait: below `staged/<bundle>/`, until they are decided about, or nobody goes on with them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta

from registry.core.registry import Registry
from registry.model.names import RepositoryName
from registry.model.staged import staged_repository
from registry.store import layout
from storage.errors import NotFound

_LIMIT = 256 << 20  # bytes of the names of repositories

ABANDONED = timedelta(days=2)
"""What is half staged goes when it is so old: by then what has come for it may be collected, and nobody waits
any more for the pushes of a process that died."""


class Staging:
    """Where the bundles of one registry wait."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._driver = registry.store.driver

    async def begin(self, bundle: str, names: Iterable[RepositoryName]) -> None:
        """Note that from now on a part of a bundle may lie there, for these repositories."""
        content = "".join(f"{name}\n" for name in sorted(names)).encode()
        await self._driver.put(layout.bundle_staging(bundle), content)

    async def end(self, bundle: str) -> None:
        """Note that all of it does, or nothing; what a power cut brings back does no harm."""
        await self._driver.delete([layout.bundle_staging(bundle)], durable=False)

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

    async def put_away(self, bundle: str, names: Iterable[RepositoryName], by: str) -> None:
        """Take away what waits there for `names`, and for any other; what a tag was set to there as well."""
        store, prefix = self._registry.store, f"staged/{bundle}/"
        begun = ""
        with suppress(NotFound):
            begun = (await self._driver.get(layout.bundle_staging(bundle), limit=_LIMIT)).decode()
        waiting = [staged_repository(bundle, name) for name in (*names, *begun.splitlines())]
        async for name in store.catalog.names(after=prefix):
            if not name.startswith(prefix):
                break
            waiting.append(name)
        for name in dict.fromkeys(waiting):
            await self._registry.door.remove_repository(name, by)
            # The last, since until then somebody may have to finish by it what this process has begun.
            await store.history.forget(name)
        await self.end(bundle)
