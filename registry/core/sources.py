"""Where content can be had again that is damaged here, or lost."""

from __future__ import annotations

from typing import Protocol

from registry.model.digests import Digest
from registry.model.names import RepositoryName


class Source(Protocol):
    """What else has the content of a repository, by its digests.

    Both put sound content in the place of whatever lies there, say from which hosts it was had, and raise
    RegistryError or StorageError when it is not to be had.
    """

    async def manifest_again(self, name: RepositoryName, digest: Digest) -> str:
        """Have a manifest of the repository again."""

    async def blob_again(self, name: RepositoryName, digest: Digest) -> str:
        """Have a blob of the repository again."""


class Sources(Protocol):
    """All there are."""

    def of(self, name: RepositoryName) -> Source | None:
        """The one that may be asked for a repository, if any."""
