"""How what waits of a bundle goes: at once and not to the trash, since it is nobody's yet.

Only imports write there, and they can bring it again. Bytes that nothing else needs are collected like any.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from registry.model.staged import staged_prefix
from registry.removal.mark import handfuls_of
from registry.store import layout
from registry.store.store import Store

_AT_ONCE = 1000  # keys


async def remove_waiting(store: Store, bundle: str) -> None:
    """Take away all repositories in which a bundle waits, with all that is known of them."""
    async for some in handfuls_of(_keys(store, staged_prefix(bundle)), _AT_ONCE):
        await store.driver.delete(some)


async def _keys(store: Store, prefix: str) -> AsyncIterator[str]:
    """All keys in the order in which they go; read as they do, since there may be a million."""
    names = []
    async for name in store.catalog.names(after=prefix):
        if not name.startswith(prefix):
            break
        names.append(name)
    # Tags first, so that none names what is gone.
    trees = (*map(layout.tags, names), *layout.below(prefix))
    for tree in trees:
        async for key in store.driver.walk(tree):
            yield key
    for name in names:
        yield layout.catalog_entry(name)
