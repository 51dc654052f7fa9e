"""All namespaces whose content comes from elsewhere, and which of them a request is about."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from registry.core.registry import Registry, Repository
from registry.mirror.fetching import TRANSFER
from registry.mirror.mirror import Mirror, Warn
from registry.mirror.repository import MirroredRepository, NamespaceRepository
from registry.model.names import RepositoryName
from registry.model.tag_rights import TagRights
from registry.store import layout
from registry.work.leases import forget_lease

_FORGOTTEN_SECONDS = 86400.0


class Mirrors:
    """The namespaces of one process."""

    def __init__(self, registry: Registry, mirrors: Sequence[Mirror]) -> None:
        self._registry = registry
        self.each = tuple(mirrors)
        self._by_name = {mirror.name: mirror for mirror in mirrors}
        self._by_host = {host: mirror for mirror in mirrors for host in mirror.settings.answers_for}

    def named(self, name: str) -> Mirror:
        """The namespace of that name."""
        return self._by_name[RepositoryName(name)]

    def answering(self, host: str) -> Mirror | None:
        """The namespace that answers for a host (dist-spec: Registry Proxying)."""
        return self._by_host.get(host)

    def repository(self, name: RepositoryName, by: str, rights: TagRights, warn: Warn) -> Repository:
        """The repository of that name, in a namespace or not; see `Registry.repository`."""
        if not any(one.has(name) for one in self.each):
            return self._registry.repository(name, by, rights)
        mirror = self.of(name)
        if mirror is None:
            return NamespaceRepository(self._registry, name, by, rights)
        return MirroredRepository(self._registry, name, by, rights, mirror, warn)

    def of(self, name: RepositoryName) -> Mirror | None:
        """The namespace whose upstreams may be asked for a repository."""
        return next((one for one in self.each if one.has(name) and one.is_mirrored(name)), None)

    async def sweep(self, now: float) -> int:
        """Remove what nobody has gone on with for a day, `now` being the store's time; how much it was."""
        store = self._registry.store
        before = now - _FORGOTTEN_SECONDS
        swept = 0
        for mirror in self.each:
            swept += await store.transfers.drop_before(mirror.name, before)
        for name in await store.driver.children(layout.LEASES):
            if name.startswith(TRANSFER):
                swept += await forget_lease(store.driver, name, before)
        return swept

    async def aclose(self) -> None:
        """End what is under way."""
        await asyncio.gather(*(mirror.aclose() for mirror in self.each))
