"""What counts for quotas, counted anew: exact for what was pushed before, and nothing since is lost.

A count says that it begins, and then asks who is about to need what. Whoever looks at a quota later knows of
the count, and adds all that it needs, which the count leaves alone. Who has looked before is named by an
intent, or has ended, and then the walk sees what it did. What was added before the count, and is needed by
nobody who is under way, is let go of after it: the walk has seen it, or it was deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.removal.intents import Intents
from registry.store.quotas import Added, Counted, QuotaIndex
from registry.store.store import Store
from registry.upkeep.usage import Ledger
from registry.upkeep.usage_reports import QuotaCounted
from storage.errors import NotFound


@dataclass(frozen=True, slots=True)
class _Before:
    """How it was with a quota when the count began: who is under way may go by it."""

    begun: int
    last: Counted | None
    added: list[Added]
    under_way: frozenset[Digest]


class Recount:
    """One count's part in quotas: of the `configured` prefixes, and of those that servers know of."""

    def __init__(self, store: Store, configured: Iterable[RepositoryName]) -> None:
        self._store = store
        self._index = QuotaIndex(store.driver)
        self._before: dict[RepositoryName, _Before] = {}
        self.prefixes = list(configured)

    async def begin(self, now: float) -> None:
        """Before the first link is read; `now` in seconds by the store's own clock."""
        index = self._index
        self.prefixes = list(dict.fromkeys([*self.prefixes, *await index.prefixes()]))
        begun = {prefix: await index.begin(prefix, now) for prefix in self.prefixes}
        added = {prefix: await index.added(prefix) for prefix in self.prefixes}
        # After that: who has added one of these and has no intent any more, has ended.
        writers = await Intents(self._store.driver, self._store.effects).young(now)
        for prefix in self.prefixes:
            below = [needs for name, needs in writers if name == prefix or name.startswith(f"{prefix}/")]
            last = (await index.counts(prefix)).last
            under_way = frozenset[Digest]().union(*below)
            self._before[prefix] = _Before(begun[prefix], last, added[prefix], under_way)

    async def end(self, ledger: Ledger) -> list[QuotaCounted]:
        """After the last link was read: have what was found count; how much that is."""
        found = []
        for prefix, before in self._before.items():
            place = ledger.prefix(prefix)
            size = 0 if place is None else place.needed_bytes
            halves = [] if place is None or place.needed is None else place.needed
            await self._store.effects.aside(halves.sort)
            await self._keep(prefix, before)
            await self._index.end(prefix, before.begun, size, halves)
            await self._index.take(one for one in before.added if one.digest not in before.under_way)
            found.append(QuotaCounted(prefix, size))
        return found

    async def _keep(self, prefix: RepositoryName, before: _Before) -> None:
        """Add what somebody under way may have found to count already, and the walk may not have seen."""
        if before.last is None:
            return
        sizes: dict[Digest, int] = {}
        for digest in await self._index.holds(before.last, before.under_way):
            with suppress(NotFound):
                sizes[digest] = (await self._store.content.stat(digest)).size_bytes
        await self._index.add(prefix, sizes, before.begun)
