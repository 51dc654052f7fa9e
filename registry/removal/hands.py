"""Hands: the single steps by which links and tags go to the trash and come back from there."""

from __future__ import annotations

import json
from contextlib import suppress

from registry.errors import RegistryError
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.model.names import RepositoryName, Tag
from registry.removal.runs import LIMIT, Move
from registry.removal.trash import BY_USER
from registry.store import layout
from registry.store.store import Store
from storage.errors import NotFound


class Hands:
    """Whatever takes links away in one store, takes them with these."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._driver = store.driver
        self._effects = store.effects

    async def move(self, move: Move) -> bool:
        """Move an object to the trash; False when it was not there."""
        try:
            await self._driver.copy(move.trash, move.key)
        except NotFound:
            return False
        await self._driver.delete([move.key])
        return True

    async def put_back(self, move: Move) -> None:
        """Undo a move. What was put back was not deleted: no trash copy may stand in the way of others.

        That of a policy stands in nobody's way, and stays: the one who made it may be slow, and not dead.
        """
        try:
            content = await self._driver.get(move.trash, limit=LIMIT)
        except NotFound:
            return
        await self._driver.put(move.key, content)
        if move.trash.rpartition("/")[2].startswith(BY_USER):
            await self._driver.delete([move.trash])

    async def move_tag(self, name: RepositoryName, tag: Tag, move: Move) -> None:
        """Move a tag to the trash, whatever it names by then."""
        kept = None
        with suppress(NotFound):
            # Until the trash has what is taken: a push may move the tag between the two.
            while kept != (content := await self._driver.get(move.key, limit=LIMIT)):
                await self._driver.put(move.trash, content)
                kept = content
        # Distribution's own index first, the link that makes it a tag last.
        await self._driver.delete(await self._store.tag_keys(name, tag))

    async def tags_of(self, name: RepositoryName, digest: Digest) -> list[Tag]:
        """The tags that name a manifest."""
        return [tag for tag, target in (await self.named(name)).items() if target == digest]

    async def manifest(self, name: RepositoryName, digest: Digest) -> Manifest | None:
        """A manifest of the repository; None when it is not there or cannot be read."""
        try:
            return await self._store.manifests.parsed(name, digest)
        except (RegistryError, NotFound):
            # Damaged, or odder than we read: no entry of ours stands for it.
            return None

    async def remove_referrer(self, name: RepositoryName, subject: Digest, digest: Digest) -> None:
        """Take a manifest off the list of those that refer to `subject`, unless it is there again."""
        entry = await self._store.referrers.descriptor(name, subject, digest)
        await self._store.referrers.remove(name, subject, digest)
        if entry is not None and await self._store.manifests.exists(name, digest):
            await self._store.referrers.put(name, subject, digest, json.loads(entry))

    def tag_move(self, name: RepositoryName, tag: Tag, run: str) -> Move:
        """What moves a tag."""
        return Move(layout.tag_link(name, tag), f"{layout.trash_tag(name, tag)}/{run}")

    def manifest_moves(self, name: RepositoryName, digest: Digest, named: list[Tag], run: str) -> list[Move]:
        """What moves the tags that name a manifest, and the manifest, in whichever place it lies."""
        return [
            *(self.tag_move(name, tag, run) for tag in named),
            Move(layout.revision_link(name, digest), f"{layout.trash_revision(name, digest)}/{run}"),
            Move(layout.whole_manifest(name, digest), f"{layout.trash_whole_manifest(name, digest)}/{run}"),
        ]

    async def named(self, name: RepositoryName) -> dict[Tag, Digest | None]:
        """What each tag of the repository names; None where that cannot be read."""
        tags = await self._store.links.tags(name)
        named = await self._effects.together(self._store.links.target(name, tag) for tag in tags)
        return dict(zip(tags, named, strict=True))

    async def unlist(self, name: RepositoryName) -> None:
        """Take a repository without content off the lists."""
        catalog = self._store.catalog
        if await catalog.holds_content(name):
            return
        await catalog.remove(name)
        # Neither shows once the repository is off the list, so it does no harm if a power cut brings it back.
        derived = [key async for key in self._driver.walk(layout.referrers(name))]
        await self._driver.delete([*derived, layout.layers_placeholder(name)], durable=False)
        if await catalog.holds_content(name):
            # Pushed to in the meantime: what stands for the new content must stand too.
            await self._store.put_placeholder(name)
            await catalog.add(name, indexed=False)
