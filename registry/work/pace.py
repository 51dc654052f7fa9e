"""At what pace work on the store as a whole goes, so that those who are served do not feel it."""

from __future__ import annotations

import asyncio

from registry.store.store import Store
from registry.work.effects import bounded_effects
from storage.paced import PacedDriver
from storage.withholding import WithholdingDriver


def paced(store: Store, per_second: float) -> Store:
    """The store with so many requests a second (0: no limit), several at once, and nothing remembered."""
    # Beneath the cache, which is for what is pulled; what has gone is looked for there no more.
    heeding = WithholdingDriver(store.beneath, store.blocked.withholds)
    driver = PacedDriver(heeding, per_second)
    effects = bounded_effects(store.effects)
    return Store(driver, effects, manifest_cache_bytes=0, beneath=driver, blocked=store.blocked)


async def let_others() -> None:
    """Between two handfuls of work of somebody who holds no lease."""
    await asyncio.sleep(0)
