"""The door: how tags, manifests, blob links and repositories are taken away.

Each removal is a run: it is recorded, what it takes is moved to the trash, and it is marked done. A user's
delete moves links and tags, whatever their age, and never data.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from registry.errors import BlobUnknown, ManifestUnknown, RegistryError, StorageDamaged, Unsupported
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.tag_rights import EVERY_TAG, TagRights
from registry.removal.claims import Claims, Judged
from registry.removal.hands import Hands
from registry.removal.intents import Intents
from registry.removal.needs import Needs
from registry.removal.runs import LIMIT, Move, Runs
from registry.removal.trash import BY_USER, CACHED, Trash
from registry.store import layout, parsing
from registry.store.history import Ends
from registry.store.store import Store
from storage.contract import exists
from storage.errors import AlreadyExists, NotFound, StorageError

# A removal that has been open for so long is not under way any more: its process died.
ABANDONED = timedelta(minutes=10)
_PUSHED = "a push that needs the blob is under way; it stays"


class Door:
    """Removals by users in one store; `by` is who asked, for the record."""

    def __init__(self, store: Store, intents: Intents) -> None:
        self._store = store
        self._driver = store.driver
        self._effects = store.effects
        self.claims = Claims(store, intents)
        self._intents = intents
        self._needs = Needs(store, intents)
        self._runs = Runs(store.driver, store.effects)
        self._trash = Trash(store.driver)
        self._hands = Hands(store)

    async def remove_tag(self, name: RepositoryName, tag: Tag, by: str) -> Digest | None:
        """Take a tag away, its manifest staying; what it named, None if that is damaged.

        Raises ManifestUnknown.
        """
        digest: Digest | None
        try:
            digest = await self._store.links.tag(name, tag)
        except StorageDamaged:
            # What it named cannot be told any more; it can go all the same.
            digest = None
        run = self._runs.new(BY_USER)
        await self._store.history.add(name, tag, None, digest, by)
        moves = [self._hands.tag_move(name, tag, run)]
        await self._runs.record(run, name, moves, by, done=False)
        await self._hands.move_tag(name, tag, moves[0])
        await self._runs.record(run, name, moves, by, done=True)
        return digest

    async def remove_manifest(
        self, name: RepositoryName, digest: Digest, by: str, rights: TagRights = EVERY_TAG
    ) -> list[Tag]:
        """Take a manifest and every tag that names it away; those tags.

        Raises ManifestUnknown; what `rights` says of a tag that may not be deleted, and nothing is taken.
        """
        if not await self._store.manifests.exists(name, digest):
            raise ManifestUnknown(detail={"name": name, "digest": str(digest)})
        run = self._runs.new(BY_USER)
        named = await self._hands.tags_of(name, digest)
        _require(rights, named)
        moves = self._hands.manifest_moves(name, digest, named, run)
        await self._runs.record(run, name, moves, by, done=False)
        late = await self._take_manifest(name, digest, named, run, by, rights)
        moves += [self._hands.tag_move(name, tag, run) for tag in late]
        await self._runs.record(run, name, moves, by, done=True)
        if named or late:
            await self._runs.unmark(run)
        return named + late

    async def remove_layer(self, name: RepositoryName, digest: Digest, by: str) -> None:
        """Take a blob from a repository.

        Raises BlobUnknown; Unsupported (405) when a manifest of the repository refers to it, or when there
        are too many manifests to tell.
        """
        run = self._runs.new(BY_USER)
        move = self._layer_move(name, digest, run)
        try:
            await self._store.links.layer(name, digest)
        except BlobUnknown:
            if await self._trash.layer_key(name, digest) is None:
                raise
            await self._needs.refuse(name, digest)
            if not await self._keep_away(name, [digest], run, by):
                raise Unsupported(_PUSHED) from None
            return
        await self._needs.refuse(name, digest)
        await self._runs.record(run, name, [move], by, done=False)
        await self._runs.mark(run, name, [move])
        if not await self._hands.move(move):
            await self._runs.unmark(run)
            raise BlobUnknown(detail={"name": name, "digest": str(digest)})
        try:
            # Intents first, then links: whoever is not seen in the first has its link by the second.
            if digest in await self._intents.needed(name):
                raise Unsupported(_PUSHED)
            await self._needs.refuse(name, digest)
        except GeneratorExit:
            raise
        except BaseException:
            # Needed, or not known whether (a failing storage, a shutdown): then it was not deleted.
            await self._put_back_layer(name, digest, move)
            await self._runs.record(run, name, [move], by, done=True)
            await self._runs.unmark(run)
            raise
        await self._runs.record(run, name, [move], by, done=True)
        await self._runs.unmark(run)

    async def take_back(
        self, name: RepositoryName, digest: Digest, created: Mapping[Tag, Judged], by: str
    ) -> None:
        """Take tags away that a push has created which is refused; each as it was judged before that.

        Another push may have found one there and have been told that it stands: then it does.
        """
        if not created:
            return
        run = self._runs.new(BY_USER)
        moves = {tag: self._hands.tag_move(name, tag, run) for tag in created}
        await self._runs.record(run, name, moves.values(), by, done=False)
        await self.claims.mark(run, name, created)
        for tag, judged in created.items():
            if await self._store.links.target(name, tag) != digest or await self.claims.of(name, tag, judged):
                continue
            await self._hands.move_tag(name, tag, moves[tag])
            await self.claims.put_back(name, tag, judged)
        await self._runs.record(run, name, moves.values(), by, done=True)
        await self._runs.unmark(run)

    async def remove_repository(self, name: RepositoryName, by: str, rights: TagRights = EVERY_TAG) -> int:
        """Take all tags, manifests and blob links of a repository away; how many of these there were.

        A push that is acknowledged meanwhile keeps what it has pushed. Raises what `rights` says of a tag
        that may not be deleted, and nothing is taken.
        """
        run = self._runs.new(BY_USER)
        named = await self._hands.named(name)
        _require(rights, named)
        manifests = [digest async for digest in self._store.links.manifests(name)]
        layers = [digest async for digest in self._store.links.layers(name)]
        collected = [digest async for digest in self._trash.layers(name)]
        await self._keep_away(name, dict.fromkeys(collected), self._runs.new(BY_USER), by)
        layer_moves = {digest: self._layer_move(name, digest, run) for digest in layers}
        moves = [self._hands.tag_move(name, tag, run) for tag in named]
        for digest in manifests:
            # It lies in one place or the other, and hardly ever in both.
            places = self._hands.manifest_moves(name, digest, [], run)
            moves += [place for place in places if await exists(self._store.driver, place.key)]
        moves += layer_moves.values()
        await self._runs.record(run, name, moves, by, done=False, whole=True)
        tags: dict[Digest | None, list[Tag]] = {}
        for tag, target in named.items():
            tags.setdefault(target, []).append(tag)
        for digest in manifests:
            await self._take_manifest(name, digest, tags.get(digest, []), run, by, rights)
        taken = set(manifests)
        for tag, target in named.items():
            if target not in taken:  # it names nothing that is here, or cannot be read
                await self._take_tags(name, [tag], target, run, by)
        await self._put_back_listed(name, manifests, run)
        await self._runs.mark(run, name, list(layer_moves.values()))
        for move in layer_moves.values():
            await self._hands.move(move)
        needed = await self._needs.of(name, layer_moves)
        for digest, move in layer_moves.items():
            if needed is None or digest in needed:
                await self._put_back_layer(name, digest, move)
        await self._runs.unmark(run)
        await self._hands.unlist(name)
        await self._runs.record(run, name, moves, by, done=True, whole=True)
        return len(named) + len(manifests) + len(layers)

    async def any_open(self) -> bool:
        """Whether a removal is under way, or died half-way."""
        return bool(await self._driver.children(layout.TRASH_OPEN, limit=1))

    async def finish_open(self, now: float) -> int:
        """Put back what removals that died half-way took and is needed; `now` by the store's own clock.

        Those that cannot be finished stay open.
        """
        finished = 0
        for run in await self._driver.children(layout.TRASH_OPEN):
            key = layout.trash_open(run)
            try:
                age = now - (await self._driver.stat(key)).modified_at.timestamp()
                if age < ABANDONED.total_seconds():
                    continue
                await self._finish(run, json.loads(await self._driver.get(key, limit=LIMIT)))
            except (StorageError, RegistryError, ValueError, KeyError, TypeError):
                # One that cannot be finished now, or ever, must not keep the others waiting.
                continue
            await self._runs.unmark(run)
            finished += 1
        return finished

    async def _keep_away(self, name: RepositoryName, digests: Iterable[Digest], run: str, by: str) -> int:
        """Let what a policy took be deleted by a user as well, so that it stays away; how much that was.

        What is needed comes back: whoever took it may not have looked yet.
        """
        keys = {digest: await self._trash.layer_key(name, digest) for digest in digests}
        taken = {digest: key for digest, key in keys.items() if key is not None}
        moves = {digest: self._layer_move(name, digest, run) for digest in taken}
        if not moves:
            return 0
        await self._runs.record(run, name, moves.values(), by, done=False)
        await self._runs.mark(run, name, moves.values())
        for digest, move in moves.items():
            with suppress(NotFound):
                await self._driver.copy(move.trash, taken[digest])
        needed = await self._needs.of(name, moves)
        back = [digest for digest in moves if needed is None or digest in needed]
        for digest in back:
            await self._put_back_layer(name, digest, moves[digest])
        await self._runs.record(run, name, moves.values(), by, done=True)
        await self._runs.unmark(run)
        return len(moves) - len(back)

    async def _finish(self, run: str, record: Mapping[str, Any]) -> None:
        name = RepositoryName(record["repository"])
        moves = [Move(moved["key"], moved["trash"]) for moved in record["moves"]]
        for tag in filter(None, (parsing.tag_of(move.key) for move in moves)):
            await self.claims.put_back_newest(name, tag, frozenset(record.get("judged", ())))
        left = [move for move in moves if parsing.tag_of(move.key) is None]
        needed = await self._needs.of(name, {digest for digest in map(_moved, left) if digest is not None})
        named = set((await self._hands.named(name)).values()) - {None}
        back = [move for move in left if needed is None or _moved(move) in needed | named]
        if run.startswith(CACHED) or any(parsing.manifest_of(move.key) for move in back):
            # What it lists, and what refers to it, went with it; and what is evicted may have been pinned.
            back = left
        for move in back:
            if digest := parsing.layer_of(move.key):
                await self._put_back_layer(name, digest, move)
            else:
                await self._hands.put_back(move)
        for digest in filter(None, (parsing.manifest_of(move.key) for move in back)):
            manifest = await self._hands.manifest(name, digest)
            if manifest is None:
                continue
            # What a collector took while it was away.
            await self._trash.put_back_needs(name, (one.digest for one in manifest.references))
            if manifest.subject is not None:
                descriptor = manifest.referrer_descriptor(digest)
                await self._store.referrers.put(name, manifest.subject.digest, digest, descriptor)

    async def _take_manifest(
        self, name: RepositoryName, digest: Digest, named: list[Tag], run: str, by: str, rights: TagRights
    ) -> list[Tag]:
        """Move a manifest and the tags that name it to the trash; the tags that were not among `named`."""
        manifest = await self._hands.manifest(name, digest)
        await self._take_tags(name, named, digest, run, by)
        # A push that was not seen above may have let a tag name the manifest before its link went.
        found = await self._take_link(name, digest, run, rights)
        late = []
        for tag in found:
            if await self._store.manifests.exists(name, digest):
                break
            await self._take_tags(name, [tag], digest, run, by)
            late.append(tag)
            if await self._store.manifests.exists(name, digest):
                with suppress(AlreadyExists):
                    await self._store.links.put_tag(name, tag, digest, if_absent=True)
        if manifest is not None and manifest.subject is not None:
            await self._hands.remove_referrer(name, manifest.subject.digest, digest)
        return late

    async def _take_tags(
        self, name: RepositoryName, tags: Sequence[Tag], target: Digest | None, run: str, by: str
    ) -> None:
        """Move those of the tags to the trash that still name `target` (None: what cannot be read)."""
        judged: dict[Tag, Judged] = {}
        for tag in tags:
            await self._store.history.add(name, tag, None, target, by, Ends.SAME)
            judged[tag] = await self.claims.judge(name, tag)
        if judged:
            await self.claims.mark(run, name, judged)
        for tag in tags:
            if await self._store.links.target(name, tag) == target:
                await self._hands.move_tag(name, tag, self._hands.tag_move(name, tag, run))
                await self.claims.put_back(name, tag, judged[tag], removed=target)

    async def _take_link(
        self, name: RepositoryName, digest: Digest, run: str, rights: TagRights
    ) -> list[Tag]:
        """Move a manifest's link to the trash; the tags that name it after that, and may be deleted.

        If one names it that may not be deleted, the link comes back: the push that let it do so counts as
        having come after this removal, and all that it needs is there.
        """
        while True:
            moved = [
                move
                for move in self._hands.manifest_moves(name, digest, [], run)
                if await self._hands.move(move)
            ]
            found = await self._hands.tags_of(name, digest)
            kept = [tag for tag in found if rights.refusal("delete", tag) is not None]
            if not kept or not moved:
                # Who else has moved the link looks at its tags, too.
                return [tag for tag in found if tag not in kept]
            for move in moved:
                await self._hands.put_back(move)
            # Somebody who may have deleted the tag, and with it a manifest whose link was away.
            if any([await self._store.links.target(name, tag) == digest for tag in kept]):
                return []

    async def _put_back_layer(self, name: RepositoryName, digest: Digest, move: Move) -> None:
        """Put a blob's link back, and its bytes: a collector may have looked while that was away."""
        await self._hands.put_back(move)
        with suppress(RegistryError):
            await self._trash.put_back_data(await self._store.links.layer(name, digest))

    async def _put_back_listed(self, name: RepositoryName, taken: Iterable[Digest], run: str) -> None:
        """Put back those of a repository's manifests that are listed by what was pushed meanwhile."""
        left = set(taken)
        while listed := left & (await self._needs.listed(name, left) or set()):
            left -= listed
            for digest in sorted(listed, key=str):
                for move in self._hands.manifest_moves(name, digest, [], run):
                    await self._hands.put_back(move)
                manifest = await self._hands.manifest(name, digest)
                if manifest is not None and manifest.subject is not None:
                    descriptor = manifest.referrer_descriptor(digest)
                    await self._store.referrers.put(name, manifest.subject.digest, digest, descriptor)

    def _layer_move(self, name: RepositoryName, digest: Digest, run: str) -> Move:
        return Move(layout.layer_link(name, digest), f"{layout.trash_layer(name, digest)}/{run}")


def _moved(move: Move) -> Digest | None:
    return parsing.layer_of(move.key) or parsing.manifest_of(move.key)


def _require(rights: TagRights, tags: Iterable[Tag]) -> None:
    """Raises the refusal of the first tag that may not be deleted."""
    for tag in tags:
        refusal = rights.refusal("delete", tag)
        if refusal is not None:
            raise refusal
