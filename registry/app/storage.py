"""The driver that the configuration names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, cast

from registry.api.redirects import Redirects
from registry.config import Config
from registry.store import layout
from storage.contract import Driver, Presigner
from storage.files import Files
from storage.findings import Finding, UnsuitableStore
from storage.local import LocalDriver


class Storage(Driver, Protocol):
    """A driver as a process owns it: begun and ended, and looked after meanwhile."""

    read_only: bool

    @property
    def slow_reads(self) -> int:
        """How many reads held up the event loop so far."""

    def place(self, prefix: str) -> str | None:
        """What tells what lies below `prefix` from a copy of it; None where that is not known."""

    async def start(self) -> None:
        """Before the first use. Raises storage errors."""

    async def try_out(self) -> Sequence[Finding]:
        """What was found out about the store by trying; empty where `start` tries all there is."""

    def leading_out(self) -> AsyncIterator[tuple[str, str]]:
        """By which keys something from outside of the store is content, and where each leads to."""

    async def sweep(self) -> None:
        """Remove what writers that were cut off a day ago have left unfinished."""

    async def aclose(self) -> None:
        """After the last use, begun or not."""


def make_storage(config: Config, files: Files | None = None) -> Storage:
    """The driver, not begun; `files` are the file calls of one on a disk. Raises storage errors."""
    settings = config.storage
    if settings.driver == "local" or settings.s3 is None:
        return LocalDriver(
            settings.root,
            files=files,
            allow_case_folding=settings.allow_case_folding,
            private=layout.SECRET,
        )
    # Here, since it takes boto3, which those do not need who serve from a disk.
    from storage.s3.driver import S3Driver
    from storage.s3.options import S3Options

    given = dict(settings.s3)
    public_endpoint = given.pop("redirect").endpoint
    return S3Driver(S3Options(**given, public_endpoint=public_endpoint), read_only=config.read_only)


def redirects_of(config: Config, storage: Storage) -> Redirects | None:
    """Where pulls are sent to, if they are."""
    s3 = config.storage.s3
    if config.storage.driver != "s3" or s3 is None or not s3.redirect.enabled:
        return None
    return Redirects(s3.redirect, cast(Presigner, storage))


async def require_fit(storage: Storage, place: str) -> None:
    """Raises UnsuitableStore, naming all that the store lacks."""
    unfit: dict[str, list[str]] = {}
    for one in await storage.try_out():
        if not one.fit:
            unfit.setdefault(one.found, []).append(one.what)
    if unfit:
        reasons = (f"{'; '.join(what)}: {found}" for found, what in unfit.items())
        raise UnsuitableStore(f"the store {place} cannot be used\n  " + "\n  ".join(reasons))
