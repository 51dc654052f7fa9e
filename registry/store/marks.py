"""Marks on the store as a whole: the format level, and whether writing is switched off."""

from __future__ import annotations

import json

from registry.store import layout
from storage.contract import Driver
from storage.errors import NotFound

# What this program writes; it refuses to write to a store that asks for more.
WRITER_LEVEL = 1
_LIMIT = 4096  # bytes of a mark


class FormatTooNew(Exception):
    """The store was written by a newer program; `level` is the oldest writer that it allows."""

    def __init__(self, level: int) -> None:
        super().__init__(
            f"this store allows writers from level {level} on and this program writes level {WRITER_LEVEL}: "
            "run the newer moorage, or serve it read-only with `read_only: true`"
        )
        self.level = level


class Marks:
    """The marks of one store."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def check_format(self) -> None:
        """Whether this program may write here. Raises FormatTooNew."""
        try:
            level = int(json.loads(await self._driver.get(layout.FORMAT, limit=_LIMIT))["oldest_writer"])
        except NotFound:
            return
        except (ValueError, KeyError, TypeError):
            # Whatever says this is not a program that this one knows.
            raise FormatTooNew(WRITER_LEVEL + 1) from None
        if level > WRITER_LEVEL:
            raise FormatTooNew(level)

    async def put_format(self) -> None:
        """Write the format mark where there is none."""
        try:
            await self._driver.stat(layout.FORMAT)
        except NotFound:
            mark = json.dumps({"oldest_writer": WRITER_LEVEL}).encode()
            await self._driver.put(layout.FORMAT, mark)

    async def is_read_only(self) -> bool:
        """Whether an operator has switched writing off for every process."""
        try:
            await self._driver.stat(layout.READ_ONLY)
        except NotFound:
            return False
        return True

    async def set_read_only(self, *, on: bool) -> None:
        """Switch writing off or on for every process; each sees it within seconds."""
        if on:
            await self._driver.put(layout.READ_ONLY, b"")
        else:
            await self._driver.delete([layout.READ_ONLY])
