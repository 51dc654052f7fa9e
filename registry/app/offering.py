"""The table of operations for a process that does not serve: opened when it is entered, on any storage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext, suppress
from functools import cache
from typing import TYPE_CHECKING

from registry.access.audit import Audit
from registry.app.audit import open_audit, tell_person
from registry.app.opening import check_format, open_registry, open_scratch
from registry.app.places import seal_of, settings_of
from registry.app.process import process
from registry.app.rooms import NOUNS, Means, offered
from registry.app.storage import Storage
from registry.config import Config, load_policy
from registry.core.registry import Registry
from registry.store.marks import FormatTooNew
from registry.work.operations import Operations
from storage.contract import Driver
from storage.errors import StorageError
from storage.named import NamedDriver, naming

if TYPE_CHECKING:
    from registry.access.administration import Administration
    from registry.app.authority import Authority
    from registry.bundles.bundles import Bundles
    from registry.mirror.client_operations import Reached
    from registry.mirror.mirrors import Mirrors
    from registry.upkeep.collecting import Collecting
    from registry.upkeep.copy_operations import Opened
    from registry.upkeep.counting import Counting
    from registry.upkeep.crash.report import Place
    from registry.upkeep.retention.retaining import Retaining
    from registry.upkeep.scrubbing import Scrubbing

LOOK_SECONDS = 5.0  # between two looks at the marks of the store


def operations(config: Config, noun: str | None = None) -> Operations:
    """The table of all operations, or of one noun's; entered, they work on the storage that is configured."""
    noun = noun if noun in NOUNS else None
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
        from registry.upkeep.copy_operations import Opened

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

    @cache
    def collecting() -> Collecting:
        from registry.upkeep.collecting import Collecting

        return Collecting(registry, config, who=process())

    @cache
    def counting() -> Counting:
        from registry.upkeep.counting import Counting

        return Counting(registry, config.usage, who=process())

    @cache
    def bundles() -> Bundles:
        from registry.app.bundling import make_bundles

        return make_bundles(config, registry, who=process())

    @cache
    def retaining() -> Retaining:
        from registry.upkeep.retention.retaining import Retaining

        return Retaining(registry, config, who=process(), held=lambda: bundles().holds.held())

    def place() -> Place | None:
        from registry.upkeep.crash.report import Place

        return None if config.storage.driver != "local" else Place(str(config.storage.root), open_scratch)

    table = offered(
        Means(
            registry=registry,
            office=office,
            audit=audit,
            storage=lambda: storages[-1],
            collecting=collecting,
            scrubbing=cache(lambda: scrubbing_of(registry, config, mirrors)),
            retaining=retaining,
            counting=counting,
            mirrors=mirrors,
            bundles=bundles,
            reached=lambda: reached_by_clients(config),
            place=place,
            keep_for=config.trash.keep_for,
            bundles_settings=config.bundles,
        ),
        noun,
    )
    if noun in (None, "storage"):
        from registry.upkeep.copy_operations import operations as copy_operations

        table += copy_operations(store_at)
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


def reached_by_clients(config: Config) -> Reached:
    """Where clients reach the registry."""
    from registry.mirror.client_operations import Reached

    listener = config.registry
    return Reached(config.url, listener.listen, listener.tls is not None, config.mirrors)


def scrubbing_of(
    registry: Callable[[], Registry],
    config: Config,
    mirrors: Callable[[], AbstractAsyncContextManager[Mirrors]],
) -> Scrubbing:
    """Who scrubs in this process, and has what came from elsewhere again from there."""
    from registry.upkeep.scrubbing import Scrubbing

    return Scrubbing(
        registry,
        config.scrub,
        who=process(),
        scheduled=config.scrubs,
        sources=mirrors if config.mirrors else nullcontext,
    )
