"""Batches: many manifests or tags of one repository at a time, announced together and looked for once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

from registry.core.pushes import Pushes
from registry.core.quotas import Quotas
from registry.core.references import References
from registry.core.restoring import Restoring, Wanted
from registry.core.tagging import Tagging, Tags
from registry.errors import ManifestBlobUnknown, ManifestUnknown
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.model.names import RepositoryName, Tag
from registry.model.tag_rights import TagRights
from registry.removal.door import Door
from registry.removal.intents import RENEW, Intents
from registry.store.effects import Together
from registry.store.manifests import StoredManifest
from registry.store.store import Store
from storage.errors import NotFound, Withheld


@dataclass(frozen=True, slots=True)
class Given:
    """A manifest to be pushed, whose bytes are known to have its digest; see `Pushes.push` for `sparse`."""

    stored: StoredManifest
    sparse: bool = False


@dataclass(frozen=True, slots=True)
class Retagged:
    """A tag that was set: what it named before, and whether the manifest stands, and the tag with it."""

    replaced: Digest | None
    stands: bool


class Batches:
    """What `Pushes` do one by one, for the same promise; `together` says how many steps go on at once."""

    def __init__(
        self,
        store: Store,
        intents: Intents,
        references: References,
        quotas: Quotas,
        tagging: Tagging,
        pushes: Pushes,
        restoring: Restoring,
        door: Door,
        require_writable: Callable[[], None],
    ) -> None:
        self._restoring = restoring
        self._door = door
        self._store = store
        self._intents = intents
        self._references = references
        self._quotas = quotas
        self._tagging = tagging
        self._pushes = pushes
        self._require_writable = require_writable

    async def push(self, name: RepositoryName, given: Sequence[Given], together: Together) -> None:
        """Store manifests that no tag names yet; durable, each, and proof against any removal then.

        Raises what a push of any of them raises; others may be stored then.
        """
        read = await self._store.effects.aside(self._parsed, [one.stored for one in given])
        manifests = {
            one.stored.digest: manifest
            if manifest.says_type
            else await self._pushes.typed(name, one.stored.digest, manifest)
            for one, manifest in zip(given, read, strict=True)
        }
        blobs = (blob.digest for manifest in manifests.values() for blob in manifest.required_blobs)
        required = {*manifests, *blobs}
        needed = dict.fromkeys(one.digest for manifest in read for one in manifest.references)
        sparse = [one.sparse for one in given]
        self._store.blocked.refuse(required)
        while True:
            async with self._announced(name, dict.fromkeys(manifests, ()), needed) as is_young:
                checked = zip(manifests.values(), sparse, strict=True)
                await self._references.check_all(name, dict(zip(manifests, checked, strict=True)))
                self._require_writable()
                for digest, manifest in manifests.items():
                    await self._quotas.add(name, digest, manifest)
                if not is_young():
                    continue
                self._require_writable()
                self._store.blocked.refuse(required)
                await self._pushes.enlist(name)
                await together(self._write(name, digest, manifest) for digest, manifest in manifests.items())
                await self._pushes.enlist(name)
                return

    async def tag(
        self,
        name: RepositoryName,
        tags: Mapping[Tag, Digest],
        by: str,
        rights: TagRights,
        together: Together,
    ) -> dict[Tag, Retagged]:
        """Let tags name manifests of the repository, and leave out those whose manifest it does not have.

        One that was deleted meanwhile comes back: the delete came before. Where it cannot, its tag goes, too.

        Raises Denied for what is blocked, and what `rights` says of a tag.
        """
        if not tags:
            return {}
        self._store.blocked.refuse(tags.values())
        while True:
            looked = (self._tagging.allow(name, digest, [tag], rights) for tag, digest in tags.items())
            allowed = dict(zip(tags, await together(looked), strict=True))
            moving: dict[Digest, list[Tag]] = {}
            for tag, digest in tags.items():
                moving.setdefault(digest, []).extend(allowed[tag].movable)
            async with self._announced(name, moving, ()) as is_young:
                # What it needs it has: while a manifest stands, nothing of that goes.
                stands = await together(self._store.manifests.exists(name, digest) for digest in moving)
                standing = dict(zip(moving, stands, strict=True))
                if not is_young():
                    continue
                self._require_writable()
                self._store.blocked.refuse(tags.values())
                wanted = [tag for tag, digest in tags.items() if standing[digest]]
                try:
                    done = await together(self._tag(name, tag, tags[tag], allowed[tag], by) for tag in wanted)
                except Withheld:
                    await self._pushes.drop_tags(name, tags.values(), by)
                    raise
                await self._pushes.enlist(name)
            retagged = dict(zip(wanted, done, strict=True))
            for tag, one in retagged.items():
                if not one.stands and await self._bring_back(name, tag, tags[tag], by, rights):
                    retagged[tag] = replace(one, stands=True)
            return retagged

    async def _bring_back(
        self, name: RepositoryName, tag: Tag, digest: Digest, by: str, rights: TagRights
    ) -> bool:
        """Let a repository have again what a tag was let name and was deleted meanwhile; whether it has."""
        with suppress(ManifestUnknown, ManifestBlobUnknown):
            await self._restoring.restore(name, Wanted({tag: digest}), by, rights, overwrite=True, some=True)
        if await self._store.manifests.exists(name, digest):
            return True
        with suppress(ManifestUnknown):
            if await self._store.links.target(name, tag) == digest:
                await self._door.remove_tag(name, tag, by)
        return False

    @asynccontextmanager
    async def _announced(
        self, name: RepositoryName, manifests: Mapping[Digest, Sequence[Tag]], needed: Iterable[Digest]
    ) -> AsyncIterator[Callable[[], bool]]:
        """Around what needs all that; gives what tells whether there is time left to begin to write."""
        begun = self._store.effects.now()
        intent = await self._intents.open_all(name, manifests, needed)
        try:
            # A remover believes an intent for a day; a writer trusts its own for an hour.
            yield lambda: self._store.effects.now() - begun <= RENEW
        finally:
            await self._intents.close(intent)

    def _parsed(self, given: Sequence[StoredManifest]) -> list[Manifest]:
        return [
            Manifest.parse(one.content, one.media_type, max_references=self._pushes.max_references)
            for one in given
        ]

    async def _write(self, name: RepositoryName, digest: Digest, manifest: Manifest) -> None:
        """See `Pushes` for the order of it all."""
        manifests = self._store.manifests
        # As for a blob: what lies there stays, since it is announced that it is needed.
        if not await self._has_data(digest, len(manifest.content)):
            await manifests.put_content(digest, manifest)
        await self._pushes.refer(name, digest, manifest)
        await manifests.put_link(name, digest, manifest)
        while not await manifests.exists(name, digest):
            await manifests.put_content(digest, manifest)
            await manifests.put_link(name, digest, manifest)
        subject = manifest.subject
        if subject and await self._store.referrers.descriptor(name, subject.digest, digest) is None:
            await self._pushes.refer(name, digest, manifest)

    async def _has_data(self, digest: Digest, size_bytes: int) -> bool:
        try:
            return (await self._store.content.stat(digest)).size_bytes == size_bytes
        except NotFound:
            return False

    async def _tag(self, name: RepositoryName, tag: Tag, digest: Digest, allowed: Tags, by: str) -> Retagged:
        replaced = await self._tagging.set(name, digest, allowed, by)
        await self._tagging.restore(name, digest, allowed)
        # The link last: a delete takes the tags first, so while the link stands no tag can have been missed.
        stands = await self._store.manifests.exists(name, digest)
        return Retagged(replaced.get(tag), stands)
