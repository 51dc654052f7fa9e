"""Bundles, put together by what is configured."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import urlsplit

from registry.bundles.bundles import Bundles
from registry.bundles.sources import Source
from registry.config import Config
from registry.core.registry import Registry
from registry.errors import RequestInvalid
from registry.upkeep.expiry import stamped_now


def make_bundles(config: Config, registry: Callable[[], Registry], *, who: str) -> Bundles:
    """The bundles of the registry that is open when they are worked on."""

    async def now() -> float:
        return await stamped_now(registry().store)

    return Bundles(registry, config.bundles, now, _opener(config), who=who)


def _opener(config: Config) -> Callable[[str], AbstractAsyncContextManager[Source]]:
    """Opens another registry, as whoever `upstreams` of namespaces say that we are there."""

    @asynccontextmanager
    async def opened(url: str) -> AsyncIterator[Source]:
        # Here, since it takes a client, which those do not need who ask nobody.
        from registry.app.mirroring import password_of
        from registry.bundles.remote_source import RemoteSource
        from registry.remote.egress import Egress
        from registry.remote.endpoint import Endpoint
        from registry.remote.upstream import Upstream

        base = url if "://" in url else f"https://{url}"
        if urlsplit(base).scheme not in ("https", "http") or not urlsplit(base).hostname:
            raise RequestInvalid(f"{url} is no registry: write it like registry.example or http://host:5000")
        known = [one for mirror in config.mirrors for one in mirror.upstreams if _same(one.url, base)]
        settings = known[0] if known else None
        endpoint = (
            Endpoint(base)
            if settings is None
            else Endpoint(base, settings.username, password_of(settings), settings.realms)
        )
        egress = Egress.of(config.egress, os.environ)
        async with egress.client(None if settings is None else settings.ca_file) as client:
            yield RemoteSource(
                Upstream(client, endpoint, clock=time.monotonic, manifest_bytes=config.manifests.max_size)
            )

    return opened


def _same(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")
