"""A directory in CNCF Distribution's layout, written by hand and behind the server's back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.api.contents import Manifest, digest_of


class Tree:
    """Writes what another program would have written; nothing of ours."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._base = root / "docker/registry/v2"

    def blob_file(self, digest: str) -> Path:
        """Where the bytes of a digest lie."""
        algorithm, _, encoded = digest.partition(":")
        return self._base / "blobs" / algorithm / encoded[:2] / encoded / "data"

    def revision_link(self, name: str, digest: str) -> Path:
        """Where it is written that a repository has a manifest."""
        return self._repository(name) / "_manifests/revisions" / digest.replace(":", "/") / "link"

    def tag_link(self, name: str, tag: str) -> Path:
        """Where it is written what a tag names."""
        return self._repository(name) / "_manifests/tags" / tag / "current/link"

    def blob(self, name: str, data: bytes) -> str:
        """Put a blob into a repository; its digest."""
        digest = digest_of(data)
        _write(self.blob_file(digest), data)
        _write(self._repository(name) / "_layers" / digest.replace(":", "/") / "link", digest.encode())
        return digest

    def manifest(self, name: str, manifest: Manifest, *tags: str) -> str:
        """Put a manifest and its blobs into a repository; its digest."""
        for data in manifest.blobs:
            self.blob(name, data)
        (self._repository(name) / "_layers").mkdir(parents=True, exist_ok=True)
        digest = manifest.digest
        _write(self.blob_file(digest), manifest.data)
        _write(self.revision_link(name, digest), digest.encode())
        self.tags(name, tags, digest)
        return digest

    def tags(self, name: str, tags: Iterable[str], digest: str) -> None:
        """Let tags name a manifest."""
        for tag in tags:
            _write(self.tag_link(name, tag), digest.encode())

    def _repository(self, name: str) -> Path:
        return self._base / "repositories" / name


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
