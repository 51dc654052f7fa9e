"""The collector's hands: they take what nothing needs, look again, and put back what is needed after all.

What is taken lies in the trash, and is destroyed nowhere but there. Each step, and what it is there for,
stands in ARCHITECTURE.md, "Removing things".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import chain

from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.removal.cached import Cached
from registry.removal.intents import Intents
from registry.removal.mark import (
    AT_ONCE,
    Found,
    Mark,
    Needed,
    Step,
    Trouble,
    handfuls,
    linked_of,
    short,
    shut,
    walked_past,
)
from registry.removal.needs import Needs
from registry.removal.runs import LIMIT, Move, Run, Runs, alike
from registry.removal.tally import Removal, Taken, Tally
from registry.removal.trash import BY_POLICY, CACHED, Trash, why_taken
from registry.store import layout, parsing
from registry.store.store import Store
from storage.contract import ObjectInfo, exists
from storage.errors import Forbidden, NotFound

BY = "collection"
UNNEEDED, UNLINKED = "needed by no manifest", "no repository links to it"
_MOVES = 1000  # of data in one record, or of removals that are destroyed together
_BATCH = 20_000  # between two looks: at all manifests of a repository, at all links of the store


class Collector:
    """Takes from one store what is older than `grace`, by the store's own clock, whose time `now` (s) is.

    `step` is called between handfuls of work. Nothing is written in a `dry_run`.
    """

    def __init__(
        self, store: Store, *, now: float, grace: timedelta, step: Step, dry_run: bool = False
    ) -> None:
        self._store = store
        self._driver = store.driver
        self._effects = store.effects
        self._intents = Intents(store.driver, store.effects, remembers=True)
        self._trash = Trash(store.driver)
        self._runs = Runs(store.driver, store.effects)
        self.now = now
        self._grace = grace
        self._step = step
        self._dry_run = dry_run
        self._needs = Needs(store, self._intents)
        self._cached = Cached(store, now=now, step=step)
        self.mark = Mark(store, self._trash)
        self.strays: list[Trouble] = []
        self.tally = Tally()
        # What the storage does not let go, such as the files of another user; told among the strays.
        self._refused: set[str] = set()

    async def take_links(self, repository: Found, needed: Needed) -> Taken:
        """Take the blob links of a repository that no manifest of it needs; the others hold on to their data.

        `needed` is what came of following its links.
        """
        taken = Taken()
        gone: set[Digest] = set()
        if repository.name is None:
            self.tally.unread += len(repository.layers)
        else:
            async for digests, some in self._unneeded_links(repository, repository.name, needed):
                gone |= digests
                taken.add(some)
        self.mark.hold(repository, needed, gone)
        return taken

    async def _unneeded_links(
        self, repository: Found, name: RepositoryName, needed: Needed
    ) -> AsyncIterator[tuple[set[Digest], Taken]]:
        layers = repository.layers
        if needed.troubles:
            self.tally.unread += len(layers)
            return
        needed.need(short(digest) for digest in await self._intents.needed(name))
        claimed = sum(map(needed.needs, layers)) if needed.digests else 0
        await self.mark.read(name, repository.revisions, needed, self._step, followed=True)
        candidates = [digest for digest in layers if not needed.needs(digest)]
        if candidates and not needed.troubles:
            try:
                whole = [digest async for digest in self._store.links.whole_manifests(name)]
            except Forbidden as error:
                needed.troubles.append(shut(name, error))
                self.tally.unread += len(layers)
                return
            await self.mark.read(name, whole, needed, self._step)
        if needed.troubles:
            self.tally.unread += len(layers)
            return
        unneeded = [digest for digest in candidates if not needed.needs(digest)]
        self.tally.claimed += claimed
        self.tally.needed += len(layers) - len(unneeded) - claimed
        for some in handfuls(unneeded, _BATCH):
            infos = await self._old([layout.layer_link(name, digest) for digest in some])
            old = [digest for digest, info in zip(some, infos, strict=True) if info is not None]
            yield set(), Taken(kept_young=len(some) - len(old))
            for prefix, part in (await self._parted(name, old)).items():
                yield await self._take_links(name, part, needed, prefix)

    async def _parted(
        self, name: RepositoryName | None, digests: Sequence[Digest]
    ) -> dict[str, list[Digest]]:
        """Blobs of a repository, or (None) of none, by how the runs are to be called that take them."""
        if not digests:
            return {}
        cached = await (self._cached.data(digests) if name is None else self._cached.links(name, digests))
        parts: dict[str, list[Digest]] = {}
        for digest in digests:
            parts.setdefault(CACHED if digest in cached else BY_POLICY, []).append(digest)
        return parts

    async def _take_links(
        self, name: RepositoryName, digests: Sequence[Digest], needed: Needed, prefix: str
    ) -> tuple[set[Digest], Taken]:
        why = why_taken(prefix, UNNEEDED)
        if self._dry_run:
            self.tally.would_take(name, ((digest, 0) for digest in digests), why)
            return set(digests), Taken(len(digests))
        run = self._runs.new(prefix)
        moves = {
            digest: Move(layout.layer_link(name, digest), f"{layout.trash_layer(name, digest)}/{run}")
            for digest in digests
        }
        await self._runs.record(run, name, moves.values(), BY, done=False, why=why)
        await self._runs.mark(run, name, moves.values())
        await self._move(moves.values())
        await self._look_again(name, needed)
        stays = {digest for digest, move in moves.items() if move.key in self._refused}
        back = {digest for digest in moves if needed.needs(digest)} - stays
        await self._effects.together(self._put_back_link(moves[digest]) for digest in back)
        await self._runs.record(run, name, moves.values(), BY, done=True, why=why)
        await self._runs.unmark(run)
        gone = moves.keys() - back - stays
        if gone:
            self.tally.removals.append(Removal(run, name, len(gone), 0, 0, why))
        return gone, Taken(len(gone), put_back=len(back))

    async def take_data(self, *, after: str = "") -> AsyncIterator[tuple[str, Taken]]:
        """Take the data that no link held on to when the mark was made, from behind the key `after` on.

        Yields the key up to which all is done, with what was taken since the last.
        """
        claimed = {short(digest) for digest in await self._intents.needed_anywhere()}
        batch: list[Digest] = []
        count = 0
        async for key, closed in walked_past(self._driver, layout.BLOBS, after=after):
            count += 1
            if count % (AT_ONCE * 16) == 0:
                await self._step()
            if closed is not None:
                self.strays.append(shut("", closed))
                continue
            digest = parsing.blob_of(key)
            if digest is None:
                self.strays.append(Trouble("", key, "this is no data of a blob"))
                continue
            await self._cached.see(digest)
            if short(digest) in self.mark.linked:
                self.tally.linked += 1
            elif short(digest) in claimed:
                self.tally.claimed += 1
            else:
                batch.append(digest)
                if len(batch) == _BATCH:
                    yield key, await self._take_data(batch)
                    batch = []
        if batch:
            yield layout.blob_data(batch[-1]), await self._take_data(batch)

    async def _take_data(self, batch: Sequence[Digest]) -> Taken:
        taken = Taken()
        runs: dict[str, list[Move]] = {}
        digests: dict[str, Digest] = {}
        parts = await self._parted(None, batch)
        for prefix, some in (
            (prefix, some) for prefix, part in parts.items() for some in handfuls(part, _MOVES)
        ):
            run = self._runs.new(prefix)
            keys = [layout.blob_data(digest) for digest in some]
            infos = await self._old(keys)
            moves = []
            for digest, key, info in zip(some, keys, infos, strict=True):
                if info is None:
                    taken.kept_young += 1
                    continue
                moves.append(Move(key, f"{layout.trash_data(digest)}/{run}", info.size_bytes))
                digests[key] = digest
            if moves:
                if not self._dry_run:
                    await self._runs.record(run, None, moves, BY, done=False, why=why_taken(run, UNLINKED))
                    await self._move(moves)
                runs[run] = [move for move in moves if move.key not in self._refused]
        taken_now = {short(digest) for digest in digests.values()}
        needed = set[int]() if self._dry_run else await self._needed(taken_now)
        if needed is None:
            needed = taken_now  # for all that is known
        for run, moves in runs.items():
            back = [digests[move.key] for move in moves if short(digests[move.key]) in needed]
            for few in handfuls(back):
                await self._step()
                await self._effects.together(self._trash.put_back_data(digest) for digest in few)
            gone = [move for move in moves if short(digests[move.key]) not in needed]
            size, why = sum(move.size_bytes for move in gone), why_taken(run, UNLINKED)
            taken.add(Taken(len(gone), size, len(back)))
            if self._dry_run:
                self.tally.would_take(None, ((digests[one.key], one.size_bytes) for one in gone), why)
                continue
            await self._runs.record(run, None, moves, BY, done=True, why=why)
            if gone:
                self.tally.removals.append(Removal(run, None, 0, len(gone), size, why))
        return taken

    async def forget_marks(self) -> None:
        """Remove what says of content that it came from elsewhere, where that is gone."""
        if not self._dry_run:
            await self._cached.forget()

    async def tidy_trash(self, due: Sequence[Run]) -> Taken:
        """Put back whatever data in the trash is needed after all, and destroy what the runs `due` took.

        The caller answers for `due` being older than the `FLOOR`. Where some links may not be read, all data
        stays as it is. What was put back, and what was destroyed.
        """
        copies = [entry async for entry in self._trash.copies()]
        digests = {digest for digest, _ in copies}
        needed = await self._needed({short(digest) for digest in digests}) if digests else set[int]()
        missing = [digest for digest in digests if needed is not None and short(digest) in needed]
        put_back = 0
        for some in handfuls(missing):
            await self._step()
            try:
                put_back += sum(await self._effects.together(self._bring_back(digest) for digest in some))
            except Forbidden as error:
                self.strays.append(shut("", error))
                needed = None
        destroyed = Taken(put_back=put_back)
        if not self._dry_run and needed is not None:
            await self._drop_orphans(copies)
        # What is about to be restored waits for the next time, links too.
        busy = await self._intents.repositories()
        for runs in alike(due, _MOVES):
            await self._step()
            if runs[0].repository in busy or (runs[0].repository is None and needed is None):
                continue
            if not await self._keep_what_is_needed(runs):
                continue
            moves = [move for run in runs for move in run.moves]
            if not self._dry_run:
                # A copy of data that a power cut brings back is an orphan then; a link's is a few bytes.
                await self._driver.delete([move.trash for move in moves], durable=False)
                await self._driver.delete([layout.trash_run(run.name) for run in runs], durable=False)
            destroyed.count += len(runs)
            destroyed.size_bytes += sum(move.size_bytes for move in moves)
        return destroyed

    async def _keep_what_is_needed(self, runs: Sequence[Run]) -> bool:
        """Put back the links that a policy took and a manifest needs; False where that is not known.

        It may be one that somebody has pushed who says nothing beforehand, such as Distribution.
        """
        repository = runs[0].repository
        if repository is None or runs[0].by_user or self._dry_run:
            return True
        links = [
            (digest, move)
            for run in runs
            for move in run.moves
            if (digest := parsing.layer_of(move.key)) is not None
        ]
        try:
            needed = await self._needs.of(repository, {digest for digest, _ in links})
            for digest, move in links:
                if needed and digest in needed and not await exists(self._driver, move.key):
                    await self._put_back_link(move)
        except Forbidden:
            return False
        return needed is not None

    async def _drop_orphans(self, copies: Sequence[tuple[Digest, str]]) -> None:
        """Destroy copies whose removal has no record any more: destroyed once, and back by a power cut."""
        recorded = {run async for run in self._runs.names()}
        for digest, run in copies:
            # The record of a removal is there before its first copy.
            if run not in recorded and not await self._runs.exists(run):
                await self._driver.delete([f"{layout.trash_data(digest)}/{run}"], durable=False)

    async def _bring_back(self, digest: Digest) -> bool:
        if self._dry_run or await exists(self._driver, layout.blob_data(digest)):
            return False
        return await self._trash.put_back_data(digest)

    async def _needed(self, wanted: set[int]) -> set[int] | None:
        """Which of them intents, then links, need now; None where a directory of links may not be read."""
        claimed = {short(digest) for digest in await self._intents.needed_anywhere()}
        try:
            return (claimed & wanted) | await linked_of(self._store, wanted - claimed, self._step)
        except Forbidden:
            return None

    async def _look_again(self, name: RepositoryName, needed: Needed) -> None:
        # Intents first, then links: whoever is not seen in the first has its link by the second.
        needed.need(short(digest) for digest in await self._intents.needed(name))
        try:
            manifests = [digest async for digest in self._store.links.manifests(name)]
        except Forbidden as error:
            needed.troubles.append(shut(name, error))  # so all of it is
            return
        await self.mark.read(name, manifests, needed, self._step)

    async def _move(self, moves: Iterable[Move]) -> None:
        copied: list[Move] = []
        for some in handfuls(moves):
            await self._step()
            # A store that removes many at once takes its time, in which the next are copied.
            _, *copies = await self._effects.together(chain([self._clear(copied)], map(self._copy, some)))
            copied = [move for move, has_copy in zip(some, copies, strict=True) if has_copy]
        await self._clear(copied)

    async def _clear(self, copied: Sequence[Move]) -> None:
        """Remove from their places what has a copy in the trash."""
        if not copied:
            return
        try:
            # What a power cut brings back is found unneeded once more.
            await self._driver.delete([move.key for move in copied], durable=False)
        except Forbidden:
            for move in copied:
                await self._remove(move)

    async def _remove(self, move: Move) -> None:
        """Remove one of several of which some cannot be removed: those stay, and keep nothing else."""
        try:
            await self._driver.delete([move.key], durable=False)
        except Forbidden as error:
            self._refuse(move, error)
            await self._driver.delete([move.trash], durable=False)

    def _refuse(self, move: Move, error: Forbidden) -> None:
        self._refused.add(move.key)
        self.tally.refused += 1
        self.strays.append(
            Trouble("", move.key, f"nothing needs it, and it cannot be taken: {error.message}")
        )

    async def _copy(self, move: Move) -> bool:
        """Copy it to the trash; False when it has gone meanwhile, or cannot be copied.

        Whoever has taken it answers for it: what lies there by the next step was put back, for a writer.
        """
        try:
            await self._driver.copy(move.trash, move.key)
        except NotFound:
            return False
        except Forbidden as error:
            self._refuse(move, error)
            return False
        return True

    async def _put_back_link(self, move: Move) -> None:
        # The trash copy stays: whoever else has seen it may be about to put it back, too.
        with suppress(NotFound):
            await self._driver.put(move.key, await self._driver.get(move.trash, limit=LIMIT))

    async def _old(self, keys: Sequence[str]) -> list[ObjectInfo | None]:
        """For each key what lies there, if it was written before the grace period."""
        infos: list[ObjectInfo | None] = []
        for some in handfuls(keys):
            await self._step()
            infos += await self._effects.together(self._stat(key) for key in some)
        return infos

    async def _stat(self, key: str) -> ObjectInfo | None:
        try:
            info = await self._driver.stat(key)
        except NotFound:
            return None
        age = self.now - info.modified_at.timestamp()
        return info if age > self._grace.total_seconds() else None
