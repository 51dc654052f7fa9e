"""What can be asked of a registry: the operations of all rooms, in one table."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from registry.access.administration import Administration
from registry.access.apikey_operations import operations as apikey_operations
from registry.access.audit import Audit, audited
from registry.access.operations import operations as audit_operations
from registry.access.rule_operations import operations as rule_operations
from registry.access.user_operations import operations as user_operations
from registry.app.audit import open_audit, tell_person
from registry.app.bundling import make_bundles
from registry.app.opening import check_format, open_registry, open_scratch
from registry.app.places import seal_of, settings_of
from registry.app.storage import Storage
from registry.bundles.bundles import Bundles
from registry.bundles.decision_operations import operations as bundle_decision_operations
from registry.bundles.export_operations import operations as bundle_export_operations
from registry.bundles.import_operations import operations as bundle_import_operations
from registry.bundles.key_operations import operations as bundle_key_operations
from registry.bundles.kit_operations import operations as bundle_kit_operations
from registry.bundles.list_operations import operations as bundle_list_operations
from registry.bundles.settings import BundlesSettings
from registry.bundles.telling_operations import operations as bundle_telling_operations
from registry.bundles.verify_operations import operations as bundle_verify_operations
from registry.config import Config, load_policy
from registry.core.operations import operations as core_operations
from registry.core.pull_operations import operations as pull_operations
from registry.core.registry import Registry
from registry.core.tag_operations import operations as tag_operations
from registry.core.trash_operations import operations as trash_operations
from registry.mirror.client_operations import Reached
from registry.mirror.client_operations import operations as client_operations
from registry.mirror.eviction_operations import operations as eviction_operations
from registry.mirror.operations import operations as mirror_operations
from registry.store.marks import FormatTooNew
from registry.upkeep.adopt_operations import operations as adopt_operations
from registry.upkeep.collecting import Collecting
from registry.upkeep.copy_operations import Opened
from registry.upkeep.copy_operations import operations as copy_operations
from registry.upkeep.counting import Counting
from registry.upkeep.crash.report import Place
from registry.upkeep.gc_operations import operations as gc_operations
from registry.upkeep.operations import operations as upkeep_operations
from registry.upkeep.purge_operations import operations as purge_operations
from registry.upkeep.retention.operations import operations as retention_operations
from registry.upkeep.retention.retaining import Retaining
from registry.upkeep.scrub_operations import operations as scrub_operations
from registry.upkeep.scrubbing import Scrubbing
from registry.upkeep.usage_operations import operations as usage_operations
from registry.work.operations import Operation, Operations
from storage.contract import Driver
from storage.errors import StorageError
from storage.named import NamedDriver, naming

if TYPE_CHECKING:
    from registry.app.authority import Authority
    from registry.mirror.mirrors import Mirrors


LOOK_SECONDS = 5.0  # between two looks at the marks of the store


def operations(config: Config) -> Operations:
    """The table of all operations; entered, they work on the storage that the configuration names."""
    opened: list[tuple[Registry, Audit]] = []
    storages: list[Storage] = []
    offices: list[Authority] = []
    refused: list[StorageError] = []

    def observed(storage: Storage) -> Driver:
        storages.append(storage)
        return storage

    @asynccontextmanager
    async def opening() -> AsyncIterator[None]:
        # Each manifest is read once or twice: kept as for those who pull, it would only take memory.
        cache = config.cache.model_copy(update={"manifests": 0})
        async with open_registry(config.model_copy(update={"cache": cache}), observed) as registry:
            watching = None
            try:
                await registry.store.blocked.look()
                if registry.may_write():
                    await _look(registry)
                    watching = asyncio.create_task(_watch(registry))
            except StorageError as error:
                # What never asks for the registry goes on: to find out why it cannot be used, for instance.
                refused.append(error)
            with open_audit(config, registry, tell_person, at_once=False) as audit:
                opened.append((registry, audit))
                try:
                    yield
                finally:
                    if watching is not None:
                        watching.cancel()
                    while offices:
                        await offices.pop().aclose()

    def registry() -> Registry:
        if refused:
            raise refused[-1]
        return opened[-1][0]

    def audit() -> Audit:
        registry()
        return opened[-1][1]

    def office() -> Administration:
        from registry.app.authority import Authority

        if not offices:
            policy = load_policy(config)
            offices.append(Authority(config, registry(), lambda: policy, lambda: None, audit().note))
        return offices[-1]

    @asynccontextmanager
    async def store_at(where: str | None, who: str, *, new: bool = False) -> AsyncIterator[Opened]:
        settings = config if where is None else settings_of(where, new=new)
        name = f"{who}, {settings.storage.text}"
        async with AsyncExitStack() as stack:
            with naming(name):
                opening = open_registry(settings, lambda storage: NamedDriver(storage, name))
                there = await stack.enter_async_context(opening)
            yield Opened(there.store, settings.storage.text, seal_of(settings))

    @asynccontextmanager
    async def mirrors() -> AsyncIterator[Mirrors]:
        # Here, since it takes a client, which those do not need who ask nobody.
        from registry.app.mirroring import open_mirrors

        async with open_mirrors(config, registry(), None, who=process()) as opened_there:
            yield opened_there

    collecting = Collecting(registry, config, who=process())
    scrubbing = scrubbing_of(registry, config, mirrors)
    counting = Counting(registry, config.usage, who=process())
    bundles = make_bundles(config, registry, who=process())
    retaining = Retaining(registry, config, who=process(), held=lambda: bundles.holds.held())
    place = None if config.storage.driver != "local" else Place(str(config.storage.root), open_scratch)
    table = (
        *offered(
            registry,
            office,
            audit,
            lambda: storages[-1],
            lambda: collecting,
            lambda: scrubbing,
            lambda: retaining,
            lambda: counting,
            config.trash.keep_for,
            reached_by_clients(config),
            mirrors,
            lambda: bundles,
            config.bundles,
            place=place,
        ),
        *copy_operations(store_at),
    )
    return Operations(table, opening)


async def _look(registry: Registry) -> None:
    """See whether writing is switched off, or a newer program has forbidden it."""
    # What only reads may go on.
    with suppress(FormatTooNew):
        await check_format(registry)
    registry.read_only = await registry.store.marks.is_read_only()


async def _watch(registry: Registry) -> None:
    """Go on looking, as servers do: whoever switches writing off relies on it that all have noticed soon."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        with suppress(StorageError):
            await _look(registry)


def offered(
    registry: Callable[[], Registry],
    office: Callable[[], Administration],
    audit: Callable[[], Audit],
    storage: Callable[[], Storage],
    collecting: Callable[[], Collecting],
    scrubbing: Callable[[], Scrubbing],
    retaining: Callable[[], Retaining],
    counting: Callable[[], Counting],
    keep_for: timedelta,
    reached: Reached,
    mirrors: Callable[[], AbstractAsyncContextManager[Mirrors]],
    bundles: Callable[[], Bundles],
    bundles_settings: BundlesSettings,
    *,
    deletes: bool = True,
    place: Place | None = None,
) -> Iterable[Operation[Any]]:
    """What every room offers; what changes anything is written down."""
    rooms = (
        *core_operations(registry, deletes=deletes),
        *tag_operations(registry),
        *trash_operations(registry, keep_for),
        *pull_operations(registry),
        *upkeep_operations(registry, place, lambda: storage().try_out(), lambda: storage().leading_out()),
        *adopt_operations(registry, lambda: storage().leading_out()),
        *gc_operations(collecting),
        *scrub_operations(scrubbing),
        *retention_operations(retaining),
        *usage_operations(counting),
        *purge_operations(collecting),
        *user_operations(office),
        *apikey_operations(office),
        *rule_operations(office),
        *audit_operations(registry, audit),
        *mirror_operations(registry, reached.mirrors, mirrors, process()),
        *eviction_operations(registry, reached.mirrors, lambda: retaining().in_use(), process()),
        *client_operations(reached),
        *bundle_export_operations(bundles),
        *bundle_telling_operations(bundles),
        *bundle_import_operations(bundles),
        *bundle_decision_operations(bundles),
        *bundle_list_operations(bundles),
        *bundle_key_operations(bundles_settings),
        *bundle_verify_operations(bundles_settings),
        *bundle_kit_operations(bundles),
    )
    return [audited(operation, audit) for operation in rooms]


def reached_by_clients(config: Config) -> Reached:
    """Where clients reach the registry."""
    listener = config.registry
    return Reached(config.url, listener.listen, listener.tls is not None, config.mirrors)


def scrubbing_of(
    registry: Callable[[], Registry],
    config: Config,
    mirrors: Callable[[], AbstractAsyncContextManager[Mirrors]],
) -> Scrubbing:
    """Who scrubs in this process, and has what came from elsewhere again from there."""

    return Scrubbing(
        registry,
        config.scrub,
        who=process(),
        scheduled=config.scrubs,
        sources=mirrors if config.mirrors else nullcontext,
    )


def process() -> str:
    """How other processes know this one."""
    return f"process {os.getpid()} on {socket.gethostname()}"
