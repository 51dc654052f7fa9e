"""The composition root: the only module that constructs things."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

from registry import __version__
from registry.api.application import Guard, Guarded, RegistryListener
from registry.api.calls import Limits, Services
from registry.api.health import Health, Readiness
from registry.api.memory import ManifestMemory
from registry.api.observed import Observed
from registry.api.v2 import V2
from registry.config import Config, ConfigError, host_guard, load_policy
from registry.core.operations import operations as core_operations
from registry.core.registry import Registry
from registry.core.uploads import UploadLimits
from registry.metrics import Metrics
from registry.server import Address, ASGIApp, StartFailed
from registry.store import layout
from registry.store.marks import FormatTooNew
from registry.store.store import Store
from registry.upkeep.crash.report import Place
from registry.upkeep.expiry import expire
from registry.upkeep.operations import operations as upkeep_operations
from registry.upkeep.reindex import complete_catalog
from registry.work.effects import serving_effects
from registry.work.operations import Operations
from registry.work.schedule import Schedule
from storage.contract import Driver
from storage.errors import StorageError
from storage.files import Files
from storage.local import LocalDriver
from storage.timed import TimedDriver

_SLOW_THREADS = 4  # for hashing and parsing large things
_LOOK_SECONDS = 5.0  # between two looks at the storage: the read-only mark, and whether it answers


@asynccontextmanager
async def open_registry(
    config: Config,
    observe: Callable[[LocalDriver], Driver] = lambda driver: driver,
    files: Files | None = None,
) -> AsyncIterator[Registry]:
    """The registry on the storage that the configuration names, seen through what `observe` puts around it.

    Raises StorageError when the storage cannot be used, FormatTooNew when it may not be written.
    """
    driver = LocalDriver(
        config.storage.root, files=files, allow_case_folding=config.storage.allow_case_folding
    )
    executor = ThreadPoolExecutor(_SLOW_THREADS, thread_name_prefix="aside")
    try:
        await driver.start()
        store = Store(observe(driver), serving_effects(executor), manifest_cache_bytes=config.cache.manifests)
        read_only = config.read_only or driver.read_only
        if not read_only:
            await store.marks.check_format()
        yield Registry(
            store,
            uploads=UploadLimits(
                config.uploads.max_open, config.uploads.max_chunks, config.uploads.max_in_flight
            ),
            max_references=config.manifests.max_references,
            allow_missing_layers=config.manifests.allow_missing_layers,
            deletes=config.delete.enabled,
            read_only=read_only,
        )
    finally:
        await driver.aclose()
        executor.shutdown()


@asynccontextmanager
async def open_scratch(root: str, files: Files) -> AsyncIterator[Registry]:
    """The registry of a crash test, on a directory of its own, its file calls made through `files`."""
    settings = {"storage": {"root": root, "allow_case_folding": True}, "delete": {"enabled": True}}
    async with open_registry(Config.model_validate(settings), files=files) as registry:
        yield registry


class RegistryApplication:
    """One serving process's registry: storage, rules, background work and both listeners' applications."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._policy = load_policy(config)
        self._guard: Guard | None = host_guard(config)
        self._metrics = Metrics(__version__)
        self._slow_reads = 0
        self._prepared = False
        self._schedule = Schedule()
        self._closing = AsyncExitStack()

    async def start(self) -> None:
        """Open the storage and begin background work. Raises StartFailed."""
        try:
            self._registry = await self._closing.enter_async_context(
                open_registry(self._config, self._observed)
            )
            self._writable = self._registry.may_write()
            self._readiness = Readiness(self._look)
            await self._look()
        except (StorageError, FormatTooNew) as error:
            await self._closing.aclose()
            raise StartFailed(str(error)) from error
        self._closing.push_async_callback(self._schedule.stop)
        interval = self._config.uploads.expire_interval.total_seconds()
        self._schedule.every("storage.look", _LOOK_SECONDS, self._readiness.watch)
        self._schedule.every("uploads.expire", interval, self._expire)

    def asgi(self, listener: str) -> ASGIApp:
        """The application of the listener `registry` or `ops`."""
        if listener == "ops":
            # Open to the network, it is asked under names that we do not know.
            is_loopback = Address.parse(self._config.ops.listen).loopback
            inner: ASGIApp = Guarded(
                Health(self._readiness, self._metrics), self._guard if is_loopback else None
            )
        else:
            services = Services(
                self._registry,
                self._policy,
                Limits(
                    self._config.manifests.max_size,
                    self._config.manifests.max_tags_per_push,
                    self._config.catalog.max_entries,
                ),
                ManifestMemory(self._config.manifests.max_in_flight),
                urlsplit(self._config.url or "").path.rstrip("/"),
            )
            inner = RegistryListener(Guarded(V2(services), self._guard), Health(self._readiness, None))
        return Observed(
            inner,
            listener=listener,
            metrics=self._metrics,
            trusted_proxies=self._config.trusted_proxies,
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

    def _observed(self, driver: LocalDriver) -> Driver:
        self._driver = driver
        return TimedDriver(driver, self._metrics.storage)

    async def _look(self) -> None:
        """See whether an operator has switched writing off or on; it fails when the storage does.

        Whenever writing begins, what reading alone left undone is done.
        """
        slow_reads = self._driver.slow_reads
        self._metrics.slow_reads(slow_reads - self._slow_reads)
        self._slow_reads = slow_reads
        may_write = self._writable and not await self._registry.store.marks.is_read_only()
        begins = may_write and not self._prepared
        if begins:
            await self._prepare()
        self._registry.read_only = not may_write
        self._prepared = may_write
        if begins:
            self._schedule.once("catalog.complete", self._complete_catalog)

    async def _expire(self) -> None:
        if self._registry.may_write():
            await self._driver.sweep()
            await expire(self._registry, after=self._config.uploads.expire_after)

    async def _complete_catalog(self) -> None:
        await complete_catalog(self._registry)


def build(config: Config) -> RegistryApplication:
    """The application of one serving process. Raises StartFailed for a rules file gone bad."""
    try:
        return RegistryApplication(config)
    except ConfigError as error:
        raise StartFailed("; ".join(str(problem) for problem in error.problems)) from error


def operations(config: Config) -> Operations:
    """The table of all operations; entered, they work on the storage that the configuration names."""
    opened: list[Registry] = []

    @asynccontextmanager
    async def opening() -> AsyncIterator[None]:
        async with open_registry(config) as registry:
            registry.read_only = registry.read_only or await registry.store.marks.is_read_only()
            opened.append(registry)
            yield

    def registry() -> Registry:
        return opened[-1]

    place = Place(str(config.storage.root), open_scratch)
    return Operations([*core_operations(registry), *upkeep_operations(registry, place)], opening)
