"""One namespace: what it holds is given, the rest is fetched, and tags are as fresh as was set."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from registry.core.registry import Registry, Repository
from registry.errors import (
    DigestInvalid,
    ManifestInvalid,
    ManifestUnknown,
    NameUnknown,
    RegistryError,
    StorageDamaged,
)
from registry.mirror.blobs import Blobs
from registry.mirror.descriptors import Descriptor, listed, sound
from registry.mirror.failures import answer, unkept, warning
from registry.mirror.fetching import Fetching
from registry.mirror.memory import Memory, Refusals
from registry.mirror.settings import MirrorSettings, pusher
from registry.mirror.tasks import Tasks
from registry.mirror.upstreams import Upstreams, hosts_of
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag, referrers_tag
from registry.model.tag_rights import EVERY_TAG, TagRight, TagRights
from registry.remote.errors import UpstreamError
from registry.remote.upstream import RemoteManifest
from registry.store.manifests import StoredManifest
from storage.errors import StorageError
from storage.sharing import Share

Warn = Callable[[str], None]
Kind = Literal["manifest", "blob"]

_LIBRARY = "library/"
_TAGS = "tags"
# In all lists that are remembered.
_MOST_TAGS = 200_000


class Mirror:
    """A namespace in one process; `by` is who its content is said to be from in the history of tags.

    `given` hears what clients were given, and whether it was held; `came` how many bytes of a blob came.
    """

    def __init__(
        self,
        settings: MirrorSettings,
        registry: Registry,
        upstreams: Upstreams,
        *,
        who: str,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        memory: Share,
        given: Callable[[Kind, bool], None] = lambda _, __: None,
        came: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self.name = RepositoryName(settings.name)
        self.upstreams = upstreams
        self.given = given
        self._registry = registry
        self.by = pusher(self.name)
        fetching = Fetching(
            registry,
            self.name,
            upstreams,
            self.name_there,
            who=who,
            by=self.by,
            clock=clock,
            sleep=sleep,
            memory=memory,
            came=came,
            bytes_per_second=settings.bytes_per_second,
        )
        fresh_seconds = settings.fresh_for.total_seconds()
        # What each tag names, as its upstream has said lately, or somebody here for good.
        self._fresh = Memory[Digest](fresh_seconds, clock)
        self._refusals = Refusals(settings.absent_for.total_seconds(), fresh_seconds, clock)
        self.tasks = Tasks()
        self.blobs = Blobs(registry, upstreams, fetching, self._refusals, self.tasks, self.name_there)
        self._tags = Memory[list[Tag]](fresh_seconds, clock, _MOST_TAGS, len)

    # Names.

    def repository(self, asked: RepositoryName) -> RepositoryName:
        """The repository here that clients mean who believe that they ask an upstream. Raises NameInvalid."""
        library = _LIBRARY if self.settings.adds_library and "/" not in asked else ""
        return RepositoryName(f"{self.name}/{library}{asked}")

    def has(self, name: RepositoryName) -> bool:
        """Whether a repository lies in the namespace."""
        return name.startswith(f"{self.name}/")

    def name_there(self, name: RepositoryName) -> RepositoryName:
        """What the upstreams call a repository of the namespace."""
        return RepositoryName(name[len(self.name) + 1 :])

    def is_mirrored(self, name: RepositoryName) -> bool:
        """Whether the upstreams may be asked for a repository."""
        patterns = self.settings.repositories
        there = self.name_there(name)
        return bool(self.upstreams.each) and (
            patterns is None or any(pattern.matches(there) for pattern in patterns)
        )

    # Manifests.

    async def tagged(self, name: RepositoryName, tag: Tag, warn: Warn) -> StoredManifest:
        """What a tag names, as fresh as was set. Raises ManifestUnknown, Unavailable and others."""
        held = await self.held(name, tag)
        found = await self._tagged(name, tag, held, warn)
        self.given("manifest", held is not None and held.digest == found.digest)
        return found

    async def _tagged(
        self, name: RepositoryName, tag: Tag, held: StoredManifest | None, warn: Warn
    ) -> StoredManifest:
        if held is not None and (
            self._fresh.get(self._now(name, tag)) == held.digest
            or not self._registry.may_write()
            or await self.is_ours(name, tag, held.digest)
        ):
            return held
        if (error := self._refusals.get(name, tag)) is None:
            waits = held is None or "slow" in self.settings.strict
            try:
                async with asyncio.timeout(None if waits else self.settings.patience.total_seconds()):
                    return await self.tasks.once((name, tag), lambda: self._look(name, tag, held))
            except TimeoutError:
                error = self._slow()
            except UpstreamError as failure:
                error = failure
            except (RegistryError, StorageError) as failure:
                # What it names now cannot be kept: there is no room for it, say.
                if held is None:
                    raise
                warn(warning(unkept(failure)))
                return held
        if held is None or error.cause in self.settings.strict:
            raise answer(error, ManifestUnknown(detail={"name": name, "tag": tag}))
        warn(warning(error))
        return held

    async def refreshed(self, name: RepositoryName, tag: Tag) -> StoredManifest:
        """What a tag names at the upstreams now, unless it is somebody's of here. Raises UpstreamError."""
        held = await self.held(name, tag)
        if held is not None and await self.is_ours(name, tag, held.digest):
            return held
        return await self.tasks.once((name, tag), lambda: self._look(name, tag, held))

    async def has_moved(self, name: RepositoryName, tag: Tag) -> bool:
        """Whether a tag names something else there, and that would count here. Raises UpstreamError."""
        held = await self.held(name, tag)
        if held is not None and await self.is_ours(name, tag, held.digest):
            return False
        there = self.name_there(name)
        head = await self.upstreams.ask(lambda one: one.head_manifest(there, tag))
        return held is None or head.digest != held.digest

    async def by_digest(self, name: RepositoryName, digest: Digest) -> StoredManifest:
        """A manifest, held or fetched. Raises ManifestUnknown, Unavailable and others."""
        return await self.held(name, digest) or await self.fetched(name, digest)

    async def fetched(self, name: RepositoryName, digest: Digest) -> StoredManifest:
        """A manifest that is not held. Raises ManifestUnknown, Unavailable and others."""
        unknown = ManifestUnknown(detail={"name": name, "digest": str(digest)})
        if (error := self._refusals.get(name, digest)) is None:
            try:
                return await self.tasks.once((name, digest), lambda: self._fetch(name, digest))
            except UpstreamError as failure:
                error = failure
        raise answer(error, unknown)

    async def _look(self, name: RepositoryName, tag: Tag, held: StoredManifest | None) -> StoredManifest:
        """Ask whether a tag has moved, and take over what it names now."""
        there = self.name_there(name)
        try:
            if held is not None:
                head = await self.upstreams.ask(lambda one: one.head_manifest(there, tag))
                if head.digest == held.digest:
                    self._fresh.put(self._now(name, tag), held.digest)
                    return held
                if head.digest is not None:
                    # What was purged here is not fetched to find out.
                    self._registry.store.blocked.refuse([head.digest])
            try:
                return await self._fetch(name, tag, EVERY_TAG if held else CREATE)
            except Exists:
                # Somebody has pushed it here meanwhile.
                return await self._door(name).manifest(tag)
        except UpstreamError as error:
            self._refusals.note(name, tag, error)
            raise

    async def _fetch(
        self, name: RepositoryName, reference: Tag | Digest, rights: TagRights = EVERY_TAG
    ) -> StoredManifest:
        there = self.name_there(name)
        if isinstance(reference, Digest):
            self._registry.store.blocked.refuse([reference])
        try:
            found = await self.upstreams.ask(lambda one: one.manifest(there, reference))
        except UpstreamError as error:
            self._refusals.note(name, reference, error)
            raise
        return await self._keep(name, reference, found, rights)

    async def _keep(
        self, name: RepositoryName, reference: Tag | Digest, found: RemoteManifest, rights: TagRights
    ) -> StoredManifest:
        self._registry.require_writable()
        store = self._registry.store
        digest = reference if isinstance(reference, Digest) else found.digest
        if not await store.manifests.exists(name, digest):
            await store.origins.note_elsewhere(name, digest)
        try:
            pushed = await self._door(name, rights).keep_manifest(reference, found.content, found.media_type)
        except (ManifestInvalid, DigestInvalid) as error:
            raise self.upstreams.lied(f"its manifest {reference} is none: {error}") from error
        if isinstance(reference, Tag):
            self._fresh.put(self._now(name, reference), pushed.digest)
        return await self._door(name).manifest(pushed.digest)

    async def held(self, name: RepositoryName, reference: Tag | Digest) -> StoredManifest | None:
        """What is held of it; what is damaged is fetched again. Raises StorageDamaged."""
        try:
            return await self._door(name).manifest(reference)
        except ManifestUnknown:
            return None
        except StorageDamaged:
            # What is the same there heals what is damaged here.
            digest = reference
            if isinstance(digest, Tag):
                digest = await self._registry.store.links.tag(name, digest)
            with suppress(UpstreamError):
                return await self._fetch(name, digest)
            raise

    async def is_ours(self, name: RepositoryName, tag: Tag, digest: Digest) -> bool:
        """Whether somebody has let the tag name that here, and it counts for more than the upstreams' tag."""
        if self.settings.precedence == "upstream":
            return False
        if await self._registry.store.history.who(name, tag, digest) == self.by:
            return False
        # What has no history was brought here by others than us, and is not overwritten either.
        self._fresh.put(self._now(name, tag), digest)
        return True

    def _now(self, name: RepositoryName, tag: Tag) -> object:
        """Under what it is remembered what a tag names: another key whenever that came to be doubted."""
        return name, tag, self._refusals.doubt(name)

    def _slow(self) -> UpstreamError:
        return UpstreamError(self.upstreams.hosts, "it has not answered yet", "slow")

    # Lists.

    async def tags(self, name: RepositoryName, warn: Warn, *, is_held: bool) -> list[Tag]:
        """The tags that the upstreams have, in order; none if they do not say and the repository `is_held`.

        Raises NameUnknown, Unavailable and others.
        """
        if (known := self._tags.get(name)) is not None:
            return known
        waits = not is_held or "slow" in self.settings.strict
        try:
            async with asyncio.timeout(None if waits else self.settings.patience.total_seconds()):
                return await self.tags_there(name)
        except TimeoutError:
            error = self._slow()
        except UpstreamError as failure:
            error = failure
        if not is_held or error.cause in self.settings.strict:
            raise answer(error, NameUnknown(detail={"name": name}))
        warn(warning(error))
        return []

    async def tags_there(self, name: RepositoryName) -> list[Tag]:
        """The tags that the upstreams have now, in order. Raises UpstreamError."""
        there = self.name_there(name)
        if (known := self._refusals.get(name, _TAGS)) is not None:
            raise known.again()

        async def look() -> list[Tag]:
            try:
                return sorted(await self.upstreams.ask_for_pages(lambda one: one.tags(there)))
            except UpstreamError as error:
                self._refusals.note(name, _TAGS, error)
                raise

        found = await self.tasks.once((name, _TAGS), look)
        self._tags.put(name, found)
        return found

    async def referrers(self, name: RepositoryName, subject: Digest, warn: Warn) -> list[Descriptor]:
        """What refers to a manifest at the upstreams, as far as they say; also where they only have tags."""
        there = self.name_there(name)
        try:
            found: Sequence[object] | None = await self.upstreams.ask_for_pages(
                lambda one: one.referrers(there, subject)
            )
            if found is None:
                # (dist-spec: Unavailable Referrers API)
                index = await self.upstreams.ask(lambda one: one.manifest(there, referrers_tag(subject)))
                found = listed(index.content)
        except UpstreamError as error:
            if error.cause != "absent":
                if error.cause in self.settings.strict:
                    raise answer(error, ManifestUnknown()) from error
                warn(warning(error))
            return []
        return sound(found)

    # What is damaged here, or lost (core: Source).

    async def manifest_again(self, name: RepositoryName, digest: Digest) -> str:
        """Put a manifest of the upstreams in the place of what lies here; says who they are."""
        try:
            await self.tasks.once((name, digest), lambda: self._fetch(name, digest))
        except UpstreamError as error:
            raise answer(error, ManifestUnknown()) from error
        return self.upstreams.hosts

    async def blob_again(self, name: RepositoryName, digest: Digest) -> str:
        """Put a blob of the upstreams in the place of what lies here; says which have given it."""
        await self._registry.store.transfers.forget(self.name, digest)
        for left in reversed(range(len(self.upstreams.each))):
            transfer = await self.blobs.transfer(name, digest)
            try:
                await transfer.settled()
                break
            except UpstreamError as error:
                # Who has lied is asked behind the others the next time.
                if error.cause != "lying" or not left:
                    raise transfer.told(error) from error
        return hosts_of(transfer.givers) or self.upstreams.hosts

    async def aclose(self) -> None:
        """End what is under way."""
        await self.tasks.aclose()

    def _door(self, name: RepositoryName, rights: TagRights = EVERY_TAG) -> Repository:
        return self._registry.repository(name, self.by, rights)


class Exists(RegistryError):
    """A tag is there that was not, and stays."""


@dataclass(frozen=True, slots=True)
class _CreateOnly:
    def refusal(self, right: TagRight, tag: Tag) -> RegistryError | None:
        """Exists, for what would move a tag."""
        return Exists(f"{tag} is there") if right == "overwrite" else None


CREATE = _CreateOnly()
