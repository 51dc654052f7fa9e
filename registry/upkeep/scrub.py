"""A scrub: all content read and hashed, from where the last process got to; what is damaged is set aside.

Trash copies of data are content too, since they come back by themselves. In the end, what else has some of
what is damaged or missing is asked for it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress

from registry.core.sources import Sources
from registry.model.digests import Digest
from registry.removal.mark import Step
from registry.store import layout, parsing
from registry.store.store import Store
from registry.upkeep.repairing import Repairing, Save
from registry.upkeep.scrub_reports import Damaged, Scrub
from registry.upkeep.spread import spread
from storage.errors import Forbidden, NotFound, Unavailable

_SAVE_SECONDS = 30.0
# In the order of their keys, so that one key says how far a scrub got.
_PREFIXES = (layout.WHOLE_MANIFESTS, layout.TRASH_DATA, layout.BLOBS)


async def scrub(
    store: Store,
    report: Scrub,
    *,
    sources: Sources | None = None,
    save: Save,
    step: Step,
    clock: Callable[[], float],
) -> AsyncGenerator[Scrub, None]:
    """Verify all content, from where `report` says on; yields it after each object, and now and then.

    `save` keeps the report in the store: every half minute by the `clock` (monotonic), and when something is
    found. `step` is called now and then and raises what ends it. `sources` have some of the content, too.
    A dry run changes nothing.
    """
    hands = _Hands(store, report, save)
    saved = clock()
    async with aclosing(spread(_keys(store, report.after), hands.verify, width=1)) as verifying:
        async for _ in verifying:
            yield report
            if clock() - saved > _SAVE_SECONDS:
                await save(report)
                saved = clock()
    await hands.finish()
    repairing = Repairing(store, report, sources, save, step)
    await repairing.look()
    async with aclosing(repairing.repair()) as repaired:
        async for _ in repaired:
            yield report
    report.after = ""
    report.ended = store.effects.now()
    await save(report)
    yield report


async def _keys(store: Store, after: str) -> AsyncIterator[str]:
    for prefix in _PREFIXES:
        async for key in store.driver.walk(prefix, after=after):
            yield key


class _Hands:
    """What is done with one object after the other."""

    def __init__(self, store: Store, report: Scrub, save: Save) -> None:
        self._store = store
        self._driver = store.driver
        self._report = report
        self._save = save

    async def verify(self, key: str) -> None:
        """Read what lies under a key, and deal with it if it is damaged; strays a collection tells of."""
        digest = parsing.digest_of(key)
        if digest is not None and digest.supported:
            # Gone meanwhile is no damage.
            with suppress(NotFound):
                await self._verify(key, digest)
                self._report.objects += 1
        self._report.after = key

    async def finish(self) -> None:
        """Deal with what a dead process had only just found."""
        for one in self._report.damaged:
            if one.outcome == "left":
                await self._mend(one)

    async def _verify(self, key: str, digest: Digest) -> None:
        try:
            if await self._is_sound(key, digest):
                return
            one = await self._note(key, digest)
            await self._mend(one)
        except (Unavailable, Forbidden):
            # Is it the storage, or this object alone?
            await self._driver.stat(key)
            one = await self._note(key, digest)
            one.outcome = "unreadable"
        await self._save(self._report)

    async def _note(self, key: str, digest: Digest) -> Damaged:
        """Write down what was found, before it is put where no scrub looks."""
        one = self._report.note(str(digest), key, self._store.effects.now())
        await self._save(self._report)
        return one

    async def _mend(self, one: Damaged) -> None:
        if self._report.dry_run:
            return
        key, digest = one.key, Digest.parse(one.content)
        is_data = key == layout.blob_data(digest)
        # First what would come back by itself as soon as the data is away.
        copy = await self._sound_copy(digest) if is_data else None
        try:
            one.outcome = "set aside" if await self._set_aside(key, digest) else "replaced"
        except NotFound:
            one.outcome = "set aside"
        if copy is not None and one.outcome == "set aside":
            # Destroyed meanwhile, it is only set aside.
            with suppress(NotFound):
                await self._driver.copy(key, copy)
                one.outcome = "put back"

    async def _sound_copy(self, digest: Digest) -> str | None:
        """A copy in the trash that is sound; those that are not are set aside."""
        for run in await self._driver.children(layout.trash_data(digest)):
            copy = f"{layout.trash_data(digest)}/{run}"
            with suppress(NotFound):
                if not await self._set_aside(copy, digest):
                    return copy
        return None

    async def _set_aside(self, key: str, digest: Digest) -> bool:
        return await self._store.content.set_aside(key, digest, self._is_sound)

    async def _is_sound(self, key: str, digest: Digest) -> bool:
        if parsing.is_whole_manifest(key):
            return await self._store.manifests.is_whole_sound(key, digest)
        return await self._store.content.is_sound_at(key, digest)
