"""The cache on the local disk, in front of a storage that is far away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import TracebackType

from registry.core.settings import CacheSettings
from registry.logs import event
from registry.model.digests import Digest, DigestCheck
from registry.store import layout, parsing
from storage.caching import CachingDriver
from storage.contract import Check, Driver
from storage.errors import StorageError
from storage.local import LocalDriver

_LOG = logging.getLogger(__name__)
_TELL_SECONDS = 60.0


class Cache:
    """One process's use of the directory that all processes of a machine share; without one it does nothing.

    To be entered as an async context manager before the first use. Raises StorageError for a directory that
    cannot be used.
    """

    def __init__(self, settings: CacheSettings, hit: Callable[[bool], None]) -> None:
        directory = settings.directory
        self._near = None if directory is None else LocalDriver(directory, allow_case_folding=True)
        self._budget = settings.blobs
        self._hit = hit
        self._driver: CachingDriver | None = None
        self._told_at = float("-inf")
        self._forgotten: frozenset[Digest] = frozenset()

    async def __aenter__(self) -> Cache:
        if self._near is not None:
            await self._near.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._driver is not None:
            await self._driver.aclose()
        if self._near is not None:
            await self._near.aclose()

    def before(self, driver: Driver) -> Driver:
        """The driver, read through the cache."""
        if self._near is None:
            return driver
        self._driver = CachingDriver(
            driver,
            self._near,
            budget_bytes=self._budget,
            check_of=_check_of,
            tell=self._tell,
            hit=self._hit,
        )
        return self._driver

    async def sweep(self) -> None:
        """Remove what killed processes have left unfinished."""
        if self._near is not None:
            await self._near.sweep()

    async def forget(self, digests: frozenset[Digest]) -> None:
        """Keep nothing of blocked content; what cannot be removed now is tried again the next time."""
        if self._driver is None or digests == self._forgotten:
            return
        prefixes = [layout.blob_data(digest) for digest in digests]
        prefixes += [layout.trash_data(digest) for digest in digests]
        try:
            await self._driver.forget(prefixes)
            self._forgotten = digests
        except StorageError as error:
            self._tell(error)

    def _tell(self, error: StorageError) -> None:
        now = time.monotonic()
        if now - self._told_at >= _TELL_SECONDS:
            self._told_at = now
            event(_LOG, logging.WARNING, "cache.failed", reason=str(error))


def _check_of(key: str) -> Check | None:
    if parsing.is_whole_manifest(key):
        return None  # its line with the type is nothing that the key determines
    digest = parsing.digest_of(key)
    return None if digest is None else DigestCheck(digest)
