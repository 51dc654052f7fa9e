"""Deciding about a bundle that waits: approved, its tags move by a journal; rejected, it goes; or undone.

Any process finishes what another has begun: what was decided is written down first, and each step may be done
again. The tags move last, so a tag never names what is not there whole; while they move, old and new ones are
seen side by side.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress

from registry.bundles.errors import BundleRefused
from registry.bundles.format import Head, is_id
from registry.bundles.importing import require_newer, require_room
from registry.bundles.planting import Planting
from registry.bundles.received import Decision, Done, Move, Received, Staged
from registry.bundles.records import read_contents
from registry.bundles.staging import Staging
from registry.bundles.statement import Statement, digest_of
from registry.bundles.terms import Terms, require_undenied
from registry.core.batches import Retagged
from registry.core.registry import Registry, Repository
from registry.core.restoring import Wanted
from registry.errors import ManifestBlobUnknown, ManifestUnknown, RegistryError
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.patterns import RepositoryPattern
from registry.model.selection import Selection, TagSelector
from registry.removal.mark import handfuls
from registry.store.effects import Effects
from registry.store.manifests import StoredManifest
from registry.work.operations import Reason, nothing

Way = Callable[[Move], tuple[str | None, str | None]]


class Approving:
    """Decides about bundles of one registry, by its `terms`."""

    def __init__(self, registry: Registry, effects: Effects, terms: Terms) -> None:
        self._registry = registry
        self._effects = effects
        self._terms = terms
        self.received = Received(registry.store)

    async def approve(
        self, bundle: str, by: str, note: str, *, allow_rollback: bool, denial: Reason = nothing
    ) -> int:
        """Approve a bundle that waits; how many more approvals it needs. It is not applied yet.

        Raises BundleUnknown, QuotaExceeded, Denied where by `denial` a rule denies it, BundleRefused where it
        was rejected or undone, or does not meet the terms any more.
        """
        head = await self.received.head(bundle)
        staged = await self._waiting(bundle)
        if await self.received.undo(bundle) is not None:
            raise BundleRefused(
                f"{bundle} was undone; have it written anew if its images are meant after all"
            )
        if await self.received.decision(bundle) is not None:
            await self._decide(bundle, Decision("approve", [by], note))
            return 0
        needed = self._terms.approvals
        importers = {staged.by, *await self.received.brought_by(head)}
        if needed and by in importers:
            raise BundleRefused(
                f"{by} has imported {bundle}, and another one must approve it (bundles.import.approvals)"
            )
        self._terms.require_met(bundle, staged)
        statement: Statement | None = None
        if denial is not nothing:
            statement = await read_contents(self._registry.store, head, received=True)
            await require_undenied(self.moves(head, staged, statement), denial)
        if needed:
            await self.received.note(bundle, "approvals", by)
        approvals = [one for one in await self.received.people(bundle, "approvals") if one not in importers]
        if len(approvals) < needed:
            return needed - len(approvals)
        require_newer(await self.received.newer(head), head, allow_rollback=allow_rollback)
        if any(self._registry.quotas.above(name) for name in _names(staged).values()):
            statement = statement or await read_contents(self._registry.store, head, received=True)
            await require_room(self._registry, statement, _names(staged))
        self._registry.require_writable()
        if allow_rollback:
            await self.received.put(bundle, "rollback", True)
        await self._decide(bundle, Decision("approve", approvals or [by], note))
        return 0

    async def reject(self, bundle: str, by: str, note: str) -> None:
        """Reject a bundle that waits, or is still coming. It is not put away yet. Raises as `approve`."""
        await self.received.head(bundle)
        if (undo := await self.received.undo(bundle)) is not None:
            raise BundleRefused(f"{bundle} was undone by {', '.join(undo.by)} already")
        self._registry.require_writable()
        await self._decide(bundle, Decision("reject", [by], note))

    async def undo(self, bundle: str, by: str, note: str) -> None:
        """Want a bundle undone that was applied. It is not undone yet."""
        await self.received.head(bundle)
        decision = await self.received.decision(bundle)
        if decision is None or decision.verb != "approve":
            raise BundleRefused(f"{bundle} was not approved, so there is nothing to undo")
        self._registry.require_writable()
        await self.received.open(bundle)
        await self.received.put(bundle, "undo", Decision("undo", [by], note))

    async def repositories(self, bundle: str) -> set[RepositoryName]:
        """The repositories here whose tags a bundle sets or, where that was asked for, removes."""
        # Anybody's text, of which no key may be made.
        staged = await self.received.staged(bundle) if is_id(bundle) else None
        if staged is None:
            return set()
        found = set(_names(staged).values())
        if staged.delete:
            head = await self.received.head(bundle)
            found |= {here async for here, _ in self._selected(head, staged)}
        return found

    async def finish(self, bundle: str, by: str) -> AsyncGenerator[int | Done, None]:
        """Do what was decided and is not done; how much of it is, and last what came of it.

        One process at a time, which the caller sees to: others' steps would come between those of an undo.
        """
        decision = await self.received.decision(bundle)
        done = None
        if decision is not None and await self.received.done(bundle) is None:
            head, staged = await self.received.head(bundle), await self.received.staged(bundle)
            done = Done(0)
            # What is to be undone is not done first: perhaps it cannot be.
            if decision.verb == "approve" and await self.received.undo(bundle) is None:
                assert staged is not None
                statement = await read_contents(self._registry.store, head, received=True)
                async for step in self._apply(head, staged, statement, by):
                    if isinstance(step, Done):
                        done = step
                    else:
                        yield step
            await Staging(self._registry.store).put_away(bundle)
            await self.received.put(bundle, "done", done)
        if decision is not None:
            await self.received.clear(bundle)
        if await self.received.undo(bundle) is not None and await self.received.undone(bundle) is None:
            done = await self._undo(bundle, by)
            await self.received.put(bundle, "undone", done)
        await self.received.settle(bundle)
        if done is not None:
            yield done

    async def _waiting(self, bundle: str) -> Staged:
        staged = await self.received.staged(bundle)
        if staged is None:
            raise BundleRefused(f"{bundle} has not come whole yet; import it, with all its media")
        return staged

    async def _decide(self, bundle: str, decision: Decision) -> None:
        """Raises BundleRefused where something else was decided."""
        await self.received.open(bundle)
        if not await self.received.put(bundle, "decision", decision):
            before = await self.received.decision(bundle)
            assert before is not None
            if before.verb != decision.verb:
                did = {"approve": "approved", "reject": "rejected"}[before.verb]
                raise BundleRefused(f"{bundle} was {did} by {', '.join(before.by)} already")

    async def _apply(
        self, head: Head, staged: Staged, statement: Statement, by: str
    ) -> AsyncIterator[int | Done]:
        names = _names(staged)
        if not await self.received.has_journal(head.id):
            if await self._is_overtaken(head):
                moves = [move async for move in self.moves(head, staged, statement)]
                yield Done(0, _left(moves, [False] * len(moves)))
                return
            await self.received.put_journal(head.id, self.moves(head, staged, statement))
        planting = Planting(self._registry, self._effects, statement, names.__getitem__, names, by)
        count = 0
        async for count in planting.content(with_tags=False):
            yield count
        # What was moved before somebody died may have been moved on by others since.
        moved = await self.received.moved(head.id)
        left: list[str] = []
        number = 0
        async for some in self.received.journal(head.id):
            places = range(number, number := number + len(some))
            now = [move for place, move in zip(places, some, strict=True) if place not in moved]
            if now:
                left += _left(now, await self._move_all(now, by, forth))
                await self.received.note_moved(head.id, places)
            yield count + number
        yield Done(number - len(left), left, sorted({str(one) for one in names.values()}))

    async def _is_overtaken(self, head: Head) -> bool:
        """Whether others approved a later bundle of the stream in the instant in which this one was, too.

        Then each was looked at before the other was decided, and this one must not undo what that one does.
        """
        if await self.received.may_roll_back(head.id):
            return False
        newer = await self.received.newer(head, is_standing=True)
        # Of two with one number it is the one that was begun first.
        return newer is not None and (newer.number > head.number or await self.received.has_journal(newer.id))

    async def moves(self, head: Head, staged: Staged, statement: Statement) -> AsyncIterator[Move]:
        """The tags that a bundle would move as things are."""
        names = _names(staged)
        links = self._registry.store.links
        for some in handfuls(statement.tags.items()):
            now = await self._effects.together(links.target(names[name], Tag(tag)) for (name, tag), _ in some)
            for ((name, tag), key), old in zip(some, now, strict=True):
                if old != digest_of(key):
                    yield Move(str(names[name]), tag, None if old is None else str(old), str(digest_of(key)))
        if staged.delete:
            stated = {(str(names[name]), tag) for name, tag in statement.tags}
            async for here, selection in self._selected(head, staged):
                for one in await links.tags(here):
                    if (str(here), str(one)) not in stated and selection.has(one):
                        old = await links.target(here, one)
                        yield Move(str(here), str(one), None if old is None else str(old), None)

    async def _selected(self, head: Head, staged: Staged) -> AsyncIterator[tuple[RepositoryName, Selection]]:
        """The repositories here that the bundle's selection is about; none for one of images by name."""
        names = self._terms.names(staged.map)
        try:
            patterns = tuple(map(RepositoryPattern, _texts(head.selection.get("repositories"))))
            tags = tuple(map(TagSelector, _texts(head.selection.get("tags"))))
        except (ValueError, RegistryError):
            return
        selection = Selection(patterns, tags)
        async for here in self._registry.store.catalog.names():
            there = names.there(here)
            if there is not None and names.may_have(here) and selection.has_repository(there):
                yield here, selection

    async def _move_all(self, moves: Sequence[Move], by: str, way: Way) -> list[bool]:
        """Let tags name what they are to name, unless somebody else has moved them by now; which of them do.

        By `way` a tag goes from the first to the second.
        """
        named = await self._effects.together(self._named(move) for move in moves)
        tags: dict[RepositoryName, dict[Tag, Digest]] = {}
        for move, now in zip(moves, named, strict=True):
            before, after = way(move)
            if now == before != after is not None:
                tags.setdefault(RepositoryName(move.repository), {})[Tag(move.tag)] = Digest.parse(after)
        done = {
            name: await self._registry.repository(name, by).tag_manifests(some, self._effects.together)
            for name, some in tags.items()
        }
        return await self._effects.together(
            self._moved(move, by, now, way(move), done.get(RepositoryName(move.repository), {}))
            for move, now in zip(moves, named, strict=True)
        )

    async def _named(self, move: Move) -> str | None:
        now = await self._registry.store.links.target(RepositoryName(move.repository), Tag(move.tag))
        return None if now is None else str(now)

    async def _moved(
        self,
        move: Move,
        by: str,
        now: str | None,
        way: tuple[str | None, str | None],
        done: Mapping[Tag, Retagged],
    ) -> bool:
        """Whether a tag that named `now` names what it is to name; what was not `done` is."""
        before, after = way
        name, tag = RepositoryName(move.repository), Tag(move.tag)
        if now == after:
            return True
        if now != before:
            return False
        if after is None:
            with suppress(ManifestUnknown):
                await self._registry.door.remove_tag(name, tag, by)
            return True
        repository, digest = self._registry.repository(name, by), Digest.parse(after)
        expected = None if now is None else Digest.parse(now)
        retagged = done.get(tag)
        try:
            if retagged is None:
                # What a policy or a person took since then comes back.
                await repository.restore(Wanted({tag: digest}), overwrite=True, some=True)
                return True
            return retagged.stands and await self._keep_others(
                repository, tag, expected, digest, retagged.replaced
            )
        except (ManifestUnknown, ManifestBlobUnknown):
            return False

    async def _keep_others(
        self,
        repository: Repository,
        tag: Tag,
        expected: Digest | None,
        wanted: Digest,
        replaced: Digest | None,
    ) -> bool:
        """What somebody lets a tag name meanwhile comes back; whether the tag names what was `wanted`."""
        digest = wanted
        while replaced is not None and replaced not in (expected, digest):
            found = await repository.manifest_or_none(replaced)
            if found is None:
                break
            expected, digest = digest, replaced
            replaced = await _let_name(repository, tag, found)
        return digest == wanted

    async def _undo(self, bundle: str, by: str) -> Done:
        """Let the tags of the journal name again what they named before, where they name what it set."""
        count = 0
        left: list[str] = []
        if not await self.received.has_journal(bundle):
            return Done(0)
        async for some in self.received.journal(bundle):
            left += _left(some, await self._move_all(some, by, back))
            count += len(some)
        return Done(count - len(left), left)


async def _let_name(repository: Repository, tag: Tag, stored: StoredManifest) -> Digest | None:
    """Let a tag name a manifest; what it named before."""
    digest = stored.digest
    try:
        pushed = await repository.push_manifest(digest, stored.content, stored.media_type, [tag])
    except ManifestBlobUnknown:
        # It was never here whole, as the bundle says.
        pushed = await repository.keep_manifest(digest, stored.content, stored.media_type, [tag])
    return pushed.replaced.get(tag)


def forth(move: Move) -> tuple[str | None, str | None]:
    """What a tag names before it is moved, and then."""
    return move.old, move.new


def back(move: Move) -> tuple[str | None, str | None]:
    """The same when it is moved back."""
    return move.new, move.old


def _texts(told: object) -> list[str]:
    """What a selection says that is a list of texts; nothing of what is not, since it may say anything."""
    return told if isinstance(told, list) and all(isinstance(one, str) for one in told) else []


def _left(moves: Sequence[Move], done: Sequence[bool]) -> list[str]:
    return [f"{one.repository}:{one.tag}" for one, is_done in zip(moves, done, strict=True) if not is_done]


def _names(staged: Staged) -> dict[str, RepositoryName]:
    """What the repositories of a bundle are called here."""
    return {name: RepositoryName(here) for name, here in staged.names.items()}
