"""What a policy lets go: tags that no rule keeps, and manifests that no tag leads to.

Unlike a user's delete it must not overtake anybody: what a push does meanwhile, or has done since the policy
looked, stands. Each step stands in ARCHITECTURE.md, "Removing things".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from registry.errors import ManifestUnknown
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.removal.claims import Claims, state_of
from registry.removal.hands import Hands
from registry.removal.intents import Intents
from registry.removal.needs import Needs
from registry.removal.runs import Move, Runs
from registry.removal.trash import BY_POLICY, CACHED, Trash
from registry.store.history import Ends
from registry.store.store import Store
from storage.contract import exists


async def _nothing() -> set[Digest]:
    return set()


class Releasing:
    """Removals by a policy in one store; `by` is which, for the record.

    What is `cached` comes from elsewhere again, and so does not stay in the trash for long.
    """

    def __init__(self, store: Store, intents: Intents, by: str, *, cached: bool = False) -> None:
        self._store = store
        self._by = by
        self._prefix = CACHED if cached else BY_POLICY
        self._claims = Claims(store, intents)
        self._hands = Hands(store)
        self._needs = Needs(store, intents)
        self._runs = Runs(store.driver, store.effects)
        self._trash = Trash(store.driver)

    async def release_tag(
        self, name: RepositoryName, tag: Tag, digest: Digest, history: int, why: str = ""
    ) -> bool:
        """Take a tag away that names `digest`; False if anything has been pushed to it since it was judged.

        `history` is what its history was then (`state_of`), which was read before the tag; `why` is for the
        record.
        """
        judged = await self._claims.judge(name, tag)
        if state_of(judged.entries) != history or judged.moving:
            return False
        if await self._store.links.target(name, tag) != digest:
            return False
        run = self._runs.new(self._prefix)
        move = self._hands.tag_move(name, tag, run)
        own = await self._store.history.add(name, tag, None, digest, self._by, Ends.NONE)
        await self._runs.record(run, name, [move], self._by, done=False, why=why)
        # If we die behind the next step, somebody has to do the one after that.
        await self._runs.mark(run, name, [move], {*judged.entries, own})
        await self._hands.move_tag(name, tag, move)
        # Also where it was the same manifest, pushed once more: that push was told that the tag stands.
        await self._claims.put_back(name, tag, judged)
        await self._runs.record(run, name, [move], self._by, done=True, why=why)
        await self._runs.unmark(run)
        return await self._store.links.target(name, tag) is None

    async def release_manifests(
        self,
        name: RepositoryName,
        judged: Mapping[Digest, float],
        kept: Callable[[], Awaitable[set[Digest]]] = _nothing,
        why: str = "",
    ) -> set[Digest]:
        """Take manifests away that nothing led to when that was looked at; those that are gone now.

        Each was given to the repository at a time (s), by the store's clock; one that was since, stays, and
        so does one that cannot be read. They come in the order in which they are to go. What is `kept` for
        another reason is asked when they are away. `why` is for the record.
        """
        run = self._runs.new(self._prefix)
        taken: dict[Digest, _Taken] = {}
        for digest in judged:
            manifest = await self._hands.manifest(name, digest)
            places = self._hands.manifest_moves(name, digest, [], run)
            moves = [move for move in places if await exists(self._store.driver, move.key)]
            if manifest is not None and moves:
                needs = tuple(dict.fromkeys(one.digest for one in manifest.references))
                subject = None if manifest.subject is None else manifest.subject.digest
                taken[digest] = _Taken(moves, needs, subject)
        if not taken:
            return set()
        all_moves = [move for one in taken.values() for move in one.moves]
        await self._runs.record(run, name, all_moves, self._by, done=False, why=why)
        # While it is marked, whoever asks for one of them finds it in the trash.
        await self._runs.mark(run, name, all_moves)
        left = set[Digest]()
        for digest, one in taken.items():
            if not await self._is_as_judged(name, digest, judged[digest]):
                continue
            left.add(digest)
            for move in one.moves:
                await self._hands.move(move)
        while back := await self._needed(name, left, taken) | left & await kept():
            for digest in sorted(back):
                for move in taken[digest].moves:
                    await self._hands.put_back(move)
                # A collector may have looked while it was away.
                await self._trash.put_back_needs(name, taken[digest].needs)
            left -= back
        for digest in sorted(left):
            if (subject := taken[digest].subject) is not None:
                await self._hands.remove_referrer(name, subject, digest)
        await self._runs.record(run, name, all_moves, self._by, done=True, why=why)
        await self._runs.unmark(run)
        return left

    async def release_repository(self, name: RepositoryName) -> bool:
        """Take a repository off the lists that has nothing in it; False where something is in it by then."""
        await self._hands.unlist(name)
        return not await self._store.catalog.is_listed(name)

    async def _is_as_judged(self, name: RepositoryName, digest: Digest, written: float) -> bool:
        # A push between this look and the next step is missed: nothing can be removed on condition.
        try:
            return await self._store.manifests.written_at(name, digest) == written
        except ManifestUnknown:
            return False

    async def _needed(
        self, name: RepositoryName, left: Collection[Digest], taken: Mapping[Digest, _Taken]
    ) -> set[Digest]:
        """Which of those taken are needed: by a push, a tag, a manifest, or for a subject that stays."""
        # Intents first, then links: whoever is not seen in the first has its link by the second.
        needed = await self._needs.of(name, left)
        if needed is None:
            return set(left)
        back = set(left) & (needed | set((await self._hands.named(name)).values()))
        for digest in set(left) - back:
            subject = taken[digest].subject
            if subject is not None and await self._store.manifests.exists(name, subject):
                back.add(digest)
        return back


@dataclass(frozen=True, slots=True)
class _Taken:
    """A manifest that was taken: what moves it, what it refers to, and its subject."""

    moves: list[Move]
    needs: tuple[Digest, ...]
    subject: Digest | None
