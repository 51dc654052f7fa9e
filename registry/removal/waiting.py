"""How what waits of a bundle goes: at once and not to the trash, since it is nobody's yet.

Only imports write there, and they can bring it again. Bytes that nothing else needs are collected like any.
"""

from __future__ import annotations

from registry.model.staged import staged_prefix
from registry.store import layout, parsing
from registry.store.store import Store

_AT_ONCE = 1000  # keys


async def remove_waiting(store: Store, bundle: str) -> None:
    """Take away all repositories in which a bundle waits, with all that is known of them."""
    prefix = staged_prefix(bundle)
    names = []
    async for name in store.catalog.names(after=prefix):
        if not name.startswith(prefix):
            break
        names.append(name)
    keys = [key for tree in layout.below(prefix) async for key in store.driver.walk(tree)]
    # Tags first, so that none names what is gone.
    keys.sort(key=lambda key: parsing.tag_of(key) is None)
    keys += map(layout.catalog_entry, names)
    for at in range(0, len(keys), _AT_ONCE):
        await store.driver.delete(keys[at : at + _AT_ONCE])
