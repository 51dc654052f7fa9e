"""Mirroring ahead of being asked: which images, from which upstream, how often (and now)."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime

from registry.core.registry import Registry
from registry.errors import RegistryError
from registry.logs import event
from registry.mirror.fetching import segment
from registry.mirror.images import Came, Images, Parts, why
from registry.mirror.mirror import Mirror
from registry.mirror.settings import SyncSettings
from registry.model.names import RepositoryName, Tag
from registry.model.selection import Selection, newest
from registry.model.units import format_size
from registry.remote.errors import UpstreamError
from registry.removal.claims import state_of
from registry.removal.releasing import Releasing
from registry.work.leased import LEASE_SECONDS, Leased
from registry.work.reports import ReportsOf, is_due
from storage.errors import StorageError

Step = Callable[[], Awaitable[None]]

_LOG = logging.getLogger(__name__)
_MOST_TOLD = 100
_LOOK_SECONDS = 600.0  # at most, between two looks whether it is due
_LOOK_AT_CLOCK_SECONDS = 30.0


@dataclass(slots=True)
class Synced:
    """What came of it: images looked at, those that have moved or are new, and what failed, and why."""

    namespace: str
    began: datetime
    dry_run: bool
    ended: datetime | None = None
    images: int = 0
    moved: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    manifests: int = 0
    blobs: int = 0
    size_bytes: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to do."""
        return not (self.images or self.removed or self.failures)

    def told(self) -> str:
        """For people."""
        would = "would be" if self.dry_run else "were"
        lines = [
            f"{self.namespace}: looked at {self.images} tags, of which {len(self.moved)} {would} fetched",
            *(f"  {one}" for one in self.moved[:_MOST_TOLD]),
        ]
        if self.removed:
            lines.append(f"gone there, and {would} removed: {len(self.removed)}")
            lines += [f"  {one}" for one in self.removed[:_MOST_TOLD]]
        if not self.dry_run:
            lines.append(f"came: {self.blobs} blobs, {format_size(self.size_bytes)}")
        lines += [f"failed: {one}" for one in self.failures[:_MOST_TOLD]]
        return "\n".join(lines)


class Syncing:
    """How one process mirrors a namespace; others know it as `who`."""

    def __init__(
        self,
        registry: Registry,
        mirror: Mirror,
        *,
        who: str,
        seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._mirror = mirror
        self._images = Images(mirror, registry)
        self._releasing = Releasing(registry.store, registry.intents, mirror.by)
        own = str(mirror.name)
        self.leased = Leased(
            lambda: registry,
            f"sync-{segment(mirror.name)}",
            f"mirroring {own}",
            f"moorage mirror status {own}",
            who=who,
            seconds=seconds,
            clock=clock,
        )
        self.reports = ReportsOf(registry.store, f"mirror-{segment(mirror.name)}", Synced)
        self._made = registry.store.effects.now()

    @property
    def look_seconds(self) -> float:
        """How long to wait between two looks whether it is due."""
        if self._mirror.settings.sync_schedule is not None:
            return _LOOK_AT_CLOCK_SECONDS
        return min(self._mirror.settings.sync_interval.total_seconds() / 10, _LOOK_SECONDS)

    async def if_due(self) -> None:
        """Do it if the last time is long enough ago, whoever did it, and nobody does."""
        if self._mirror.settings.sync:
            await self.leased.when_due(self._is_due, self._scheduled)

    async def run(self, *, dry_run: bool) -> AsyncIterator[Came | Synced]:
        """Fetch what is selected; what has come whenever that is more, and last what came of it.

        Raises TooManyRequests while another process does it.
        """
        synced = self._new(dry_run=dry_run)
        if dry_run:
            async for came in self._all(synced):
                yield came
        else:
            self._registry.require_writable()
            async with self.leased.held() as step, aclosing(self._held(step, synced)) as coming:
                async for came in coming:
                    yield came
        yield synced

    def _new(self, *, dry_run: bool) -> Synced:
        return Synced(str(self._mirror.name), self._registry.store.effects.now(), dry_run)

    async def _is_due(self) -> bool:
        last = await self.reports.newest()
        now = self._registry.store.effects.now()
        if (schedule := self._mirror.settings.sync_schedule) is not None:
            # However many of the times have passed meanwhile, it is due once.
            # One that bears a time to come is of a clock that was wrong.
            began = self._made if last is None or last[1].began > now else last[1].began
            return schedule.after(began) <= now
        return last is None or is_due(now - last[1].began, self._mirror.settings.sync_interval)

    async def _scheduled(self, step: Step) -> None:
        synced = self._new(dry_run=False)
        async for _ in self._held(step, synced):
            pass
        event(
            _LOG,
            logging.WARNING if synced.failures else logging.INFO,
            "mirror.synced",
            namespace=synced.namespace,
            images=synced.images,
            moved=len(synced.moved),
            removed=len(synced.removed),
            bytes=synced.size_bytes,
            failures=synced.failures[:10],
        )

    async def _held(self, step: Step, synced: Synced) -> AsyncGenerator[Came, None]:
        """Do all of it while the lease is held, and keep what came of it."""
        async for came in self._all(synced):
            await step()
            yield came
        synced.ended = self._registry.store.effects.now()
        key = self.reports.new(synced.began)
        await self.reports.save(key, synced)
        await self.reports.trim(key)

    async def _all(self, synced: Synced) -> AsyncIterator[Came]:
        came = Came()
        for settings in self._mirror.settings.sync:
            async for repository, tags in self._selected(settings, synced):
                for tag in tags:
                    async for _ in self._image(repository, tag, settings, synced, came):
                        yield came

    async def _image(
        self, name: RepositoryName, tag: Tag, settings: SyncSettings, synced: Synced, came: Came
    ) -> AsyncIterator[None]:
        """Have an image as it is there now, with all that belongs to it."""
        synced.images += 1
        try:
            if synced.dry_run:
                if await self._mirror.has_moved(name, tag):
                    synced.moved.append(f"{name}:{tag}")
                return
            held = await self._registry.store.links.target(name, tag)
            root = await self._mirror.refreshed(name, tag)
            if root.digest != held:
                synced.moved.append(f"{name}:{tag}")
            parts = Parts(settings.platforms, settings.referrers)
            async for _ in self._images.fetch(name, root, parts, came):
                yield
        except (UpstreamError, RegistryError, StorageError) as error:
            synced.failures.append(f"{name}:{tag}: {why(error)}")
        synced.manifests, synced.blobs, synced.size_bytes = came.manifests, came.blobs, came.size_bytes

    async def _selected(
        self, settings: SyncSettings, synced: Synced
    ) -> AsyncIterator[tuple[RepositoryName, list[Tag]]]:
        """The repositories that are selected, with those of their tags that are."""
        selection = settings.selection
        for name in await self._repositories(settings):
            try:
                there = await self._mirror.tags_there(name)
            except UpstreamError as error:
                synced.failures.append(f"{name}: {error}")
                continue
            if settings.delete:
                await self._follow(name, there, selection, synced)
            yield name, newest([tag for tag in there if selection.has(tag)], settings.newest)

    async def _follow(
        self, name: RepositoryName, there: Collection[Tag], selection: Selection, synced: Synced
    ) -> None:
        """Let go of tags that came from there and are gone there; what was pushed meanwhile stays."""
        store = self._registry.store
        if not there:
            # So it answers, too, who may not see them any more.
            synced.failures.append(f"{name}: the upstream has no tags at all, so none were removed")
            return
        for tag in await store.links.tags(name):
            if tag in there or not selection.has(tag):
                continue
            judged = state_of(await store.history.keys(name, tag))
            digest = await store.links.target(name, tag)
            if digest is None or await self._mirror.is_ours(name, tag, digest):
                continue
            if synced.dry_run or await self._releasing.release_tag(name, tag, digest, judged):
                synced.removed.append(f"{name}:{tag}")

    async def _repositories(self, settings: SyncSettings) -> list[RepositoryName]:
        """Those that are named; of those that are meant by a pattern, which no upstream lists, those held."""
        prefix = f"{self._mirror.name}/"
        names = {f"{prefix}{one}" for one in settings.repositories if "*" not in str(one)}
        if len(names) < len(settings.repositories):
            async for name in self._registry.store.catalog.names(after=prefix):
                if not name.startswith(prefix):
                    break
                if settings.selection.has_repository(name[len(prefix) :]):
                    names.add(name)
        return [RepositoryName(name) for name in sorted(names)]
