"""What a bundle states, given to repositories: first the blobs, then the manifests, and tags with them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import groupby

from registry.bundles.contents import Content, Key
from registry.bundles.errors import BundleInvalid
from registry.bundles.media import MANIFESTS_AT_ONCE, MANIFESTS_BYTES, batches
from registry.bundles.statement import Statement, digest_of
from registry.core.batches import Given
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

    async def content(self, *, with_tags: bool) -> AsyncIterator[int]:
        """Give all of it, and tags if they are to name it; after each handful how much has been given.

        Doing it again does no harm. Raises BundleInvalid for what went meanwhile, and what a push raises.
        """
        done = 0
        blobs, manifests = self._statement.blobs, self._statement.manifests
        for name, places in blobs.by_repository().items():
            for some in handfuls(places):
                await self._effects.together(self._blob(name, blobs.at(place)[0]) for place in some)
                yield (done := done + len(some))
        tagged = iter(_tagged(self._statement.tags))
        of, tags = next(tagged, ("", {}))
        for name, places in sorted(manifests.by_repository().items()):
            for batch in batches(map(manifests.at, places), MANIFESTS_AT_ONCE, MANIFESTS_BYTES):
                await self._manifests(name, batch)
                if with_tags and of == name:
                    await self._tags(name, {tag: key for key, _ in batch for tag in tags.get(key, ())})
                yield (done := done + len(batch))
            if of == name:
                of, tags = next(tagged, ("", {}))

    async def _blob(self, name: str, key: Key) -> None:
        repository = self._registry.repository(self._target(name), self._by)
        if not await repository.share_blob(digest_of(key)):
            raise _gone(digest_of(key))

    async def _manifests(self, name: str, batch: Sequence[tuple[Key, Content]]) -> None:
        """Give manifests to a repository."""
        read = await self._effects.together(self._given(name, key, stated) for key, stated in batch)
        repository = self._registry.repository(self._target(name), self._by)
        try:
            await repository.push_manifests(read, self._effects.together)
        except RegistryError as error:
            if not _is_wrong(error):
                raise
            # One after the other, to tell of which it is true.
            for one in read:
                await self._manifest(name, one)

    async def _given(self, name: str, key: Key, stated: Content) -> Given:
        stored = await self.manifest(name, key, stated)
        if stored is None:
            raise _gone(digest_of(key))
        return Given(replace(stored, media_type=stated.media_type), stated.sparse)

    async def _manifest(self, name: str, given: Given) -> None:
        repository = self._registry.repository(self._target(name), self._by)
        stored = given.stored
        push = repository.keep_manifest if given.sparse else repository.push_manifest
        try:
            await push(stored.digest, stored.content, stored.media_type, [])
        except RegistryError as error:
            if _is_wrong(error):
                raise BundleInvalid(
                    f"the manifest {stored.digest} of {name} cannot be taken: {error.message}; have the"
                    " bundle written again",
                    detail={"manifest": str(stored.digest)},
                ) from error
            raise

    async def _tags(self, name: str, tags: Mapping[Tag, Key]) -> None:
        """Let tags name manifests that were just given to a repository."""
        wanted = {tag: digest_of(key) for tag, key in tags.items()}
        repository = self._registry.repository(self._target(name), self._by)
        done = await repository.tag_manifests(wanted, self._effects.together)
        for tag, digest in wanted.items():
            if tag not in done or not done[tag].stands:
                raise _gone(digest)

    async def manifest(self, name: str, key: Key, stated: Content) -> StoredManifest | None:
        """A manifest of a repository of the bundle: as it came, or as it was here before."""
        digest = digest_of(key)
        with suppress(NotFound):
            content = await self._registry.store.manifests.content_from(layout.blob_data(digest), digest)
            return StoredManifest(digest, stated.media_type, content)
        for where in (self._target(name), self._names[name]):
            try:
                found = await self._registry.repository(where, self._by).manifest_or_none(digest)
            except ManifestUnknown:
                continue
            if found is not None:
                return found
        return None


def _tagged(tags: Mapping[tuple[str, str], Key]) -> Iterator[tuple[str, dict[Key, list[Tag]]]]:
    """Repository by repository, in the order of tags, those that name each of its manifests."""
    for name, some in groupby(tags.items(), lambda one: one[0][0]):
        found: dict[Key, list[Tag]] = {}
        for (_, tag), key in some:
            found.setdefault(key, []).append(Tag(tag))
        yield name, found


def _is_wrong(error: RegistryError) -> bool:
    """Whether it says that what was pushed is wrong."""
    return error.code.startswith(("MANIFEST_", "DIGEST_"))


def _gone(digest: Digest) -> BundleInvalid:
    return BundleInvalid(
        f"{digest} was here when the bundle was judged, and is not any more; import the bundle once more",
        detail={"digest": str(digest)},
    )
