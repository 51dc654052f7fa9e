"""What bundles that are under way may still need: kept from retention until they are acknowledged.

A bundle that was written is held on the near side until a receipt has come, since a supplement of it may be
asked for; what an inventory says is held on the far side, since it will not be sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from registry.bundles.given import LIMIT
from registry.bundles.inventory import read_inventory
from registry.bundles.records import Sent, SentBundles, read_contents
from registry.bundles.statement import digest_of
from registry.model.digests import Digest
from registry.store import layout
from registry.store.store import Store
from storage.contract import exists
from storage.errors import NotFound


class Holds:
    """The holds of one store; each ends `hold_for` after it was made, by `now`, the store's own clock (s)."""

    def __init__(self, store: Store, hold_for: timedelta, now: Callable[[], Awaitable[float]]) -> None:
        self._store = store
        self._hold_for = hold_for
        self._now = now
        self.sent = SentBundles(store)

    async def held(self) -> Mapping[Digest, str]:
        """The manifests that are held, each with what holds it."""
        found: dict[Digest, str] = {}
        now = await self._now()
        for stream in await self.sent.streams():
            async for sent in self.sent.current(stream):
                if sent.is_open and await self._is_young(_head_of(sent), now):
                    statement = await read_contents(self._store, sent.head)
                    found |= {digest_of(held): f"bundle {sent.head.id}" for held in statement.manifests}
        for one in await self._store.driver.children(layout.BUNDLES_GIVEN):
            key = layout.bundle_given(one, "contents")
            if await exists(self._store.driver, layout.bundle_given(one, "forgotten")):
                continue
            if await self._is_young(key, now):
                try:
                    content = await self._store.driver.get(key, limit=LIMIT)
                except NotFound:
                    continue
                inventory = await self._store.effects.aside(read_inventory, content)
                found |= {
                    digest_of(held): f"inventory {one[:12]}" for held in (*inventory.whole, *inventory.sparse)
                }
        return found

    async def let_go(self, stream: str) -> None:
        """Let go of what bundles of a stream state on which none can build, and that nobody will ask for."""
        now = await self._now()
        kept: list[int] = []
        unneeded: list[Sent] = []
        # Whether a newer one is what the next builds on, or the last that was written.
        builds = writes = False
        async for sent in self.sent.current(stream):
            is_base = sent.acknowledged and not sent.forgotten and not builds
            is_last = sent.written and not writes
            builds, writes = builds or is_base, writes or is_last
            if is_base or is_last or (sent.is_open and await self._is_young(_head_of(sent), now)):
                kept.append(sent.head.number)
            else:
                unneeded.append(sent)
        if unneeded:
            contents = [layout.bundle_contents(sent.head.id) for sent in unneeded]
            await self._store.driver.delete(contents, durable=False)
            # None of them can be needed again, so nobody looks at them again, however many there come to be.
            last = max([*kept, *(sent.head.number for sent in unneeded)])
            await self.sent.keep(stream, last, kept)

    async def give(self, content: bytes) -> str:
        """Hold what an inventory says; what it is called."""
        inventory = await self._store.effects.aside(read_inventory, content)
        await self._store.driver.put(layout.bundle_given(inventory.sha256, "contents"), content)
        # The same may have been given out and forgotten before.
        await self._store.driver.delete([layout.bundle_given(inventory.sha256, "forgotten")])
        return inventory.sha256

    async def forget(self, inventory: str) -> bool:
        """Hold no more what an inventory says; False where there is none that is called so."""
        found = [one for one in await self._store.driver.children(layout.BUNDLES_GIVEN) if one == inventory]
        for one in found:
            await self._store.driver.put(layout.bundle_given(one, "forgotten"), b"")
        return bool(found)

    async def _is_young(self, key: str, now: float) -> bool:
        try:
            made = (await self._store.driver.stat(key)).modified_at
        except NotFound:
            return False
        return now - made.timestamp() < self._hold_for.total_seconds()


def _head_of(sent: Sent) -> str:
    return layout.bundle_sent(sent.head.stream, sent.head.number, "head")
