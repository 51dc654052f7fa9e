"""What counts for quotas, counted anew: exact for what was pushed before, and nothing since is lost.

What was added before the count began is let go of after it, since the walk has seen it or it was deleted; but
not what a writer was about to need that was under way then: it may link to it behind the walk.
"""

from __future__ import annotations

from collections.abc import Iterable

from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.removal.intents import Intents
from registry.store.quotas import QuotaIndex
from registry.store.store import Store
from registry.upkeep.usage import Ledger
from registry.upkeep.usage_reports import QuotaCounted


class Recount:
    """One count's part in quotas: of the `configured` prefixes, and of those that servers know of."""

    def __init__(self, store: Store, configured: Iterable[RepositoryName]) -> None:
        self._store = store
        self._index = QuotaIndex(store.driver)
        self._began = 0.0
        self._added: dict[RepositoryName, dict[Digest, int]] = {}
        self._under_way: set[Digest] = set()
        self.prefixes = list(configured)

    async def begin(self, now: float) -> None:
        """Before the first link is read; `now` in seconds by the store's own clock."""
        self._began = now
        known = await self._index.prefixes()
        self.prefixes = list(dict.fromkeys([*self.prefixes, *known]))
        self._added = {prefix: await self._index.added(prefix) for prefix in self.prefixes}
        # After that: who has added one of these and has no intent any more, has ended.
        self._under_way = await Intents(self._store.driver, self._store.effects).young(now)

    async def end(self, ledger: Ledger) -> list[QuotaCounted]:
        """After the last link was read: have what was found count; how much that is."""
        found = []
        for prefix in self.prefixes:
            place = ledger.prefix(prefix)
            size = 0 if place is None else place.needed_bytes
            halves = [] if place is None or place.needed is None else place.needed
            await self._store.effects.aside(halves.sort)
            await self._index.put_counted(prefix, self._began, size, halves)
            added = self._added[prefix].items()
            await self._index.take(prefix, [one for one in added if one[0] not in self._under_way])
            found.append(QuotaCounted(prefix, size))
        return found
