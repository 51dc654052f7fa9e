"""Pins: what of the content that came from elsewhere is kept, however long nobody has asked for it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout, parsing
from registry.store.effects import Effects
from storage.contract import Driver, exists
from storage.errors import NotFound, TooLarge

_LIMIT = 4096  # bytes of a pin


@dataclass(frozen=True, slots=True)
class Pin:
    """What is pinned: a manifest, what a tag names, or (None) a whole repository; by whom and when."""

    name: RepositoryName
    reference: Tag | Digest | None
    by: str = ""
    at: datetime | None = None

    def __str__(self) -> str:
        mark = "@" if isinstance(self.reference, Digest) else ":"
        return self.name if self.reference is None else f"{self.name}{mark}{self.reference}"


class Pins:
    """The pins of one store."""

    def __init__(self, driver: Driver, effects: Effects) -> None:
        self._driver = driver
        self._effects = effects

    async def put(self, name: RepositoryName, reference: Tag | Digest | None, by: str) -> None:
        """Pin something, be it there or not."""
        pin = json.dumps({"by": by, "at": self._effects.now().isoformat()}).encode()
        await self._driver.put(layout.pin(name, reference), pin)

    async def remove(self, name: RepositoryName, reference: Tag | Digest | None) -> bool:
        """Let go of a pin; whether there was one."""
        key = layout.pin(name, reference)
        was_there = await exists(self._driver, key)
        # One that a power cut brings back keeps what may go.
        await self._driver.delete([key], durable=False)
        return was_there

    async def of(self, name: RepositoryName) -> set[Tag | Digest | None]:
        """What is pinned of a repository; with None in it, all."""
        keys = [key async for key in self._driver.walk(layout.pins(name))]
        return {found[1] for found in map(parsing.pinned_of, keys) if found is not None}

    async def below(self, namespace: RepositoryName) -> AsyncIterator[Pin]:
        """All pins below a namespace."""
        async for key in self._driver.walk(layout.pinned_below(namespace)):
            if (found := parsing.pinned_of(key)) is not None:
                yield Pin(*found, *await self._said(key))

    async def _said(self, key: str) -> tuple[str, datetime | None]:
        with suppress(NotFound, TooLarge, ValueError, KeyError, TypeError):
            pin = json.loads(await self._driver.get(key, limit=_LIMIT))
            return str(pin["by"]), datetime.fromisoformat(pin["at"])
        return "", None
