"""Eviction: a namespace that holds more from elsewhere than was set lets go what was not used for longest."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from registry.core.last_pulls import LastPulls, last_pulls
from registry.core.pull_records import PullRecords
from registry.core.registry import Registry
from registry.errors import ReadOnly, RegistryError, Unsupported
from registry.logs import event
from registry.mirror.fetching import segment
from registry.mirror.holdings import Holding, Holdings
from registry.mirror.images import why
from registry.mirror.settings import MirrorSettings, pusher
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.units import format_size
from registry.removal.mark import Step, handfuls
from registry.removal.releasing import Releasing
from registry.store.store import Store
from registry.upkeep.retention.in_use import InUse
from registry.work.leased import LEASE_SECONDS, Leased
from registry.work.pace import let_others, paced
from registry.work.reports import ReportsOf, is_due, listed
from storage.errors import AlreadyExists, StorageError

_LOG = logging.getLogger(__name__)
_DOWN_TO = 0.9  # of what may be held, so that it does not begin again with the next blob
_REQUESTS_PER_SECOND = 1000
_AT_ONCE = 200  # manifests of one removal
_MOST_TOLD = 100
_MOST_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Gone:
    """A manifest that was evicted, with its tags: the day on which it was last used, and what is freed."""

    reference: str
    last_used: str
    size_bytes: int


@dataclass(slots=True)
class Evicted:
    """What a namespace held from elsewhere, what of it went, and what failed, and why.

    `held_bytes` are those that its manifests need, `pinned_bytes` what of them may not go. `unneeded_bytes`
    lie there beside them until collections take them.
    """

    namespace: str
    began: datetime
    dry_run: bool
    max_bytes: int
    ended: datetime | None = None
    repositories: int = 0
    held_bytes: int = 0
    pinned_bytes: int = 0
    unneeded_bytes: int = 0
    freed_bytes: int = 0
    manifests: int = 0
    gone: list[Gone] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def told(self) -> str:
        """For people."""
        held = f"{format_size(self.held_bytes)} from elsewhere, of {format_size(self.max_bytes)} that may be"
        lines = [f"{self.namespace}: {held}; pinned: {format_size(self.pinned_bytes)}"]
        if self.failures and not self.repositories:
            lines = [f"{self.namespace}: nothing was looked at"]
        if self.unneeded_bytes:
            lines.append(f"collections will take {format_size(self.unneeded_bytes)} beside that")
        if self.manifests:
            would = "would be" if self.dry_run else "were"
            freed = format_size(self.freed_bytes)
            lines.append(f"the least recently used {would} evicted: {self.manifests} manifests, {freed}")
            told = [
                f"  {one.reference}, last used {one.last_used}: {format_size(one.size_bytes)}"
                for one in self.gone
            ]
            lines += listed(told, _MOST_TOLD, self.manifests - len(told))
        return "\n".join([*lines, *listed([f"failed: {one}" for one in self.failures], _MOST_TOLD)])


async def _nothing() -> InUse:
    return InUse()


class Evicting:
    """How one process evicts from a namespace; others know it as `who`. What is `in_use` stays."""

    def __init__(
        self,
        registry: Registry,
        settings: MirrorSettings,
        *,
        who: str,
        in_use: Callable[[], Awaitable[InUse]] = _nothing,
        seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._name = RepositoryName(settings.name)
        self._by = pusher(settings.name)
        self._in_use = in_use
        # How large blobs are that were there the last time.
        self._sizes: dict[int, int] = {}
        self.leased = Leased(
            lambda: registry,
            f"evict-{segment(self._name)}",
            f"evicting from {self._name}",
            f"moorage mirror status {self._name}",
            who=who,
            seconds=seconds,
            clock=clock,
        )
        self.reports = ReportsOf(registry.store, f"evict-{segment(self._name)}", Evicted)

    async def if_due(self) -> None:
        """Do it if the last time is long enough ago, whoever did it, and nobody does."""
        if self._settings.max_size is not None:
            await self.leased.when_due(self._is_due, self._scheduled)

    async def run(self, *, dry_run: bool) -> AsyncIterator[Evicted]:
        """Evict what is too much; what has come of it so far, and last of all.

        Raises TooManyRequests while another process does it.
        """
        if dry_run:
            async for evicted in self._all(self._new(dry_run=True), let_others):
                yield evicted
            return
        self._registry.require_writable()
        async with self.leased.held() as step, aclosing(self._held(step)) as run:
            async for evicted in run:
                yield evicted

    def _new(self, *, dry_run: bool) -> Evicted:
        began = self._registry.store.effects.now()
        return Evicted(str(self._name), began, dry_run, self._settings.max_size or 0)

    async def _is_due(self) -> bool:
        last = await self.reports.newest()
        now = self._registry.store.effects.now()
        return last is None or is_due(now - last[1].began, self._settings.evict_interval)

    async def _scheduled(self, step: Step) -> None:
        async for evicted in self._held(step):
            if evicted.ended is not None:
                event(
                    _LOG,
                    logging.WARNING if evicted.failures else logging.INFO,
                    "mirror.evicted",
                    namespace=evicted.namespace,
                    held=evicted.held_bytes,
                    manifests=evicted.manifests,
                    bytes=evicted.freed_bytes,
                    failures=evicted.failures[:10],
                )

    async def _held(self, step: Step) -> AsyncGenerator[Evicted, None]:
        """Do all of it while the lease is held, and keep what came of it."""
        async for evicted in self._all(self._new(dry_run=False), step):
            if evicted.ended is not None:
                kept = replace(evicted, gone=evicted.gone[:_MOST_KEPT])
                key = self.reports.new(evicted.began)
                await self.reports.save(key, kept)
                await self.reports.trim(key)
            yield evicted

    async def _all(self, evicted: Evicted, step: Step) -> AsyncIterator[Evicted]:
        assert self._settings.max_size is not None
        store = paced(self._registry.store, _REQUESTS_PER_SECOND)
        try:
            in_use = await self._in_use()
        except Unsupported as error:
            evicted.failures.append(f"nothing is evicted: {error.message}")
            evicted.ended = self._registry.store.effects.now()
            yield evicted
            return
        holdings = Holdings(
            store,
            self._settings,
            self._by,
            await _pulls(store),
            in_use,
            self._sizes,
            step=step,
        )
        async for name in self._repositories(store):
            try:
                await holdings.read(name)
            except (RegistryError, StorageError) as error:
                evicted.failures.append(f"{name}: {why(error)}")
            evicted.repositories += 1
            yield evicted
        self._sizes = holdings.sizes
        evicted.held_bytes = holdings.held_bytes
        evicted.pinned_bytes = holdings.pinned_bytes
        evicted.unneeded_bytes = holdings.unneeded_bytes
        down_to = int(self._settings.max_size * _DOWN_TO)
        surplus: dict[RepositoryName, list[tuple[Holding, int]]] = {}
        for holding, freed in holdings.surplus(self._settings.max_size, down_to):
            surplus.setdefault(holding.name, []).append((holding, freed))
        for name, chosen in surplus.items():
            for some in handfuls(chosen, _AT_ONCE):
                try:
                    went = await self._release(store, name, [one for one, _ in some], evicted, step)
                except ReadOnly:
                    raise
                except (RegistryError, StorageError) as error:
                    # One repository that cannot be cleaned must not keep the others waiting.
                    evicted.failures.append(f"{name}: {why(error)}")
                    break
                for one, freed in some:
                    if one.digest in went:
                        evicted.manifests += 1
                        evicted.freed_bytes += freed
                        evicted.gone.append(Gone(str(one), one.used[0].isoformat(), freed))
                yield evicted
        over = evicted.held_bytes - evicted.freed_bytes - evicted.max_bytes
        if over > 0:
            pinned = format_size(evicted.pinned_bytes)
            evicted.failures.append(f"{format_size(over)} too much are left: {pinned} may not be evicted")
        evicted.ended = self._registry.store.effects.now()
        yield evicted

    async def _release(
        self, store: Store, name: RepositoryName, some: Sequence[Holding], evicted: Evicted, step: Step
    ) -> set[Digest]:
        """Take manifests of a repository away, with the tags that name them; those that are gone now."""
        if evicted.dry_run:
            return {one.digest for one in some}
        releasing = Releasing(store, self._registry.intents, self._by, cached=True)
        kept = await kept_since(store, name, some)
        taken: dict[Digest, list[Tag]] = {}
        for one in some:
            if one.digest not in kept:
                await step()
                taken[one.digest] = [
                    tag
                    for tag, history in one.tags.items()
                    if await releasing.release_tag(name, tag, one.digest, history)
                ]
        judged = {
            one.digest: one.written
            for one in some
            if one.digest in taken and len(taken[one.digest]) == len(one.tags)
        }
        went = await releasing.release_manifests(name, judged, lambda: kept_since(store, name, some))
        for digest, tags in taken.items():
            if digest not in went:
                await self._put_back(store, name, digest, tags)
        if went:
            await releasing.release_repository(name)
        return went

    async def _put_back(
        self, store: Store, name: RepositoryName, digest: Digest, tags: Sequence[Tag]
    ) -> None:
        """Let tags name a manifest again that stays after all, unless they name another by now."""
        for tag in tags if await store.manifests.exists(name, digest) else ():
            await store.history.add(name, tag, digest, None, self._by)
            with suppress(AlreadyExists):
                await store.links.put_tag(name, tag, digest, if_absent=True)

    async def _repositories(self, store: Store) -> AsyncIterator[RepositoryName]:
        prefix = f"{self._name}/"
        if not await store.catalog.is_complete():
            async for name in store.catalog.tree():
                if name.startswith(prefix):
                    yield name
            return
        async for name in store.catalog.names(after=prefix):
            if not name.startswith(prefix):
                return
            yield name


async def kept_since(store: Store, name: RepositoryName, some: Sequence[Holding]) -> set[Digest]:
    """What of some manifests is not to go any more: it was pinned meanwhile, or pushed."""
    pins = await store.pins.of(name)
    here = (await store.origins.of(name)).here
    return {
        one.digest
        for one in some
        if None in pins or one.digest in pins or one.digest in here or not pins.isdisjoint(one.tags)
    }


async def _pulls(store: Store) -> LastPulls:
    """What was pulled, as far as servers have recorded it."""
    records = PullRecords(store.driver)
    now = store.effects.now()
    return await last_pulls(records, min(await records.days(), default=now.date()), now)
