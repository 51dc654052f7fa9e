"""Referrer entries: for each subject, the descriptors of the manifests that refer to it.

Derived from the manifests: an entry is written before its manifest's link and shown only while that exists.
"""

from __future__ import annotations

import json

from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.store import layout, parsing
from registry.store.manifests import READ_LIMIT
from storage.contract import Driver
from storage.errors import NotFound, TooLarge

# An entry repeats annotations and a type of its manifest, and adds little to them.
_LIMIT = READ_LIMIT


class Referrers:
    """The entries of one store."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def put(
        self, name: RepositoryName, subject: Digest, digest: Digest, descriptor: dict[str, object]
    ) -> None:
        """Enter the manifest `digest`, described by `descriptor`, as one that refers to `subject`."""
        await self._driver.put(layout.referrer(name, subject, digest), self.encode(descriptor))

    @staticmethod
    def encode(descriptor: dict[str, object]) -> bytes:
        """A descriptor as an entry holds it and a list shows it."""
        return json.dumps(descriptor, ensure_ascii=False, separators=(",", ":")).encode()

    async def digests(
        self, name: RepositoryName, subject: Digest, *, after: str = ""
    ) -> list[tuple[str, Digest]]:
        """The entries behind the cursor `after`, each with its own cursor, in order of their digests."""
        entries = await self._driver.children(layout.subject(name, subject), after=after)
        found = ((entry, parsing.referrer_digest(entry)) for entry in entries)
        return [(entry, digest) for entry, digest in found if digest is not None]

    async def descriptor(self, name: RepositoryName, subject: Digest, digest: Digest) -> bytes | None:
        """The JSON descriptor of one referrer; None when it has gone, or what lies there is none of ours."""
        try:
            return await self._driver.get(layout.referrer(name, subject, digest), limit=_LIMIT)
        except (NotFound, TooLarge):
            return None

    async def remove(self, name: RepositoryName, subject: Digest, digest: Digest) -> None:
        """Take the manifest off the list of its subject."""
        # It shows only while the manifest stands, so it does no harm if a power cut brings it back.
        await self._driver.delete([layout.referrer(name, subject, digest)], durable=False)
