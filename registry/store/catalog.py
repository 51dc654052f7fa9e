"""The catalog: one small object a repository in one flat prefix, so that a page costs one listing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress

from registry.errors import NameInvalid
from registry.model.names import RepositoryName
from registry.store import layout, parsing
from storage.contract import Driver, exists
from storage.errors import NotFound, TooLarge

_LIMIT = 4096  # bytes of an entry


class Catalog:
    """Which repositories there are, and for which of them the derived entries are complete."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def names(self, *, after: str = "") -> AsyncIterator[RepositoryName]:
        """The listed repositories greater than `after`, in byte order."""
        async for key in self._driver.walk(layout.CATALOG, after=layout.catalog_after(after)):
            name = parsing.catalog_name(key)
            if name is not None and name > after:
                yield name

    async def is_listed(self, name: RepositoryName) -> bool:
        """Whether the repository has an entry."""
        return await self._entry(name) is not None

    async def is_indexed(self, name: RepositoryName) -> bool:
        """Whether the referrer entries of the repository are complete."""
        entry = await self._entry(name)
        return entry is not None and entry.get("indexed") is True

    async def add(self, name: RepositoryName, *, indexed: bool) -> None:
        """List the repository; `indexed` says that its referrer entries are complete."""
        entry = json.dumps({"name": name, "indexed": indexed}).encode()
        await self._driver.put(layout.catalog_entry(name), entry)

    async def remove(self, name: RepositoryName) -> None:
        """Take the repository off the list."""
        await self._driver.delete([layout.catalog_entry(name)])

    async def is_complete(self) -> bool:
        """Whether every repository of the store is known to be listed."""
        return await exists(self._driver, layout.CATALOG_COMPLETE)

    async def set_complete(self) -> None:
        """Note that every repository of the store is listed."""
        await self._driver.put(layout.CATALOG_COMPLETE, b"")

    async def holds_content(self, name: RepositoryName) -> bool:
        """Whether the tree itself shows the repository, listed or not."""
        if await self._driver.children(layout.manifests(name), limit=1):
            return True
        return bool(await self._driver.children(layout.whole_manifests(name), limit=1))

    async def tree(self) -> AsyncIterator[RepositoryName]:
        """The repositories that the tree itself shows, listed or not; one listing a directory."""
        seen: set[RepositoryName] = set()
        for root, marker in layout.TREES:
            async for name in self._below(root, marker):
                if name not in seen:
                    seen.add(name)
                    yield name

    async def _below(self, root: str, marker: str) -> AsyncIterator[RepositoryName]:
        pending = [""]
        while pending:
            path = pending.pop()
            children = await self._driver.children(f"{root}/{path}".rstrip("/"))
            if marker in children:
                # A name that cannot be is somebody else's directory.
                with suppress(NameInvalid):
                    yield RepositoryName(path)
            below = [child for child in children if not child.startswith("_")]
            pending.extend(f"{path}/{child}".lstrip("/") for child in reversed(below))

    async def _entry(self, name: RepositoryName) -> dict[str, object] | None:
        try:
            data = await self._driver.get(layout.catalog_entry(name), limit=_LIMIT)
            entry = json.loads(data)
        except NotFound:
            return None
        except (ValueError, TooLarge):
            # A damaged entry still lists its repository; the next reindex writes it anew.
            return {}
        return entry if isinstance(entry, dict) else {}
