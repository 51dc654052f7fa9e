"""How pushes let tags name manifests: each within what the pusher may do to that tag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from registry.errors import ManifestUnknown, RegistryError, StorageDamaged
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.tag_rights import TagRight, TagRights
from registry.removal.claims import Judged
from registry.removal.door import Door
from registry.store.store import Store
from storage.errors import AlreadyExists


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of one push that is allowed, by what the pusher may do to them.

    `fixed` ones may be created and, with its refusal, not moved. `movable` ones may be moved, and created
    unless there is a refusal of that. A tag that is in neither names the manifest already.
    """

    fixed: Mapping[Tag, RegistryError]
    movable: Mapping[Tag, RegistryError | None]


class Tagging:
    """The tags of all repositories, as pushes set them."""

    def __init__(self, store: Store, door: Door) -> None:
        self._store = store
        self._door = door

    async def allow(
        self, name: RepositoryName, digest: Digest, tags: Sequence[Tag], rights: TagRights
    ) -> Tags:
        """Look at the tags before anything is written. Raises what `rights` says of the first refused one."""
        fixed: dict[Tag, RegistryError] = {}
        movable: dict[Tag, RegistryError | None] = {}
        for tag in tags:
            create, overwrite = rights.refusal("create", tag), rights.refusal("overwrite", tag)
            if create is not None or overwrite is not None:
                needed = await self._needed(name, tag, digest)
                refusal = {"create": create, "overwrite": overwrite, None: None}[needed]
                if refusal is not None:
                    raise refusal
            if overwrite is None:
                movable[tag] = create
            elif create is None:
                fixed[tag] = overwrite
        # In one order whoever asks: of two that want the same tags, one gets the first and then all of them.
        return Tags(dict(sorted(fixed.items())), movable)

    async def set(
        self, name: RepositoryName, digest: Digest, tags: Tags, by: str
    ) -> dict[Tag, Digest | None]:
        """Let the tags name the manifest, whose link stands; what each named before.

        Raises the refusal of a tag that somebody else has created meanwhile, or deleted; what was created
        here is taken back then, and nothing was moved.
        """
        history, links = self._store.history, self._store.links
        for tag, refusal in tags.movable.items():
            # Time has passed since that was allowed. It can still be deleted between this look and the move.
            if refusal is not None and await self._needed(name, tag, digest) == "create":
                raise refusal
        replaced = await self._create(name, digest, tags.fixed, by)
        for tag, before in replaced.items():
            if before == digest:
                try:
                    # Whoever let it name the manifest may be about to make that durable, or to take it back.
                    await links.put_tag(name, tag, digest, if_absent=True)
                except AlreadyExists:
                    # It was moved since we have seen it, by somebody who may.
                    continue
            # Only now, when this push is not refused any more: an entry says that the tag is somebody's.
            await history.add(name, tag, digest, before, by)
        for tag in tags.movable:
            replaced[tag] = await self._named(name, tag)
            await history.add(name, tag, digest, replaced[tag], by)
            await links.put_tag(name, tag, digest)
        return replaced

    async def restore(self, name: RepositoryName, digest: Digest, tags: Tags) -> None:
        """Create again what a remover has taken that did not see the push.

        What names something else by now was moved after us, or deleted and then created by somebody else.
        What may not be created and is gone was deleted after us, or the remover sees to it.
        """
        creatable = [tag for tag, refusal in tags.movable.items() if refusal is None]
        for tag in (*tags.fixed, *creatable):
            if await self._named(name, tag) is None:
                with suppress(AlreadyExists):
                    await self._store.links.put_tag(name, tag, digest, if_absent=True)

    async def _create(
        self, name: RepositoryName, digest: Digest, fixed: Mapping[Tag, RegistryError], by: str
    ) -> dict[Tag, Digest | None]:
        """Create those of the tags that do not name the manifest, all or none; what each named before."""
        before: dict[Tag, Digest | None] = {}
        created: dict[Tag, Judged] = {}
        for tag, refusal in fixed.items():
            # To be looked at before the tag is: only of several can one have to be taken back.
            judged = await self._door.claims.judge(name, tag) if len(fixed) > 1 else None
            if await self._named(name, tag) == digest:
                before[tag] = digest
                continue
            try:
                await self._store.links.put_tag(name, tag, digest, if_absent=True)
            except AlreadyExists:
                await self._door.take_back(name, digest, created, by)
                raise refusal from None
            before[tag] = None
            if judged is not None:
                created[tag] = judged
        return before

    async def _needed(self, name: RepositoryName, tag: Tag, digest: Digest) -> TagRight | None:
        """The right that it takes to let the tag name the manifest, as things stand; None if it does."""
        try:
            named = await self._store.links.tag(name, tag)
        except ManifestUnknown:
            return "create"
        except StorageDamaged:
            # What it names cannot be told; it is there all the same.
            return "overwrite"
        return None if named == digest else "overwrite"

    async def _named(self, name: RepositoryName, tag: Tag) -> Digest | None:
        try:
            return await self._store.links.tag(name, tag)
        except (ManifestUnknown, StorageDamaged):
            return None
