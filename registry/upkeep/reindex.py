"""The rebuild of everything derived: catalog and referrers, from the content alone."""

from __future__ import annotations

from collections.abc import AsyncIterator

from registry.core.registry import Registry
from registry.model.names import RepositoryName


async def reindex(registry: Registry) -> AsyncIterator[tuple[RepositoryName, int]]:
    """Index every repository that the tree shows; each with how many referrers it has.

    Runs while the registry serves, also in several processes at once: entries are derived from content, so
    all write the same.
    """
    async for name in registry.store.catalog.tree():
        registry.require_writable()
        yield name, await registry.listings.index(name)
    registry.require_writable()
    await registry.store.catalog.set_complete()


async def complete_catalog(registry: Registry) -> None:
    """Make the catalog complete where it is not: at once in an empty store, else by a rebuild."""
    if await registry.store.catalog.is_complete() or not registry.may_write():
        return
    async for _ in reindex(registry):
        pass
