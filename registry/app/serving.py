"""One serving process: what it is made of, what it does in the background, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from registry import __version__
from registry.access.audit.sinks import AuditUnwritable, tell_log
from registry.access.errors import Unfit
from registry.access.gate import OpenGate, Turnstile
from registry.access.policy import Policy
from registry.access.watched import Unusable
from registry.api.application import Guard, Guarded, RegistryListener
from registry.api.bound import BoundListener
from registry.api.calls import API_HEADERS, V2_HEADERS, Limits, Services
from registry.api.health import Health, Readiness
from registry.api.memory import AnswerMemory, ManifestMemory
from registry.api.observed import Observed
from registry.api.operations import OperationsAPI
from registry.api.v2 import V2
from registry.app.audit import open_audit
from registry.app.bundling import make_bundles
from registry.app.cache import Cache
from registry.app.offering import reached_by_clients, scrubbing_of
from registry.app.opening import check_format, open_registry
from registry.app.process import process
from registry.app.rooms import Means, offered
from registry.app.storage import Storage, redirects_of, require_fit
from registry.bundles.bundles import FINISH_SECONDS
from registry.bundles.folders import LOOK_SECONDS, Inbox, Outbox
from registry.bundles.settings import imports
from registry.config import BOUND, Config, ConfigError, host_guard, watch_rules, without_rules
from registry.logs import event
from registry.metrics import Metrics
from registry.server import ASGIApp, StartFailed
from registry.server.settings import OPS, REGISTRY
from registry.settings import Address
from registry.store import layout
from registry.store.marks import FormatTooNew
from registry.upkeep.collecting import Collecting
from registry.upkeep.counting import Counting
from registry.upkeep.expiry import expire, expire_audit, stamped_now
from registry.upkeep.folding import LOOK_SECONDS as FOLD_SECONDS
from registry.upkeep.folding import Folding
from registry.upkeep.recording import LOOK_SECONDS as RECORD_SECONDS
from registry.upkeep.recording import Recording
from registry.upkeep.reindex import complete_catalog
from registry.upkeep.retention.retaining import Retaining
from registry.work.operations import Operation, Operations
from registry.work.schedule import Schedule
from storage.contract import Driver
from storage.errors import StorageError
from storage.timed import TimedDriver

if TYPE_CHECKING:
    from registry.app.authority import Authority
    from registry.mirror.mirrors import Mirrors

_AUDIT_SECONDS = 3600.0  # between two looks for entries that were kept for long enough
_LOG = logging.getLogger(__name__)
# Between two looks whether such work is due, and before the first: what grows with the store is no part of a
# start.
_DUE_SECONDS = 600.0
_TELL_USAGE_SECONDS = 60.0  # between two looks whether somebody has counted
_STORAGE_SECONDS = 5.0  # between two looks at the storage: the read-only mark, and whether it answers


class RegistryApplication:
    """One serving process's registry: storage, rules, background work and the listeners' applications."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._rules = watch_rules(config)
        self._without_rules = without_rules(config)
        self._guard: Guard | None = host_guard(config)
        self._metrics = Metrics(__version__)
        self._slow_reads = 0
        self._prepared = False
        self._schedule = Schedule()
        self._closing = AsyncExitStack()
        self._gate = Turnstile(OpenGate(self._policy))
        self._authority: Authority | None = None
        self._auth: ASGIApp | None = None
        self._knows_people = False
        self._mirrors: Mirrors | None = None
        self._cache = Cache(config.cache, self._metrics.cache)
        self._collecting = Collecting(lambda: self._registry, config, who=process())
        self._scrubbing = scrubbing_of(lambda: self._registry, config, self._mirrors_open)
        self._bundles = make_bundles(config, lambda: self._registry, who=process())
        self._retaining = Retaining(
            lambda: self._registry, config, who=process(), held=lambda: self._bundles.holds.held()
        )
        self._recording = Recording(lambda: self._registry, who=process())
        self._folding = Folding(lambda: self._registry, config.usage.keep_pulls_for, who=process())
        self._counting = Counting(lambda: self._registry, config.usage, who=process())

    async def start(self) -> None:
        """Open the storage and begin background work. Raises StartFailed."""
        try:
            await self._closing.enter_async_context(self._cache)
            self._registry = await self._closing.enter_async_context(
                open_registry(self._config, self._observed)
            )
            self._audit = self._closing.enter_context(
                open_audit(self._config, self._registry, tell_log, at_once=True)
            )
            await require_fit(self._driver, self._config.storage.text)
            self._writable = self._registry.may_write()
            if self._writable:
                await check_format(self._registry)
                self._recording.count()
                self._closing.push_async_callback(self._recording.end)
            self._readiness = Readiness(self._look)
            await self._look()
            if self._config.mirrors:
                await self._open_mirrors()
            if self._policy().knows_people:
                await self._know_people()
        except StartFailed:
            await self._closing.aclose()
            raise
        except (StorageError, FormatTooNew, AuditUnwritable, Unfit) as error:
            await self._closing.aclose()
            reason = error.reason if isinstance(error, Unusable) else str(error)
            raise StartFailed(reason, refused=isinstance(error, FormatTooNew)) from error
        self._closing.push_async_callback(self._schedule.stop)
        interval = self._config.uploads.expire_interval.total_seconds()
        self._schedule.every("storage.look", _STORAGE_SECONDS, self._readiness.watch)
        self._schedule.every("uploads.expire", interval, self._expire)
        self._schedule.every("access.look", self._config.access.check_seconds, self._look_at_access)
        self._schedule.every("audit.expire", _AUDIT_SECONDS, self._expire_audit)
        self._schedule.every("pulls.record", RECORD_SECONDS, self._recording.if_due, at_once=False)
        self._schedule.every("pulls.fold", FOLD_SECONDS, self._folding.if_due, at_once=False)
        if self._config.retention.rules:
            interval = self._config.retention.interval.total_seconds()
            self._schedule.every(
                "retention", min(interval / 10, _DUE_SECONDS), self._retaining.if_due, at_once=False
            )
        if self._config.gc.enabled:
            interval = self._config.gc.interval.total_seconds()
            self._schedule.every(
                "gc", min(interval / 10, _DUE_SECONDS), self._collecting.if_due, at_once=False
            )
        if self._mirrors is not None:
            from registry.app.mirroring import schedule_mirrors

            in_use = self._retaining.in_use
            schedule_mirrors(self._schedule, self._mirrors, self._registry, in_use, process())
        self._schedule.every("bundles.finish", FINISH_SECONDS, self._bundles.finish_all)
        if imports(self._config.bundles).dir is not None:
            inbox = Inbox(self._bundles, who=process())
            self._schedule.every("bundles.inbox", LOOK_SECONDS, inbox.if_due)
        for stream in self._config.bundles.export.streams:
            if stream.interval and self._config.bundles.export.dir is not None:
                outbox = Outbox(self._bundles, stream, who=process())
                self._schedule.every(f"bundles.outbox.{stream.name}", LOOK_SECONDS, outbox.if_due)
        if self._scrubbing.scheduled:
            self._schedule.every("scrub", _DUE_SECONDS, self._scrubbing.if_due, at_once=False)
        # Whoever counted: another server, or a command.
        self._schedule.every("usage.tell", _TELL_USAGE_SECONDS, self._tell_usage)
        if self._config.usage.enabled:
            interval = self._config.usage.interval.total_seconds()
            self._schedule.every("usage", min(interval / 10, _DUE_SECONDS), self._count, at_once=False)

    def asgi(self, listener: str) -> ASGIApp:
        """The application of the listener `registry` or `ops`, or of one that is bound to a namespace."""
        if listener == OPS:
            inner: ASGIApp = self._ops()
        elif listener == REGISTRY:
            api = OperationsAPI(self._services, Operations(self._table()))
            inner = RegistryListener(
                self._v2,
                Guarded(api, self._guard, self._audit, API_HEADERS),
                lambda: self._auth,
                Health(self._readiness, None),
            )
        else:
            own = f"the registry's own listener (registry.listen: {self._config.registry.listen})"
            inner = BoundListener(
                listener.removeprefix(BOUND),
                self._config.url or own,
                self._v2,
                lambda: self._auth,
                Health(self._readiness, None),
            )
        return Observed(
            inner,
            listener=listener,
            metrics=self._metrics,
            trusted_proxies=self._config.trusted_proxies,
        )

    def _ops(self) -> ASGIApp:
        # Open to the network, it is asked under names that we do not know.
        is_loopback = Address.parse(self._config.ops.listen).loopback
        return Guarded(
            Health(self._readiness, self._metrics), self._guard if is_loopback else None, self._audit
        )

    @cached_property
    def _v2(self) -> ASGIApp:
        return Guarded(V2(self._services), self._guard, self._audit, V2_HEADERS)

    @cached_property
    def _services(self) -> Services:
        """What all listeners share, its bounds too."""
        return Services(
            self._registry,
            self._gate,
            Limits(
                self._config.manifests.max_size,
                self._config.manifests.max_tags_per_push,
                self._config.catalog.max_entries,
            ),
            ManifestMemory(self._config.manifests.max_in_flight),
            AnswerMemory(self._config.manifests.max_in_flight),
            self._audit,
            urlsplit(self._config.url or "").path.rstrip("/"),
            self._config.url,
            redirects_of(self._config, self._driver),
            self._mirrors,
        )

    def _table(self) -> Iterable[Operation[Any]]:
        return offered(
            Means(
                registry=lambda: self._registry,
                office=self._office,
                audit=lambda: self._audit,
                storage=lambda: self._driver,
                collecting=lambda: self._collecting,
                scrubbing=lambda: self._scrubbing,
                retaining=lambda: self._retaining,
                counting=lambda: self._counting,
                mirrors=self._mirrors_open,
                bundles=lambda: self._bundles,
                reached=lambda: reached_by_clients(self._config),
                place=lambda: None,
                keep_for=self._config.trash.keep_for,
                bundles_settings=self._config.bundles,
                deletes=self._config.delete.enabled,
            )
        )

    async def drain(self) -> None:
        """Readiness fails from now on."""
        self._readiness.draining = True

    async def stop(self) -> None:
        """End background work and close the storage."""
        await self._closing.aclose()

    async def _prepare(self) -> None:
        """Mark a new store as ours; what grows in it from here on is listed as it comes."""
        store = self._registry.store
        await store.marks.put_format()
        if await store.catalog.is_complete():
            return
        if not await store.driver.children(layout.REPOSITORIES, limit=1):
            await store.catalog.set_complete()

    def _office(self) -> Authority:
        """Accounts and keys, made when they are first needed. Raises Unfit."""
        # Here, since it takes cryptography, which those do not need who know nobody.
        from registry.app.authority import Authority

        if self._authority is None:
            self._authority = Authority(
                self._config,
                self._registry,
                self._policy,
                lambda: self._driver.place(layout.SECRET),
                self._audit.note,
            )
            self._closing.push_async_callback(self._authority.aclose)
        return self._authority

    async def _open_mirrors(self) -> None:
        """Begin to answer with what other registries have. Raises StartFailed."""
        # Here, since it takes a client, which those do not need who ask nobody.
        from registry.app.mirroring import open_mirrors

        self._mirrors = await self._closing.enter_async_context(
            open_mirrors(self._config, self._registry, self._metrics, who=process())
        )

    @asynccontextmanager
    async def _mirrors_open(self) -> AsyncIterator[Mirrors]:
        if self._mirrors is None:
            from registry.mirror.mirrors import Mirrors

            yield Mirrors(self._registry, [])
        else:
            yield self._mirrors

    async def _know_people(self) -> None:
        """From now on it matters who somebody is. Raises Unfit, storage errors."""
        from registry.api.tokens import TokenEndpoint

        authority = self._office()
        await authority.begin()
        self._gate.inner = authority.gate
        if self._config.access.token_server is None:
            tokens = TokenEndpoint(authority.issuing, self._audit, self._mirrors)
            self._auth = Guarded(tokens, self._guard, self._audit)
        self._knows_people = True

    def _policy(self) -> Policy:
        return self._without_rules if self._rules is None else self._rules.value

    async def _look_at_access(self) -> None:
        """Take up what has changed in the files of access, and what other processes have changed."""
        if self._rules is not None:
            await asyncio.to_thread(self._rules.look)
        if self._authority is not None and self._knows_people:
            await self._authority.look()
        elif self._policy().knows_people:
            await self._know_people()

    def _observed(self, driver: Storage) -> Driver:
        self._driver = driver
        return self._cache.before(TimedDriver(driver, self._metrics.storage))

    async def _look(self) -> None:
        """See whether an operator has switched writing off or on, or a newer program has forbidden it.

        And what was purged, which nobody gets from here any more. Whenever writing begins, what reading alone
        left undone is done. It fails when the storage does.
        """
        slow_reads = self._driver.slow_reads
        self._metrics.slow_reads(slow_reads - self._slow_reads)
        self._slow_reads = slow_reads
        blocked = self._registry.store.blocked
        await blocked.look()
        await self._cache.forget(blocked.digests)
        may_write = self._writable and await self._may_write()
        begins = may_write and not self._prepared
        if begins:
            await self._prepare()
        self._registry.read_only = not may_write
        self._prepared = may_write
        if begins:
            await self._recording.begin()
            self._schedule.once("catalog.complete", self._complete_catalog)

    async def _may_write(self) -> bool:
        was = self._registry.outdated
        try:
            await check_format(self._registry)
        except FormatTooNew as error:
            if error.reason != was:
                event(_LOG, logging.ERROR, "format.outdated", reason=str(error))
            return False
        return not await self._registry.store.marks.is_read_only()

    async def _expire(self) -> None:
        await self._cache.sweep()
        if self._registry.may_write():
            await self._driver.sweep()
            await expire(self._registry, after=self._config.uploads.expire_after)
            if self._mirrors is not None:
                await self._mirrors.sweep(await stamped_now(self._registry.store))
            if self._authority is not None:
                await self._authority.sweep(await stamped_now(self._registry.store))

    async def _count(self) -> None:
        """Count what is held if that is due."""
        await self._counting.if_due()
        await self._tell_usage()

    async def _tell_usage(self) -> None:
        """Have the metrics say what the last count has found."""
        newest = await self._counting.reports().newest()
        if newest is not None:
            _, found = newest
            self._metrics.usage(found.size_bytes, found.blobs, found.repositories)
            limits = {str(name): limit for name, limit in self._registry.quotas.limits.items()}
            for one in found.quotas:
                if one.prefix in limits:
                    self._metrics.quota(one.prefix, one.used_bytes, limits[one.prefix])

    async def _expire_audit(self) -> None:
        await expire_audit(self._registry, self._audit.kept, keep_for=self._config.audit.keep_for)

    async def _complete_catalog(self) -> None:
        await complete_catalog(self._registry)


def build(config: Config) -> RegistryApplication:
    """The application of one serving process. Raises StartFailed for a rules file gone bad."""
    try:
        return RegistryApplication(config)
    except ConfigError as error:
        raise StartFailed("; ".join(str(problem) for problem in error.problems)) from error
