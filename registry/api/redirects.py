"""Blobs that clients pull from the store itself (`storage.s3.redirect`)."""

from __future__ import annotations

from registry.api.networks import is_within
from registry.store.settings import RedirectSettings
from storage.contract import Presigner


class Redirects:
    """Decides which pulls of blobs are sent to the store, and where to."""

    def __init__(self, settings: RedirectSettings, presigner: Presigner) -> None:
        self._settings = settings
        self._presigner = presigner
        self._lifetime_seconds = int(settings.lifetime.total_seconds())

    def reach(self, client: str) -> bool:
        """Whether a client at that address is one that reaches the store."""
        networks = self._settings.networks
        return not networks or is_within(client, networks)

    async def location(self, key: str, size_bytes: int) -> str | None:
        """Where to pull an object that exists; None for one that is too small for a second request."""
        if size_bytes < self._settings.smallest:
            return None
        return await self._presigner.presign(key, "GET", lifetime_seconds=self._lifetime_seconds)
