"""Raises the format of a store to what this program writes, one level after the other.

A program of the next level writes what this one can read and write beside, until an operator raises the mark:
so adjacent releases serve one store together, and the older stops writing once it is raised.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping

from registry.core.registry import Registry
from registry.store import marks
from registry.upkeep.reindex import reindex
from registry.work.operations import Progress


async def _list_all(registry: Registry) -> AsyncIterator[Progress]:
    """Level 1: the catalog has every repository, since a page of it is all that a list looks at."""
    if await registry.store.catalog.is_complete():
        return
    count = 0
    async for name, _ in reindex(registry):
        count += 1
        yield Progress(count, None, "items", name)


NEEDS: Mapping[int, Callable[[Registry], AsyncIterator[Progress]]] = {1: _list_all}
"""What must be so in a store before its mark is raised to a level; each may be done again, while serving."""


async def upgrade(registry: Registry) -> AsyncIterator[Progress]:
    """Meet the needs of each level above the store's, and raise the mark to it.

    Raises storage errors, and then the mark stands at the last level whose needs are met.
    """
    level = await registry.store.marks.level() or 0
    for following in range(level + 1, marks.WRITER_LEVEL + 1):
        async for progress in NEEDS[following](registry):
            yield progress
        registry.require_writable()
        await registry.store.marks.raise_format(following)
