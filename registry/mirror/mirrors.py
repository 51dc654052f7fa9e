"""All namespaces whose content comes from elsewhere, and which of them a request is about."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from registry.core.registry import Registry, Repository
from registry.mirror.mirror import Mirror, Warn
from registry.mirror.repository import MirroredRepository
from registry.model.names import RepositoryName
from registry.model.tag_rights import TagRights


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
        for mirror in self.each:
            if mirror.has(name) and mirror.is_mirrored(name):
                return MirroredRepository(self._registry, name, by, rights, mirror, warn)
        return self._registry.repository(name, by, rights)

    async def aclose(self) -> None:
        """End what is under way."""
        await asyncio.gather(*(mirror.aclose() for mirror in self.each))
