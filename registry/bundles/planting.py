"""What a bundle states, given to repositories: first the blobs, then the manifests, and tags with them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

from registry.bundles.contents import Content, Key
from registry.bundles.errors import BundleInvalid
from registry.bundles.statement import Statement, digest_of
from registry.core.registry import Registry
from registry.errors import ManifestUnknown, RegistryError
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.removal.mark import handfuls
from registry.store import layout
from registry.store.effects import Effects
from registry.store.manifests import StoredManifest
from storage.errors import NotFound


class Planting:
    """Gives what one bundle states to the repositories that `target` says, in the name of `by`."""

    def __init__(
        self,
        registry: Registry,
        effects: Effects,
        statement: Statement,
        target: Callable[[str], RepositoryName],
        names: Mapping[str, RepositoryName],
        by: str,
    ) -> None:
        self._registry = registry
        self._effects = effects
        self._statement = statement
        self._target = target
        self._names = names
        self._by = by

    async def content(self, tags: Callable[[str, Key], Sequence[Tag]]) -> AsyncIterator[int]:
        """Give all of it, with the `tags` of manifests; after each handful how many things have been given.

        Doing it again does no harm. Raises BundleInvalid for what went meanwhile, and what a push raises.
        """
        done = 0
        for some in handfuls(_placed(self._statement.blobs)):
            await self._effects.together(self._blob(name, key) for name, key in some)
            yield (done := done + len(some))
        for some in handfuls(_placed(self._statement.manifests)):
            await self._effects.together(self._manifest(name, key, tags(name, key)) for name, key in some)
            yield (done := done + len(some))

    async def _blob(self, name: str, key: Key) -> None:
        repository = self._registry.repository(self._target(name), self._by)
        if not await repository.share_blob(digest_of(key)):
            raise _gone(digest_of(key))

    async def _manifest(self, name: str, key: Key, tags: Sequence[Tag]) -> None:
        stated = self._statement.manifests[key]
        digest = digest_of(key)
        repository = self._registry.repository(self._target(name), self._by)
        stored = await self.manifest(name, digest)
        if stored is None:
            raise _gone(digest)
        try:
            if stated.sparse:
                await repository.keep_manifest(digest, stored.content, stated.media_type, tags)
            else:
                await repository.push_manifest(digest, stored.content, stated.media_type, tags)
        except RegistryError as error:
            if error.code.startswith(("MANIFEST_", "DIGEST_")):
                raise BundleInvalid(
                    f"the manifest {digest} of {name} cannot be taken: {error.message}; have the bundle"
                    " written again",
                    detail={"manifest": str(digest)},
                ) from error
            raise

    async def manifest(self, name: str, digest: Digest) -> StoredManifest | None:
        """A manifest of a repository of the bundle: as it came, or as it was here before."""
        try:
            return await self._registry.store.manifests.read_from(layout.blob_data(digest), digest)
        except NotFound:
            pass
        for where in (self._target(name), self._names[name]):
            try:
                found = await self._registry.repository(where, self._by).manifest_or_none(digest)
            except ManifestUnknown:
                continue
            if found is not None:
                return found
        return None


def _placed(contents: Mapping[Key, Content]) -> Iterable[tuple[str, Key]]:
    return ((name, key) for key, content in contents.items() for name in content.repositories)


def _gone(digest: Digest) -> BundleInvalid:
    return BundleInvalid(
        f"{digest} was here when the bundle was judged, and is not any more; import the bundle once more",
        detail={"digest": str(digest)},
    )
