"""What the manifests of a bundle list: all of it must be stated, for the same repositories and as large."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from registry.bundles.contents import Content, Digests, Key
from registry.bundles.errors import unsound
from registry.bundles.media import file_name
from registry.bundles.statement import Statement, digest_of, key_of
from registry.errors import ManifestInvalid
from registry.model.descriptors import Descriptor
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.removal.mark import handfuls
from registry.store.effects import Effects
from registry.store.manifests import StoredManifest

_AGAIN = "have the bundle written again"
_AT_ONCE = 8  # manifests, each of which may be large

Read = Callable[[str, Digest], Awaitable[StoredManifest | None]]


class References:
    """Judges the manifests of one statement; `read` gives one of a repository, or None."""

    def __init__(self, statement: Statement, read: Read, effects: Effects, max_references: int) -> None:
        self._statement = statement
        self._read = read
        self._effects = effects
        self._max_references = max_references

    async def require(self) -> None:
        """Read all manifests. Raises BundleInvalid for one that is none, or lists what is not stated."""
        seen = Digests()
        for some in handfuls(self._statement.manifests.items(), _AT_ONCE):
            manifests = await self._effects.together(self._manifest(key, stated) for key, stated in some)
            for (key, stated), manifest in zip(some, manifests, strict=True):
                self._judge(key, stated, manifest, seen)
                seen.add(key)

    async def _manifest(self, key: Key, stated: Content) -> Manifest:
        stored = await self._read(stated.repositories[0], digest_of(key))
        if stored is None:
            raise unsound(file_name(key), "it went meanwhile", "import the bundle once more")
        try:
            return await self._effects.aside(
                Manifest.parse, stored.content, stated.media_type, max_references=self._max_references
            )
        except ManifestInvalid as error:
            raise unsound(file_name(key), error.message, _AGAIN) from None

    def _judge(self, key: Key, stated: Content, manifest: Manifest, seen: Collection[Key]) -> None:
        for descriptor in manifest.required_blobs:
            if descriptor.digest.supported or not stated.sparse:
                self._require(key, stated, descriptor, self._statement.blobs.get(_key(descriptor)))
        for descriptor in manifest.children:
            child = _key(descriptor)
            if (below := self._statement.manifests.get(child)) is not None and child not in seen:
                raise unsound(file_name(key), f"it stands before {descriptor.digest}, which it lists", _AGAIN)
            self._require(key, stated, descriptor, below or self._statement.blobs.get(child))

    def _require(self, key: Key, stated: Content, descriptor: Descriptor, found: Content | None) -> None:
        if found is None or not set(stated.repositories) <= set(found.repositories):
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


def _key(descriptor: Descriptor) -> Key:
    return key_of(descriptor.digest) if descriptor.digest.supported else b""
