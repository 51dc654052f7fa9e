"""Marks on the store as a whole: the format level, and whether writing is switched off."""

from __future__ import annotations

import json
from datetime import datetime

from registry.store import layout
from storage.contract import Driver, exists
from storage.errors import NotFound, TooLarge

# What this program writes; it refuses to write to a store that asks for more.
WRITER_LEVEL = 1
_LIMIT = 4096  # bytes of a mark


class FormatTooNew(Exception):
    """This program may not write to the store, or cannot tell whether it may; `reason` says why."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"{reason}: {advice}")
        self.reason = reason


def _too_new(level: int) -> FormatTooNew:
    return FormatTooNew(
        f"the store allows writers from level {level} on and this program writes level {WRITER_LEVEL}",
        "run the newer moorage, or serve it read-only with `read_only: true`",
    )


def _unreadable() -> FormatTooNew:
    mark = json.dumps({"oldest_writer": WRITER_LEVEL})
    return FormatTooNew(
        f"the mark that says who may write to the store, {layout.FORMAT}, cannot be read",
        f"bring it back from a backup, or write {mark} there if no newer moorage ever ran here; until then"
        " serve it read-only with `read_only: true`",
    )


class Marks:
    """The marks of one store."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def check_format(self) -> None:
        """Whether this program may write here. Raises FormatTooNew."""
        level = await self.level()
        if level is not None and level > WRITER_LEVEL:
            raise _too_new(level)

    async def level(self) -> int | None:
        """The oldest writer level allowed here; None where no mark says so. Raises FormatTooNew."""
        try:
            return int(json.loads(await self._driver.get(layout.FORMAT, limit=_LIMIT))["oldest_writer"])
        except NotFound:
            return None
        except (ValueError, KeyError, TypeError, RecursionError, TooLarge):
            # Whatever wrote this is not a program that this one knows.
            raise _unreadable() from None

    async def put_format(self) -> None:
        """Write the format mark where there is none."""
        if not await exists(self._driver, layout.FORMAT):
            await self.raise_format(WRITER_LEVEL)

    async def raise_format(self, level: int) -> None:
        """Allow no writers below `level` from now on; those that are at work stop within ten seconds."""
        await self._driver.put(layout.FORMAT, json.dumps({"oldest_writer": level}).encode())

    async def is_read_only(self) -> bool:
        """Whether an operator has switched writing off for every process."""
        return await self.read_only_since() is not None

    async def read_only_since(self) -> datetime | None:
        """When an operator has switched writing off, by the store's own clock; None while it is on."""
        try:
            return (await self._driver.stat(layout.READ_ONLY)).modified_at
        except NotFound:
            return None

    async def set_read_only(self, *, on: bool) -> None:
        """Switch writing off or on for every process; each sees it within seconds."""
        if on:
            await self._driver.put(layout.READ_ONLY, b"")
        else:
            await self._driver.delete([layout.READ_ONLY])
