"""A release whose writers have the next level: with the same code beside it, as it will be at an upgrade."""

from __future__ import annotations

from collections.abc import AsyncIterator

from registry.cli import main
from registry.core.registry import Registry
from registry.store import marks
from registry.upkeep import upgrading
from registry.work.operations import Progress


async def _needs(_: Registry) -> AsyncIterator[Progress]:
    yield Progress(1, 1)


marks.WRITER_LEVEL = 2
upgrading.NEEDS = {**upgrading.NEEDS, 2: _needs}

if __name__ == "__main__":
    main()
