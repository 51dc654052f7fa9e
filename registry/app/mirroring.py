"""The namespaces whose content comes from elsewhere, put together where any are configured."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from registry.config import Config
from registry.core.registry import Registry
from registry.logs import event
from registry.metrics import Metrics
from registry.mirror.evicting import Evicting
from registry.mirror.fetching import transfer_memory
from registry.mirror.mirror import Mirror
from registry.mirror.mirrors import Mirrors
from registry.mirror.settings import MirrorSettings, UpstreamSettings
from registry.mirror.syncing import Syncing
from registry.mirror.upstreams import Upstreams
from registry.remote.egress import CertificatesUnusable, Egress
from registry.remote.endpoint import Endpoint
from registry.remote.errors import UpstreamError
from registry.remote.headers import RateLimit
from registry.remote.upstream import Upstream
from registry.server.application import StartFailed
from registry.upkeep.retention.in_use import InUse
from registry.work.schedule import Schedule

if TYPE_CHECKING:
    from registry.remote.client import Client

_LOOK_SECONDS = 600.0  # at most, between two looks whether anything is due
_LOG = logging.getLogger(__name__)


@asynccontextmanager
async def open_mirrors(
    config: Config, registry: Registry, metrics: Metrics | None, *, who: str
) -> AsyncIterator[Mirrors]:
    """The namespaces; the metrics, if any, have how their upstreams answer. Raises StartFailed."""
    egress = Egress.of(config.egress, os.environ)
    async with AsyncExitStack() as opened:
        # One for all that believe the same authorities, since those take long to read.
        clients: dict[Path | None, Client] = {}

        async def client(ca_file: Path | None) -> Client:
            if ca_file not in clients:
                try:
                    clients[ca_file] = await opened.enter_async_context(egress.client(ca_file))
                except CertificatesUnusable as error:
                    raise StartFailed(f"mirrors: {error}") from error
            return clients[ca_file]

        async def upstream(namespace: str, settings: UpstreamSettings, seconds: float) -> Upstream:
            endpoint = Endpoint(settings.url, settings.username, password_of(settings), settings.realms)

            def told(limit: RateLimit) -> None:
                if metrics is not None:
                    metrics.upstream_remaining(namespace, endpoint.host, limit.remaining)

            return Upstream(
                await client(settings.ca_file),
                endpoint,
                told=told,
                clock=time.monotonic,
                head_seconds=seconds,
                stall_seconds=seconds,
                manifest_bytes=config.manifests.max_size,
            )

        async def mirror(settings: MirrorSettings) -> Mirror:
            def tell(upstream: str, error: UpstreamError) -> None:
                if metrics is not None:
                    metrics.upstream_failed(upstream, error.cause)
                if error.cause != "absent":
                    event(
                        _LOG,
                        logging.WARNING,
                        "upstream.failed",
                        namespace=settings.name,
                        upstream=upstream,
                        cause=error.cause,
                        reason=error.reason if error.host == upstream else str(error),
                    )

            seconds = settings.give_up_after.total_seconds()
            upstreams = Upstreams(
                [await upstream(settings.name, one, seconds) for one in settings.upstreams],
                clock=time.monotonic,
                tell=tell,
                rest_seconds=settings.rest_for.total_seconds(),
            )

            def given(kind: str, is_held: bool) -> None:
                if metrics is not None:
                    metrics.mirror_given(settings.name, kind, is_held=is_held)

            def came(size_bytes: int) -> None:
                if metrics is not None:
                    metrics.mirror_fetched(settings.name, size_bytes)

            return Mirror(
                settings,
                registry,
                upstreams,
                who=who,
                clock=time.monotonic,
                memory=memory,
                given=given,
                came=came,
            )

        memory = transfer_memory()
        mirrors = Mirrors(registry, [await mirror(one) for one in config.mirrors])
        opened.push_async_callback(mirrors.aclose)
        yield mirrors


def schedule_mirrors(
    schedule: Schedule,
    mirrors: Mirrors,
    registry: Registry,
    in_use: Callable[[], Awaitable[InUse]],
    who: str,
) -> None:
    """Have it looked at now and then what is to be mirrored, or evicted; what is `in_use` stays."""

    for mirror in mirrors.each:
        settings = mirror.settings
        if settings.sync:
            syncing = Syncing(registry, mirror, who=who)
            schedule.every(f"mirror.{mirror.name}", syncing.look_seconds, syncing.if_due, at_once=False)
        if settings.max_size is not None:
            evicting = Evicting(registry, settings, who=who, in_use=in_use)
            seconds = min(settings.evict_interval.total_seconds() / 10, _LOOK_SECONDS)
            schedule.every(f"evict.{mirror.name}", seconds, evicting.if_due, at_once=False)


def password_of(settings: UpstreamSettings) -> str | None:
    """The password of who asks an upstream. Raises StartFailed."""
    if settings.password_file is None:
        return None
    try:
        return settings.password_file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StartFailed(
            f"mirrors: the password in {settings.password_file} cannot be read: {error}"
        ) from error
