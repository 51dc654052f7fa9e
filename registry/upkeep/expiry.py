"""Sessions, intents and removals that nobody will come back to."""

from __future__ import annotations

from datetime import timedelta

from registry.access.audit.kept import AuditStore
from registry.core.registry import Registry
from registry.store import layout
from registry.store.store import Store

_BATCH = 1000
_HURRY = timedelta(hours=1)


async def expire(registry: Registry, *, after: timedelta) -> int:
    """Remove upload sessions idle for longer than `after` and dead intents, and finish removals that died.

    How many there were of them all. When the sessions are almost as many as there may be, those go that were
    idle for an hour: what somebody left lying must not keep everybody else from pushing.

    Ages are read off the store's own clock. Two at once do no harm: what one has removed the other does not
    find, and a piece that arrives meanwhile finds its session gone and is answered so.
    """
    store = registry.store
    uuids = await store.sessions.uuids(limit=_BATCH)
    if not uuids and not await registry.intents.any() and not await registry.door.any_open():
        return 0
    now = await stamped_now(store)
    expired = await registry.intents.sweep(now) + await registry.door.finish_open(now)
    if await registry.uploads.census.crowded():
        after = min(after, _HURRY)
    while uuids:
        for uuid in uuids:
            if not registry.may_write():
                return expired
            newest = await store.sessions.newest(uuid)
            if newest is not None and now - newest > after.total_seconds():
                await store.sessions.drop(uuid)
                expired += 1
        uuids = await store.sessions.uuids(after=uuids[-1], limit=_BATCH)
    return expired


async def expire_audit(registry: Registry, kept: AuditStore, *, keep_for: timedelta) -> int:
    """Remove what the audit trail has kept in the store for longer than `keep_for`; how much that was."""
    if not registry.may_write():
        return 0
    return await kept.expire(lambda: stamped_now(registry.store), keep_for)


async def stamped_now(store: Store) -> float:
    """The time that the store stamps on what is written now, in seconds."""
    key = layout.intent(store.effects.unique())
    await store.driver.put(key, b"{}", durable=False)
    try:
        return (await store.driver.stat(key)).modified_at.timestamp()
    finally:
        await store.driver.delete([key], durable=False)
