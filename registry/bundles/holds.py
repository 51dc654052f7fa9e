"""What bundles that are under way may still need: kept from retention until they are acknowledged.

A bundle that was written is held on the near side until a receipt has come, since a supplement of it may be
asked for; what an inventory says is held on the far side, since it will not be sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from registry.bundles.given import LIMIT
from registry.bundles.inventory import read_inventory
from registry.bundles.records import Sent, SentBundles, read_contents
from registry.bundles.statement import digest_of
from registry.errors import RequestInvalid
from registry.model.digests import Digest
from registry.store import layout
from registry.store.store import Store
from storage.contract import exists
from storage.errors import NotFound

_SHORTEST = 6
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Given:
    """An inventory that was given out, and until when what it lists is held."""

    sha256: str
    until: datetime

    @property
    def id(self) -> str:
        """What it is called for people."""
        return short_id(self.sha256)


def short_id(sha256: str) -> str:
    """What an inventory is called for people: so much of its hash as tells it from others."""
    return sha256[:_SHOWN]


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
                if await self._end_of(sent, now) is not None:
                    statement = await read_contents(self._store, sent.head)
                    found |= {digest_of(held): f"bundle {sent.head.id}" for held in statement.manifests}
        async for one in self.given():
            try:
                content = await self._store.driver.get(
                    layout.bundle_given(one.sha256, "contents"), limit=LIMIT
                )
            except NotFound:
                continue
            inventory = await self._store.effects.aside(read_inventory, content)
            found |= {
                digest_of(held): f"inventory {one.id}" for held in (*inventory.whole, *inventory.sparse)
            }
        return found

    async def given(self) -> AsyncIterator[Given]:
        """The inventories that hold something."""
        now = await self._now()
        for one in await self._store.driver.children(layout.BUNDLES_GIVEN):
            if await exists(self._store.driver, layout.bundle_given(one, "forgotten")):
                continue
            until = await self._until(layout.bundle_given(one, "contents"), now)
            if until is not None:
                yield Given(one, until)

    async def until(self, sent: Sent) -> datetime | None:
        """Until when what a bundle states is held; None where it is not."""
        return await self._end_of(sent, await self._now())

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
            if is_base or is_last or await self._end_of(sent, now) is not None:
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

    async def forget(self, inventory: str) -> str | None:
        """Hold no more what an inventory says; its SHA-256, None where there is none that is called so.

        It may be called by what its SHA-256 begins with. Raises RequestInvalid where several do.
        """
        begin = inventory.removeprefix("inventory:")
        if len(begin) < _SHORTEST:
            return None
        known = await self._store.driver.children(layout.BUNDLES_GIVEN)
        found = [one for one in known if one.startswith(begin)]
        if len(found) > 1:
            raise RequestInvalid(f"{len(found)} inventories begin with {begin}; give more of the one's id")
        for one in found:
            await self._store.driver.put(layout.bundle_given(one, "forgotten"), b"")
        return found[0] if found else None

    async def _end_of(self, sent: Sent, now: float) -> datetime | None:
        """Until when a bundle is held; None where it is not any more."""
        head = layout.bundle_sent(sent.head.stream, sent.head.number, "head")
        return await self._until(head, now) if sent.is_open else None

    async def _until(self, key: str, now: float) -> datetime | None:
        try:
            until = (await self._store.driver.stat(key)).modified_at + self._hold_for
        except NotFound:
            return None
        return until if now < until.timestamp() else None
