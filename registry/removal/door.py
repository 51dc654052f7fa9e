"""The door: how tags, manifests, blob links and repositories are taken away.

Each removal is a run: it is recorded, what it takes is moved to the trash, and it is marked done. A user's
delete moves links and tags, whatever their age, and never data.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from registry.errors import BlobUnknown, ManifestUnknown, RegistryError, StorageDamaged, Unsupported
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.model.names import RepositoryName, Tag
from registry.removal.intents import Intents
from registry.removal.needs import Needs
from registry.removal.trash import BY_USER
from registry.store import layout
from registry.store.store import Store
from storage.errors import AlreadyExists, NotFound

# A removal that has been open for so long is not under way any more: its process died.
ABANDONED = timedelta(minutes=10)
_RECORD_LIMIT = 64 << 20  # bytes; a link, a manifest that lies whole in one object, or what a run took


@dataclass(frozen=True, slots=True)
class _Move:
    key: str
    trash: str


class Door:
    """Removals by users in one store; `by` is who asked, for the record."""

    def __init__(self, store: Store, intents: Intents) -> None:
        self._store = store
        self._driver = store.driver
        self._effects = store.effects
        self._intents = intents
        self._needs = Needs(store, intents)

    async def remove_tag(self, name: RepositoryName, tag: Tag, by: str) -> None:
        """Take a tag away, its manifest staying. Raises ManifestUnknown."""
        try:
            digest = await self._store.links.tag(name, tag)
        except StorageDamaged:
            # What it named cannot be told any more; it can go all the same.
            digest = None
        run = self._run()
        await self._store.history.add(name, tag, None, digest, by)
        moves = [self._tag_move(name, tag, run)]
        await self._record(run, name, moves, by, done=False)
        await self._move_tag(name, tag, moves[0])
        await self._record(run, name, moves, by, done=True)

    async def remove_manifest(self, name: RepositoryName, digest: Digest, by: str) -> list[Tag]:
        """Take a manifest and every tag that names it away; those tags. Raises ManifestUnknown."""
        if not await self._store.manifests.exists(name, digest):
            raise ManifestUnknown(detail={"name": name, "digest": str(digest)})
        run = self._run()
        named = await self._tags_of(name, digest)
        moves = self._manifest_moves(name, digest, named, run)
        await self._record(run, name, moves, by, done=False)
        late = await self._take_manifest(name, digest, named, run, by)
        moves += [self._tag_move(name, tag, run) for tag in late]
        await self._record(run, name, moves, by, done=True)
        return named + late

    async def remove_layer(self, name: RepositoryName, digest: Digest, by: str) -> None:
        """Take a blob from a repository.

        Raises BlobUnknown; Unsupported (405) when a manifest of the repository refers to it, or when there
        are too many manifests to tell.
        """
        await self._store.links.layer(name, digest)
        await self._needs.refuse(name, digest)
        run = self._run()
        move = self._layer_move(name, digest, run)
        await self._record(run, name, [move], by, done=False)
        await self._mark(run, name, [move])
        if not await self._move(move):
            await self._unmark(run)
            raise BlobUnknown(detail={"name": name, "digest": str(digest)})
        try:
            # Intents first, then links: whoever is not seen in the first has its link by the second.
            if digest in await self._intents.needed(name):
                raise Unsupported("a push that needs the blob is under way; it stays")
            await self._needs.refuse(name, digest)
        except GeneratorExit:
            raise
        except BaseException:
            # Needed, or not known whether (a failing storage, a shutdown): then it was not deleted.
            await self._put_back(move)
            await self._record(run, name, [move], by, done=True)
            await self._unmark(run)
            raise
        await self._record(run, name, [move], by, done=True)
        await self._unmark(run)

    async def remove_repository(self, name: RepositoryName, by: str) -> int:
        """Take all tags, manifests and blob links of a repository away; how many of these there were.

        A push that is acknowledged meanwhile keeps what it has pushed.
        """
        run = self._run()
        named = await self._named(name)
        manifests = [digest async for digest in self._store.links.manifests(name)]
        layers = [digest async for digest in self._store.links.layers(name)]
        layer_moves = {digest: self._layer_move(name, digest, run) for digest in layers}
        moves = [self._tag_move(name, tag, run) for tag in named]
        for digest in manifests:
            # It lies in one place or the other, and hardly ever in both.
            places = self._manifest_moves(name, digest, [], run)
            moves += [place for place in places if await self._lies(place.key)]
        moves += layer_moves.values()
        await self._record(run, name, moves, by, done=False)
        for digest in manifests:
            tags = [tag for tag, target in named.items() if target == digest]
            await self._take_manifest(name, digest, tags, run, by)
        for tag, target in named.items():
            if target is None or not await self._store.manifests.exists(name, target):
                await self._move_tag(name, tag, self._tag_move(name, tag, run))
        await self._mark(run, name, list(layer_moves.values()))
        for move in layer_moves.values():
            await self._move(move)
        needed = await self._needs.of(name)
        for digest, move in layer_moves.items():
            if needed is None or digest in needed:
                await self._put_back(move)
        await self._unmark(run)
        await self._unlist(name)
        await self._record(run, name, moves, by, done=True)
        return len(named) + len(manifests) + len(layers)

    async def any_open(self) -> bool:
        """Whether a removal is under way, or died half-way."""
        return bool(await self._driver.children(layout.TRASH_OPEN, limit=1))

    async def finish_open(self, now: float) -> int:
        """Put back what removals that died half-way took and is needed; `now` by the store's own clock.

        Raises what the storage raises; those that are not finished stay open.
        """
        finished = 0
        for run in await self._driver.children(layout.TRASH_OPEN):
            key = layout.trash_open(run)
            try:
                age = now - (await self._driver.stat(key)).modified_at.timestamp()
                if age < ABANDONED.total_seconds():
                    continue
                record = json.loads(await self._driver.get(key, limit=_RECORD_LIMIT))
            except NotFound:
                continue
            name = RepositoryName(record["repository"])
            needed = await self._needs.of(name)
            for moved in record["moves"]:
                digest = layout.layer_of(moved["key"])
                if needed is None or digest in needed:
                    await self._put_back(_Move(moved["key"], moved["trash"]))
            await self._driver.delete([key])
            finished += 1
        return finished

    async def _take_manifest(
        self, name: RepositoryName, digest: Digest, named: list[Tag], run: str, by: str
    ) -> list[Tag]:
        """Move a manifest and the tags that name it to the trash; the tags that were not among `named`."""
        subject = await self._subject(name, digest)
        for tag in named:
            await self._store.history.add(name, tag, None, digest, by)
            judged = set(await self._store.history.keys(name, tag))
            # In this order: a writer whose entry was just seen, and which has not moved the tag by the time
            # that it is read here, still has its intent.
            moving = await self._intents.moving(name, tag)
            if await self._names(name, tag, digest):
                await self._move_tag(name, tag, self._tag_move(name, tag, run))
                await self._put_back_tag(name, tag, judged, moving - {digest}, digest)
        for move in self._manifest_moves(name, digest, [], run):
            await self._move(move)
        late = []
        # A push that was not seen above may have let a tag name the manifest before its link went.
        for tag in await self._tags_of(name, digest):
            if await self._store.manifests.exists(name, digest):
                break
            await self._store.history.add(name, tag, None, digest, by)
            await self._move_tag(name, tag, self._tag_move(name, tag, run))
            late.append(tag)
            if await self._store.manifests.exists(name, digest):
                with suppress(AlreadyExists):
                    await self._store.links.put_tag(name, tag, digest, if_absent=True)
        if subject is not None:
            await self._remove_referrer(name, subject, digest)
        return late

    async def _unlist(self, name: RepositoryName) -> None:
        """Take a repository without content off the lists."""
        catalog = self._store.catalog
        if await catalog.holds_content(name):
            return
        await catalog.remove(name)
        await self._driver.delete([key async for key in self._driver.walk(layout.referrers(name))])
        await self._driver.delete([layout.layers_placeholder(name)])
        if await catalog.holds_content(name):
            # Pushed to in the meantime: what stands for the new content must stand too.
            await self._store.put_placeholder(name)
            await catalog.add(name, indexed=False)

    async def _mark(self, run: str, name: RepositoryName, moves: list[_Move]) -> None:
        """Note that blob links are about to be away before it is known whether something needs them."""
        mark = {"repository": name, "moves": [{"key": move.key, "trash": move.trash} for move in moves]}
        await self._driver.put(layout.trash_open(run), json.dumps(mark).encode())

    async def _unmark(self, run: str) -> None:
        # It may come back by a power cut: whoever finds it then puts back only what is needed.
        await self._driver.delete([layout.trash_open(run)], durable=False)

    def _layer_move(self, name: RepositoryName, digest: Digest, run: str) -> _Move:
        return _Move(layout.layer_link(name, digest), f"{layout.trash_layer(name, digest)}/{run}")

    def _tag_move(self, name: RepositoryName, tag: Tag, run: str) -> _Move:
        return _Move(layout.tag_link(name, tag), f"{layout.trash_tag(name, tag)}/{run}")

    def _manifest_moves(
        self, name: RepositoryName, digest: Digest, named: list[Tag], run: str
    ) -> list[_Move]:
        return [
            *(self._tag_move(name, tag, run) for tag in named),
            _Move(layout.revision_link(name, digest), f"{layout.trash_revision(name, digest)}/{run}"),
            _Move(layout.whole_manifest(name, digest), f"{layout.trash_whole_manifest(name, digest)}/{run}"),
        ]

    def _run(self) -> str:
        return f"{BY_USER}{self._effects.unique()}"

    async def _record(
        self, run: str, name: RepositoryName, moves: list[_Move], by: str, *, done: bool
    ) -> None:
        record = {
            "repository": name,
            "by": by,
            "at": self._effects.now().isoformat(),
            "moves": [{"key": move.key, "trash": move.trash} for move in moves],
            "done": done,
        }
        # Durable also when it is only renewed: what replaces the record must not be lost and take it along.
        await self._driver.put(layout.trash_run(run), json.dumps(record).encode())

    async def _lies(self, key: str) -> bool:
        try:
            await self._driver.stat(key)
        except NotFound:
            return False
        return True

    async def _move(self, move: _Move) -> bool:
        try:
            await self._driver.copy(move.trash, move.key)
        except NotFound:
            return False
        await self._driver.delete([move.key])
        return True

    async def _put_back(self, move: _Move) -> None:
        """Undo a move. What was put back was not deleted: no trash copy may stand in the way of others."""
        try:
            content = await self._driver.get(move.trash, limit=_RECORD_LIMIT)
        except NotFound:
            return
        await self._driver.put(move.key, content)
        await self._driver.delete([move.trash])

    async def _move_tag(self, name: RepositoryName, tag: Tag, move: _Move) -> None:
        kept = None
        with suppress(NotFound):
            # Until the trash has what is taken: a push may move the tag between the two.
            while kept != (content := await self._driver.get(move.key, limit=_RECORD_LIMIT)):
                await self._driver.put(move.trash, content)
                kept = content
        # Distribution's own index first, the link that makes it a tag last.
        await self._driver.delete(await self._store.tag_keys(name, tag))

    async def _put_back_tag(
        self, name: RepositoryName, tag: Tag, judged: set[str], moving: set[Digest], removed: Digest
    ) -> None:
        """A push that moved the tag elsewhere meanwhile must not lose it by our removal."""
        for key in reversed(await self._store.history.keys(name, tag)):
            if key in judged and not moving:
                continue
            move = await self._store.history.read(key)
            if move is None or move.digest is None or move.digest == removed:
                continue
            if key not in judged or move.digest in moving:
                with suppress(AlreadyExists):
                    await self._store.links.put_tag(name, tag, move.digest, if_absent=True)
                return

    async def _tags_of(self, name: RepositoryName, digest: Digest) -> list[Tag]:
        tags = await self._store.links.tags(name)
        found = await self._effects.together(self._names(name, tag, digest) for tag in tags)
        return [tag for tag, hit in zip(tags, found, strict=True) if hit]

    async def _names(self, name: RepositoryName, tag: Tag, digest: Digest) -> bool:
        try:
            return await self._store.links.tag(name, tag) == digest
        except RegistryError:
            return False

    async def _subject(self, name: RepositoryName, digest: Digest) -> Digest | None:
        try:
            stored = await self._store.manifests.read(name, digest)
            manifest = await self._effects.aside(Manifest.parse, stored.content, stored.media_type)
        except (RegistryError, NotFound):
            # Damaged, or odder than we read: no entry of ours stands for it.
            return None
        return manifest.subject.digest if manifest.subject else None

    async def _remove_referrer(self, name: RepositoryName, subject: Digest, digest: Digest) -> None:
        entry = await self._store.referrers.descriptor(name, subject, digest)
        await self._store.referrers.remove(name, subject, digest)
        if entry is not None and await self._store.manifests.exists(name, digest):
            await self._store.referrers.put(name, subject, digest, json.loads(entry))

    async def _named(self, name: RepositoryName) -> dict[Tag, Digest | None]:
        """What each tag of the repository names; None where that cannot be read."""

        async def target(tag: Tag) -> Digest | None:
            try:
                return await self._store.links.tag(name, tag)
            except RegistryError:
                return None

        tags = await self._store.links.tags(name)
        return dict(zip(tags, await self._effects.together(target(tag) for tag in tags), strict=True))
