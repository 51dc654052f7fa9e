"""The registry on its storage, as every door opens it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from registry.app.storage import Storage, make_storage
from registry.config import Config
from registry.core.registry import Registry
from registry.core.uploads import UploadLimits
from registry.model.names import RepositoryName
from registry.store.blocked import Blocked
from registry.store.marks import FormatTooNew
from registry.store.store import Store
from registry.work.effects import serving_effects
from storage.contract import Driver
from storage.files import Files
from storage.withholding import WithholdingDriver

_SLOW_THREADS = 4  # for hashing and parsing large things


@asynccontextmanager
async def open_registry(
    config: Config,
    observe: Callable[[Storage], Driver] = lambda driver: driver,
    files: Files | None = None,
) -> AsyncIterator[Registry]:
    """The registry on the storage that the configuration names, seen through what `observe` puts around it.

    Raises StorageError when the storage cannot be used.
    """
    driver = make_storage(config, files)
    executor = ThreadPoolExecutor(_SLOW_THREADS, thread_name_prefix="aside")
    try:
        await driver.start()
        observed = observe(driver)
        blocked = Blocked(observed)
        store = Store(
            WithholdingDriver(observed, blocked.withholds),
            serving_effects(executor),
            manifest_cache_bytes=config.cache.manifests,
            beneath=driver,
            blocked=blocked,
        )
        yield Registry(
            store,
            uploads=UploadLimits(
                config.uploads.max_open, config.uploads.max_chunks, config.uploads.max_in_flight
            ),
            max_references=config.manifests.max_references,
            allow_missing_layers=config.manifests.allow_missing_layers,
            deletes=config.delete.enabled,
            read_only=config.read_only or driver.read_only,
            quotas={RepositoryName(one.prefix): one.limit for one in config.quotas},
        )
    finally:
        await driver.aclose()
        executor.shutdown()


async def check_format(registry: Registry) -> None:
    """See whether this program may write to the store, and have the registry know. Raises FormatTooNew."""
    try:
        await registry.store.marks.check_format()
    except FormatTooNew as error:
        registry.outdated = error.reason
        raise
    registry.outdated = None


@asynccontextmanager
async def open_scratch(
    root: str, files: Files, observe: Callable[[Storage], Driver] = lambda driver: driver
) -> AsyncIterator[Registry]:
    """The registry of a crash test, on a directory of its own, its file calls made through `files`."""
    settings = {"storage": {"root": root, "allow_case_folding": True}, "delete": {"enabled": True}}
    async with open_registry(Config.model_validate(settings), observe, files) as registry:
        yield registry
