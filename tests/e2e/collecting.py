"""A process that does nothing but collect, one run after another: `python -m tests.e2e.collecting CONFIG`.

Its grace period is none at all, which no setting allows: what was pushed a moment ago is taken at once, and
every push has to bring back what it needs. Who is silent for a second loses the lease to another of these.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from registry.app.opening import open_registry
from registry.config import Config
from registry.core.registry import Registry
from registry.errors import TooManyRequests
from registry.upkeep.collecting import Collecting
from registry.upkeep.reports import Collection
from registry.upkeep.settings import CollectionSettings, TrashSettings, UpkeepSettings
from registry.work.documents import plain

LEASE_SECONDS = 1.0


def without_grace(registry: Registry, who: str, *, per_second: int = 0) -> Collecting:
    """Whoever collects what is older than no time."""
    gc = CollectionSettings.model_construct(grace_period=timedelta(0), requests_per_second=per_second)
    settings = UpkeepSettings.model_construct(gc=gc, trash=TrashSettings())
    return Collecting(lambda: registry, settings, who=who, lease_seconds=LEASE_SECONDS)


@asynccontextmanager
async def opened(settings: dict[str, Any]) -> AsyncIterator[Registry]:
    """The registry that a server with these settings has."""
    async with open_registry(Config.model_validate(settings)) as registry:
        yield registry


async def collect(settings: dict[str, Any], who: str, *, per_second: int = 0) -> Collection:
    """One run, to its end."""
    async with opened(settings) as registry:
        reports = [report async for report in without_grace(registry, who, per_second=per_second).run(who)]
        return reports[-1]


async def collect_for_ever(settings: dict[str, Any], who: str, per_second: int) -> None:
    """Run after run; what each did is printed."""
    async with opened(settings) as registry:
        while True:
            try:
                async for report in without_grace(registry, who, per_second=per_second).run(who):
                    if report.ended:
                        print(json.dumps(plain(report)), flush=True)
            except TooManyRequests as error:
                print(json.dumps({"waits": error.message}), flush=True)


if __name__ == "__main__":
    _, path, who, rate = sys.argv
    asyncio.run(collect_for_ever(json.loads(Path(path).read_text()), who, int(rate)))
