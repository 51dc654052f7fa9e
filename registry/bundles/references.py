"""What the manifests of a bundle list: all of it must be stated, for the same repositories and as large."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

from registry.bundles.contents import Content, Digests, Key
from registry.bundles.errors import BundleRefused, unsound
from registry.bundles.media import MANIFESTS_AT_ONCE, MANIFESTS_BYTES, batches, file_name
from registry.bundles.statement import Statement, digest_of, key_of
from registry.errors import ManifestInvalid
from registry.model.descriptors import Descriptor
from registry.model.manifests import Manifest
from registry.store.effects import Effects
from registry.store.manifests import StoredManifest

_AGAIN = "have the bundle written again"

Read = Callable[[str, Key, Content], Coroutine[Any, Any, StoredManifest | None]]
"""Reads a manifest of a repository."""


class References:
    """Judges the manifests of one statement; `read` gives one of a repository, or None.

    `allow_missing` lets images in that lack their config or layers, as it does where they are pushed.
    """

    def __init__(
        self, statement: Statement, read: Read, effects: Effects, max_references: int, *, allow_missing: bool
    ) -> None:
        self._statement = statement
        self._read = read
        self._effects = effects
        self._max_references = max_references
        self._allow_missing = allow_missing

    async def require(self) -> None:
        """Read all manifests.

        Raises BundleInvalid for one that is none, or lists what is not stated; BundleRefused for a sparse
        image.
        """
        seen = Digests()
        for some in batches(self._statement.manifests.items(), MANIFESTS_AT_ONCE, MANIFESTS_BYTES):
            stored = await self._effects.together(
                self._read(stated.repositories[0], key, stated) for key, stated in some
            )
            await self._effects.aside(self._judge_all, some, stored, seen)

    def _judge_all(
        self,
        some: Sequence[tuple[Key, Content]],
        stored: Sequence[StoredManifest | None],
        seen: Digests,
    ) -> None:
        for (key, stated), one in zip(some, stored, strict=True):
            if one is None:
                raise unsound(file_name(key), "it went meanwhile", "import the bundle once more")
            try:
                manifest = Manifest.parse(one.content, stated.media_type, max_references=self._max_references)
            except ManifestInvalid as error:
                raise unsound(file_name(key), error.message, _AGAIN) from None
            self._judge(key, stated, manifest, seen)
            seen.add(key)

    def _judge(self, key: Key, stated: Content, manifest: Manifest, seen: Collection[Key]) -> None:
        # Layers may lie elsewhere; a config may not, whatever it calls itself.
        config = () if manifest.config is None else (manifest.config,)
        for descriptor in (*config, *manifest.required_blobs):
            blob = self._statement.blobs.get(_key(descriptor))
            if stated.sparse and not self._allow_missing and not _is_with(stated, blob):
                raise BundleRefused(
                    f"{file_name(key)}: it is an image without all of its blobs ({descriptor.digest} is not"
                    " stated with it); have it written from where they are, or allow such images"
                    " (manifests.allow_missing_layers)",
                    detail={"manifest": str(digest_of(key)), "digest": str(descriptor.digest)},
                )
            if descriptor.digest.supported or not stated.sparse:
                self._require(key, stated, descriptor, blob)
        for descriptor in manifest.children:
            child = _key(descriptor)
            if (below := self._statement.manifests.get(child)) is not None and child not in seen:
                raise unsound(file_name(key), f"it stands before {descriptor.digest}, which it lists", _AGAIN)
            self._require(key, stated, descriptor, below or self._statement.blobs.get(child))

    def _require(self, key: Key, stated: Content, descriptor: Descriptor, found: Content | None) -> None:
        if found is None or not _is_with(stated, found):
            if stated.sparse:
                return
            raise unsound(
                file_name(key), f"it lists {descriptor.digest}, which is not stated with it", _AGAIN
            )
        if found.size != descriptor.size_bytes:
            raise unsound(
                file_name(key),
                f"it says that {descriptor.digest} has {descriptor.size_bytes} bytes, not {found.size}",
                _AGAIN,
            )


def _is_with(stated: Content, found: Content | None) -> bool:
    """Whether something is stated for all repositories that a manifest is in."""
    return found is not None and set(stated.repositories) <= set(found.repositories)


def _key(descriptor: Descriptor) -> Key:
    return key_of(descriptor.digest) if descriptor.digest.supported else b""
