"""What an operator may set about pushes, deletes and what is kept in memory."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from registry.errors import NameInvalid
from registry.model.names import RepositoryName
from registry.settings import Duration, Settings, Size

Count = Annotated[int, Field(ge=1)]


class UploadSettings(Settings):
    """Upload sessions."""

    expire_after: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(days=7)
    expire_interval: Annotated[Duration, Field(ge=timedelta(seconds=1))] = timedelta(hours=1)
    max_open: Count = 10_000
    max_chunks: Count = 10_000
    max_in_flight: Count = 2000


class ManifestSettings(Settings):
    """What a manifest may be."""

    # The specification asks for at least 4 MiB and 10 tags (dist-spec: Pushing manifests).
    # The store reads back no more than twice the upper bound.
    max_size: Annotated[Size, Field(ge=4 << 20, le=32 << 20)] = 4 << 20
    max_in_flight: Annotated[Size, Field(ge=32 << 20)] = 64 << 20
    max_references: Count = 10_000
    max_tags_per_push: Annotated[int, Field(ge=10)] = 100
    allow_missing_layers: bool = False


class DeleteSettings(Settings):
    """Whether users may delete."""

    enabled: bool = True


class CacheSettings(Settings):
    """What is kept nearer than the storage: manifests in memory, blobs in a directory of this machine."""

    manifests: Annotated[Size, Field(ge=0)] = 64 << 20
    directory: Path | None = None
    blobs: Annotated[Size, Field(ge=1 << 20)] = 10 << 30


def _prefix(text: str) -> RepositoryName:
    try:
        return RepositoryName(text)
    except NameInvalid:
        raise ValueError("must be a name such as team-a or team-a/app, without a pattern") from None


class QuotaSettings(Settings):
    """How much the repositories below a prefix may hold together."""

    prefix: Annotated[str, AfterValidator(_prefix)]
    limit: Annotated[Size, Field(ge=0)]


def _distinct(quotas: tuple[QuotaSettings, ...]) -> tuple[QuotaSettings, ...]:
    prefixes = [one.prefix for one in quotas]
    for prefix in prefixes:
        if prefixes.count(prefix) > 1:
            raise ValueError(f"{prefix} has two quotas; give it one")
    return quotas


class CoreSettings(Settings):
    """The rules of the registry's content."""

    read_only: bool = False
    uploads: UploadSettings = UploadSettings()
    manifests: ManifestSettings = ManifestSettings()
    delete: DeleteSettings = DeleteSettings()
    quotas: Annotated[tuple[QuotaSettings, ...], AfterValidator(_distinct)] = ()
    cache: CacheSettings = CacheSettings()
