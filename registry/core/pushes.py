"""Manifest pushes, in the order that makes a 201 a promise (dist-spec: Pushing manifests)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from registry.core.quotas import Quotas
from registry.core.references import References
from registry.core.tagging import Tagging, Tags
from registry.errors import DigestInvalid, RegistryError
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.model.names import RepositoryName, Tag
from registry.model.tag_rights import TagRights
from registry.removal.intents import RENEW, Intents
from registry.removal.purging import Purge, Purging
from registry.store.store import Store
from storage.errors import NotFound, Withheld

_INLINE = 64 << 10  # bytes; hashing and parsing more than that is done aside


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push has set: the manifest's digest, its subject if it names one, and the tags.

    `replaced` is what each tag that was written named before, None where it was not there.
    """

    digest: Digest
    subject: Digest | None
    tags: tuple[Tag, ...]
    replaced: Mapping[Tag, Digest | None]


class Pushes:
    """The pushes of all repositories."""

    def __init__(
        self,
        store: Store,
        intents: Intents,
        references: References,
        quotas: Quotas,
        tagging: Tagging,
        require_writable: Callable[[], None],
        *,
        max_references: int,
    ) -> None:
        self._store = store
        self._intents = intents
        self._references = references
        self._quotas = quotas
        self._tagging = tagging
        self._require_writable = require_writable
        self.max_references = max_references

    async def push(
        self,
        name: RepositoryName,
        reference: Tag | Digest,
        content: bytes,
        content_type: str | None,
        tags: Sequence[Tag],
        by: str,
        rights: TagRights,
        *,
        sparse: bool = False,
    ) -> Pushed:
        """Store a manifest and let tags name it; durable, and proof against any removal, when this returns.

        Of a `sparse` one blobs may be missing: they are fetched when they are asked for.

        Raises Denied for what is blocked, DigestInvalid, ManifestInvalid, ManifestBlobUnknown, QuotaExceeded,
        and what `rights` says of a tag.
        """
        digest = await self._digest(reference, content)
        manifest = await self._parse(name, digest, content, content_type)
        named = tuple(dict.fromkeys([reference, *tags] if isinstance(reference, Tag) else tags))
        needed = [descriptor.digest for descriptor in manifest.references]
        required = [digest, *(descriptor.digest for descriptor in manifest.required_blobs)]
        self._store.blocked.refuse(required)
        while True:
            begun = self._store.effects.now()
            allowed = await self._tagging.allow(name, digest, named, rights)
            # It names tags that may be moved: one that may not has no entry before it is there.
            intent = await self._intents.open(name, digest, needed, allowed.movable)
            try:
                await self._references.check(name, digest, manifest, sparse=sparse)
                self._require_writable()
                # Behind the intent, by which a count knows that this is about to be needed.
                await self._quotas.add(name, digest, manifest)
                # A remover believes an intent for a day; a writer trusts its own for an hour.
                if self._store.effects.now() - begun > RENEW:
                    continue
                self._require_writable()
                self._store.blocked.refuse(required)
                replaced = await self._write(name, digest, manifest, allowed, by)
            except Withheld:
                await self.drop_tags(name, [digest], by)
                raise
            finally:
                await self._intents.close(intent)
            return Pushed(digest, manifest.subject.digest if manifest.subject else None, named, replaced)

    async def drop_tags(self, name: RepositoryName, digests: Iterable[Digest], by: str) -> None:
        """Take the tags away that a refused push has let name what is blocked now."""
        blocked = frozenset(digests) & self._store.blocked.digests
        if blocked:
            # A purge looks for tags where it finds the link, which may have been away by then.
            await Purging(self._store, by=by, step=_go_on).remove_tags(name, blocked, Purge())

    async def _digest(self, reference: Tag | Digest, content: bytes) -> Digest:
        wanted = reference if isinstance(reference, Digest) else None
        algorithm = wanted.require_supported().algorithm if wanted else "sha256"
        if len(content) <= _INLINE:
            digest = Digest.of(content, algorithm)
        else:
            digest = await self._store.effects.aside(Digest.of, content, algorithm)
        if wanted is not None and digest != wanted:
            raise DigestInvalid(
                f"the manifest's bytes have the digest {digest}, not {wanted}",
                detail={"digest": str(wanted), "content": str(digest)},
            )
        return digest

    async def _parse(
        self, name: RepositoryName, digest: Digest, content: bytes, content_type: str | None
    ) -> Manifest:
        if len(content) <= _INLINE:
            manifest = Manifest.parse(content, content_type, max_references=self.max_references)
        else:
            manifest = await self._store.effects.aside(
                Manifest.parse, content, content_type, max_references=self.max_references
            )
        return await self.typed(name, digest, manifest)

    async def typed(self, name: RepositoryName, digest: Digest, manifest: Manifest) -> Manifest:
        """The manifest as the repository has it: of the type that it was first pushed with."""
        try:
            stored = await self._store.manifests.read(name, digest)
        except (RegistryError, NotFound):
            return manifest
        if stored.media_type == manifest.media_type:
            return manifest
        # Bytes that do not say their type keep the one that they were first pushed with.
        return Manifest.parse(manifest.content, stored.media_type, max_references=self.max_references)

    async def _write(
        self, name: RepositoryName, digest: Digest, manifest: Manifest, tags: Tags, by: str
    ) -> Mapping[Tag, Digest | None]:
        store = self._store
        await store.manifests.put_content(digest, manifest)
        await self.enlist(name)
        await self.refer(name, digest, manifest)
        await store.manifests.put_link(name, digest, manifest)
        replaced = await self._tagging.set(name, digest, tags, by)
        # Whoever removed something meanwhile may not have seen us: read again, and write again what is gone.
        # The link last: a delete takes the tags first, so while the link stands no tag can have been missed.
        while True:
            await self._tagging.restore(name, digest, tags)
            if await store.manifests.exists(name, digest):
                break
            await store.manifests.put_content(digest, manifest)
            await store.manifests.put_link(name, digest, manifest)
        await self.enlist(name)
        subject = manifest.subject
        if subject and await store.referrers.descriptor(name, subject.digest, digest) is None:
            await self.refer(name, digest, manifest)
        return replaced

    async def enlist(self, name: RepositoryName) -> None:
        """Let the catalog have the repository; whoever sees it there finds the placeholder too."""
        catalog = self._store.catalog
        if not await catalog.is_listed(name):
            # A repository that we see grow from its first manifest has all its entries from the start.
            indexed = not await catalog.holds_content(name)
            await self._store.put_placeholder(name)
            await catalog.add(name, indexed=indexed)

    async def refer(self, name: RepositoryName, digest: Digest, manifest: Manifest) -> None:
        """Enter the manifest among those that refer to its subject."""
        if manifest.subject is not None:
            descriptor = manifest.referrer_descriptor(digest)
            await self._store.referrers.put(name, manifest.subject.digest, digest, descriptor)


async def _go_on() -> None:
    """Nobody waits behind a push."""
