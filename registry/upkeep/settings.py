"""What an operator may set about collection and the trash."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from registry.settings import Duration, Settings, Size


class CollectionSettings(Settings):
    """Collection of what nothing needs any more."""

    enabled: bool = True
    interval: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(days=1)
    grace_period: Annotated[Duration, Field(ge=timedelta(hours=1))] = timedelta(days=1)
    requests_per_second: Annotated[int, Field(ge=0)] = 2000


class TrashSettings(Settings):
    """How long, and how much, the trash keeps; nothing leaves it younger than a day."""

    keep_for: Annotated[Duration, Field(ge=timedelta(days=1))] = timedelta(days=7)
    max_size: Annotated[Size, Field(ge=0)] | None = None


class ScrubSettings(Settings):
    """Reading everything again, to find what has been damaged."""

    # None: on a disk, which nobody else looks after and where reading costs nothing.
    enabled: bool | None = None
    interval: Annotated[Duration, Field(ge=timedelta(hours=1))] = timedelta(days=30)
    bytes_per_second: Annotated[Size, Field(ge=0)] = 20 << 20


class UsageSettings(Settings):
    """Counting what repositories hold."""

    enabled: bool = True
    interval: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(days=1)
    requests_per_second: Annotated[int, Field(ge=0)] = 2000


class UpkeepSettings(Settings):
    """Upkeep of the store."""

    gc: CollectionSettings = CollectionSettings()
    usage: UsageSettings = UsageSettings()
    trash: TrashSettings = TrashSettings()
    scrub: ScrubSettings = ScrubSettings()
