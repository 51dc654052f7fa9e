"""One namespace: what it holds is given, the rest is fetched, and tags are as fresh as was set."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from registry.core.registry import Registry, Repository
from registry.errors import (
    BlobUnknown,
    DigestInvalid,
    ManifestInvalid,
    ManifestUnknown,
    RegistryError,
    StorageDamaged,
    TooManyRequests,
)
from registry.mirror.descriptors import Descriptor, listed, sound
from registry.mirror.failures import answer, warning
from registry.mirror.fetching import Fetching
from registry.mirror.memory import Memory
from registry.mirror.settings import MirrorSettings
from registry.mirror.transfer import Transfer
from registry.mirror.upstreams import Upstreams
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag, referrers_tag
from registry.model.tag_rights import EVERY_TAG, TagRight, TagRights
from registry.remote.errors import UpstreamError
from registry.remote.upstream import RemoteManifest
from registry.store.manifests import StoredManifest
from storage.errors import StorageError

T = TypeVar("T")
Warn = Callable[[str], None]

_MOST_TRANSFERS = 256
_LIBRARY = "library/"
_TAG_LISTS = 64


class Mirror:
    """A namespace in one process; `by` is who its content is said to be from in the history of tags."""

    def __init__(
        self,
        settings: MirrorSettings,
        registry: Registry,
        upstreams: Upstreams,
        *,
        who: str,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.settings = settings
        self.name = RepositoryName(settings.name)
        self.upstreams = upstreams
        self._registry = registry
        self.by = f"mirror:{self.name}"
        self._fetching = Fetching(
            registry,
            self.name,
            upstreams,
            self.name_there,
            who=who,
            by=self.by,
            clock=clock,
            sleep=sleep,
            bytes_per_second=settings.bytes_per_second,
        )
        self._transfers: dict[Digest, Transfer] = {}
        self._tasks: dict[object, asyncio.Task[Any]] = {}
        # What each tag names, as its upstream has said lately, or somebody here for good.
        self._fresh = Memory[Digest](settings.fresh_for.total_seconds(), clock)
        self._absent = Memory[UpstreamError](settings.absent_for.total_seconds(), clock)
        self._tags = Memory[list[Tag]](settings.fresh_for.total_seconds(), clock, _TAG_LISTS)

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
        held = await self._held(name, tag)
        key = (name, tag)
        if held is not None and (
            self._fresh.get(key) == held.digest
            or not self._registry.may_write()
            or await self.is_ours(name, tag, held.digest)
        ):
            return held
        if (error := self._absent.get(key)) is None:
            looking = asyncio.shield(self._once(key, lambda: self._look(name, tag, held)))
            waits = held is None or "slow" in self.settings.strict
            try:
                async with asyncio.timeout(None if waits else self.settings.patience.total_seconds()):
                    return await looking
            except TimeoutError:
                hosts = ", ".join(upstream.host for upstream in self.upstreams.each)
                error = UpstreamError(hosts, "it has not answered yet", "slow")
            except UpstreamError as failure:
                error = failure
            except (RegistryError, StorageError) as failure:
                # What it names now cannot be kept: there is no room for it, say.
                if held is None:
                    raise
                warn(warning(failure))
                return held
        if held is None or error.cause in self.settings.strict:
            raise answer(error, ManifestUnknown(detail={"name": name, "tag": tag}))
        warn(warning(error))
        return held

    async def refreshed(self, name: RepositoryName, tag: Tag) -> StoredManifest:
        """What a tag names at the upstreams now, unless it is somebody's of here. Raises UpstreamError."""
        held = await self._held(name, tag)
        if held is not None and await self.is_ours(name, tag, held.digest):
            return held
        return await asyncio.shield(self._once((name, tag), lambda: self._look(name, tag, held)))

    async def has_moved(self, name: RepositoryName, tag: Tag) -> bool:
        """Whether a tag names something else there, and that would count here. Raises UpstreamError."""
        held = await self._held(name, tag)
        if held is not None and await self.is_ours(name, tag, held.digest):
            return False
        there = self.name_there(name)
        head = await self.upstreams.ask(lambda one: one.head_manifest(there, tag))
        return held is None or head.digest != held.digest

    async def by_digest(self, name: RepositoryName, digest: Digest) -> StoredManifest:
        """A manifest, held or fetched. Raises ManifestUnknown, Unavailable and others."""
        held = await self._held(name, digest)
        if held is not None:
            return held
        unknown = ManifestUnknown(detail={"name": name, "digest": str(digest)})
        key = (name, digest)
        if (error := self._absent.get(key)) is None:
            try:
                return await asyncio.shield(self._once(key, lambda: self._fetch(name, digest)))
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
                    self._fresh.put((name, tag), held.digest)
                    return held
            try:
                return await self._fetch(name, tag, EVERY_TAG if held else CREATE)
            except Exists:
                # Somebody has pushed it here meanwhile.
                return await self._door(name).manifest(tag)
        except UpstreamError as error:
            if error.cause == "absent":
                self._absent.put((name, tag), error)
            raise

    async def _fetch(
        self, name: RepositoryName, reference: Tag | Digest, rights: TagRights = EVERY_TAG
    ) -> StoredManifest:
        there = self.name_there(name)
        try:
            found = await self.upstreams.ask(lambda one: one.manifest(there, reference))
        except UpstreamError as error:
            if error.cause == "absent":
                self._absent.put((name, reference), error)
            raise
        return await self._keep(name, reference, found, rights)

    async def _keep(
        self, name: RepositoryName, reference: Tag | Digest, found: RemoteManifest, rights: TagRights
    ) -> StoredManifest:
        try:
            pushed = await self._door(name, rights).keep_manifest(reference, found.content, found.media_type)
        except (ManifestInvalid, DigestInvalid) as error:
            hosts = ", ".join(upstream.host for upstream in self.upstreams.each)
            failure = UpstreamError(hosts, f"its manifest {reference} is none: {error}", "lying")
            self.upstreams.failed(failure)
            raise failure from error
        if isinstance(reference, Tag):
            self._fresh.put((name, reference), pushed.digest)
        return await self._door(name).manifest(pushed.digest)

    async def _held(self, name: RepositoryName, reference: Tag | Digest) -> StoredManifest | None:
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
        history = self._registry.store.history
        for entry in reversed(await history.keys(name, tag)):
            move = await history.read(entry)
            if move is not None and move.digest == digest:
                if move.by == self.by:
                    return False
                break
        # What has no history was brought here by others than us, and is not overwritten either.
        self._fresh.put((name, tag), digest)
        return True

    # Blobs.

    async def blob_size(self, name: RepositoryName, digest: Digest) -> int:
        """How many bytes a blob has that is not held. Raises BlobUnknown, Unavailable and others."""
        key = (name, digest, "blob")
        if (error := self._absent.get(key)) is None:
            try:
                there = self.name_there(name)
                return await self.upstreams.ask(lambda one: one.head_blob(there, digest))
            except UpstreamError as failure:
                error = failure
                if error.cause == "absent":
                    self._absent.put(key, error)
        raise answer(error, BlobUnknown(detail={"name": name, "digest": str(digest)}))

    async def transfer(self, name: RepositoryName, digest: Digest) -> Transfer:
        """A blob that is not held, on its way; whose size is known. Raises BlobUnknown and others."""
        unknown = BlobUnknown(detail={"name": name, "digest": str(digest)})
        if (known := self._absent.get((name, digest, "blob"))) is not None:
            raise answer(known, unknown)
        transfer = self._transfers.get(digest)
        if transfer is None or name not in transfer.repositories:
            shared = transfer is not None or await self._registry.store.transfers.is_marked(self.name, digest)
            if shared:
                # Others have it from there; that this repository has it too, its upstream has to say.
                await self.blob_size(name, digest)
            transfer = self._transfers.get(digest) or self._begin(name, digest)
            transfer.repositories.add(name)
        try:
            await transfer.size()
        except UpstreamError as error:
            raise answer(error, unknown) from error
        return transfer

    def _begin(self, name: RepositoryName, digest: Digest) -> Transfer:
        if len(self._transfers) >= _MOST_TRANSFERS:
            raise TooManyRequests(
                f"{_MOST_TRANSFERS} blobs are on their way already; try again shortly",
                headers={"Retry-After": "10"},
            )
        transfer = Transfer(self._registry.store, self.name, digest)
        self._transfers[digest] = transfer

        async def bring() -> None:
            try:
                await self._fetching.bring(transfer, name)
            except (UpstreamError, RegistryError, StorageError) as error:
                if isinstance(error, UpstreamError) and error.cause == "absent":
                    self._absent.put((name, digest, "blob"), error)
                transfer.fail(error)
            finally:
                if not transfer.is_over:
                    transfer.fail(UpstreamError(str(self.name), "the registry ends", "unreachable"))
                del self._transfers[digest]

        self._start(transfer, bring())
        return transfer

    # Lists.

    async def tags(self, name: RepositoryName, warn: Warn) -> list[Tag]:
        """The tags that the upstreams have, none if they do not say. Raises what is `strict`."""
        if (known := self._tags.get(name)) is not None:
            return known
        try:
            return await self.tags_there(name)
        except UpstreamError as error:
            if error.cause == "absent":
                return []
            if error.cause in self.settings.strict:
                raise answer(error, ManifestUnknown()) from error
            warn(warning(error))
            return []

    async def tags_there(self, name: RepositoryName) -> list[Tag]:
        """The tags that the upstreams have now. Raises UpstreamError."""
        there = self.name_there(name)
        found = await asyncio.shield(
            self._once((name, "tags"), lambda: self.upstreams.ask(lambda one: one.tags(there)))
        )
        self._tags.put(name, found)
        return found

    async def referrers(self, name: RepositoryName, subject: Digest, warn: Warn) -> list[Descriptor]:
        """What refers to a manifest at the upstreams, as far as they say; also where they only have tags."""
        there = self.name_there(name)
        try:
            found: Sequence[object] | None = await self.upstreams.ask(
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

    # Work.

    @property
    def under_way(self) -> int:
        """How many blobs are being fetched, or followed."""
        return len(self._transfers)

    async def aclose(self) -> None:
        """End what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _once(self, key: object, work: Callable[[], Awaitable[T]]) -> asyncio.Task[T]:
        """The work, or what of it is under way; it goes on when those who wait for it leave."""
        task = self._tasks.get(key)
        if task is None:

            async def run() -> T:
                return await work()

            task = self._start(key, run())
        return task

    def _start(self, key: object, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks[key] = task

        def ended(task: asyncio.Task[T]) -> None:
            del self._tasks[key]
            if not task.cancelled():
                # Those who waited have seen it, if any were left.
                with suppress(Exception):
                    task.exception()

        task.add_done_callback(ended)
        return task

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
