"""Making the kit for the first day, as an operation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.bundles.bundles import Bundles
from registry.bundles.sources import OwnSource
from registry.errors import RequestInvalid
from registry.model.names import RepositoryName, Tag
from registry.work.operations import Context, Operation, Progress, Result, option

Outcome = AsyncIterator[Progress | Result]


@dataclass(frozen=True, slots=True)
class Kit:
    """Where to, and which image goes along."""

    to: Path | None = option("the folder that is made", default=None, local=True)
    image: str | None = option("an image of Moorage in this registry, for docker load", default=None)


@dataclass(frozen=True, slots=True)
class KitMade:
    """What lies in it."""

    path: str
    files: int

    def told(self) -> str:
        """Where it is, and how it is begun with."""
        return f"{self.path}: {self.files} parts; there it begins with README.txt and install.sh"


def operations(bundles: Callable[[], Bundles]) -> Iterable[Operation[Any]]:
    """The operation; it is done on the machine of the program that goes into the kit."""

    async def bundle_kit(asked: Kit, _: Context) -> Outcome:
        # Here, since it reads what is installed, which those do not need who only list this.
        from registry.bundles.kit import write_kit

        if asked.to is None:
            raise RequestInvalid("say where the kit goes: --to FOLDER")
        image = None
        if asked.image is not None:
            name, _colon, tag = asked.image.partition(":")
            image = RepositoryName(name), Tag(tag or "latest")
        registry = bundles().registry
        files = 0
        async for part in write_kit(asked.to, OwnSource(registry), image, registry.store.effects):
            files += 1
            yield Progress(files, None, "items", part)
        yield Result(KitMade(str(asked.to), files))

    return (
        Operation(
            "bundle.kit",
            "Make a kit: all that a bare machine without internet needs to run a registry",
            "admin",
            False,
            Kit,
            bundle_kit,
            needs_store=lambda asked: asked.image is not None,
            local=True,
            result=KitMade,
        ),
    )
