"""What is remembered of a bundle that has come: who brought it, who decided, and what was done.

The objects of one, each put once: `head`; `imports/<who>`; `staged` once it was accepted whole;
`approvals/<who>`; `rollback` where an older state may be had; `decision`, of which the first counts;
`journal` and `moved/<places in it>`; `done`; `undo`; `undone`. While it comes, `kept/<uuid>` names some of
what has come.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from registry.bundles.errors import BundleRefused, BundleUnknown
from registry.bundles.format import HEAD, HEAD_BYTES, Head, is_id
from registry.bundles.records import lines_of, read_head
from registry.model.digests import Digest
from registry.removal.mark import handfuls, handfuls_of
from registry.store import layout
from registry.store.store import Store
from registry.work.documents import plain, read_plain
from storage.contract import exists
from storage.errors import AlreadyExists, NotFound

T = TypeVar("T")

Deed = Literal["imports", "approvals"]

_LIMIT = 256 << 20
_KEYS_AT_ONCE = 1000
# So few that all of them go on together: who dies leaves little moved of which that is not noted.
_MOVES_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Staged:
    """An accepted bundle: who brought it, what its repositories are called here, and what was asked."""

    by: str
    names: Mapping[str, str]
    map: list[str]
    delete: bool
    note: str
    signed_by: list[str]
    code: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, and by whom."""

    verb: str
    by: list[str]
    note: str


@dataclass(frozen=True, slots=True)
class Move:
    """A tag that a bundle moves: what it named before and what then; None for nothing."""

    repository: str
    tag: str
    old: str | None
    new: str | None

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.repository}:{self.tag} {self.old or 'nothing'} -> {self.new or 'nothing'}"


@dataclass(frozen=True, slots=True)
class Done:
    """How a bundle was applied, or undone: `left` are tags that somebody else had moved by then."""

    moved: int
    left: list[str] = field(default_factory=list)
    repositories: list[str] = field(default_factory=list)


class Received:
    """The bundles that have come to one store's registry."""

    def __init__(self, store: Store) -> None:
        self._driver = store.driver
        self._effects = store.effects

    async def open_ones(self) -> list[str]:
        """Those of which something decided may not be done yet."""
        return [one for one in await self._driver.children(layout.BUNDLES_OPEN) if is_id(one)]

    async def open(self, bundle: str) -> None:
        """Have others look at a bundle: before it is decided about, since whoever does may die."""
        await self._driver.put(layout.bundle_open(bundle), b"")

    async def settle(self, bundle: str) -> None:
        """Have nobody look at a bundle any more, unless something was decided meanwhile."""
        if await self._is_settled(bundle):
            # One that a power cut brings back is looked at once more.
            await self._driver.delete([layout.bundle_open(bundle)], durable=False)
            if not await self._is_settled(bundle):
                await self.open(bundle)

    async def ids(self) -> list[str]:
        """Those of which something is known."""
        return [one for one in await self._driver.children(layout.BUNDLES_RECEIVED) if is_id(one)]

    async def head(self, bundle: str) -> Head:
        """The head of one. Raises BundleUnknown."""
        head = (
            await read_head(self._driver, layout.bundle_received(bundle, "head")) if is_id(bundle) else None
        )
        if head is None:
            raise BundleUnknown(f"no bundle {bundle} has come here; `moorage bundle list` shows them")
        return head

    async def put_head(self, bundle: str, content: bytes) -> None:
        """Remember that a bundle is coming, by the bytes of its head. Raises as `require_same`."""
        try:
            await self._driver.put(layout.bundle_received(bundle, "head"), content, if_absent=True)
        except AlreadyExists:
            await self.require_same(bundle, content)

    async def require_same(self, bundle: str, content: bytes) -> None:
        """Raises BundleRefused where a bundle of that id is known whose head has other bytes.

        An id is a name: who can try often enough makes two bundles with the same.
        """
        with suppress(NotFound):
            if await self._driver.get(layout.bundle_received(bundle, "head"), limit=HEAD_BYTES) != content:
                raise BundleRefused(
                    f"{HEAD}: another bundle with the id {bundle} has come here before; have this one written"
                    " as a bundle of another number",
                    detail={"id": bundle},
                )

    async def staged(self, bundle: str) -> Staged | None:
        """What is known since it was accepted; None where it was not."""
        return await self._read(bundle, "staged", Staged)

    async def decision(self, bundle: str) -> Decision | None:
        """What was decided; None where nothing was."""
        return await self._read(bundle, "decision", Decision)

    async def has_journal(self, bundle: str) -> bool:
        """Whether it is written down which tags it moves."""
        return await exists(self._driver, layout.bundle_received(bundle, "journal"))

    async def put_journal(self, bundle: str, moves: AsyncIterator[Move]) -> None:
        """Write down all tags that it moves, before the first is moved; what others have written stays."""

        async def lines() -> AsyncIterator[bytes]:
            async for move in moves:
                yield json.dumps([move.repository, move.tag, move.old, move.new]).encode() + b"\n"

        with suppress(AlreadyExists):
            key = layout.bundle_received(bundle, "journal")
            await self._driver.write(key, lines(), if_absent=True)

    async def journal(self, bundle: str) -> AsyncIterator[list[Move]]:
        """The tags that it moves, as they were written down, in handfuls. Raises storage NotFound."""
        async with self._driver.open(layout.bundle_received(bundle, "journal")) as opened:
            async for lines in lines_of(opened.chunks()):
                for some in handfuls(lines, _MOVES_AT_ONCE):
                    yield [Move(*json.loads(line)) for line in some]

    async def done(self, bundle: str) -> Done | None:
        """How it was applied, or put away; None where that is not done."""
        return await self._read(bundle, "done", Done)

    async def undo(self, bundle: str) -> Decision | None:
        """Who wants it undone; None if nobody does."""
        return await self._read(bundle, "undo", Decision)

    async def undone(self, bundle: str) -> Done | None:
        """How it was undone; None where it was not."""
        return await self._read(bundle, "undone", Done)

    async def put(self, bundle: str, part: str, value: object) -> bool:
        """Put a part; False where there is one already that says something else."""
        content = json.dumps(plain(value)).encode()
        try:
            await self._driver.put(layout.bundle_received(bundle, part), content, if_absent=True)
        except AlreadyExists:
            return False
        return True

    async def note(self, bundle: str, deed: Deed, person: str) -> None:
        """Note that somebody has imported a bundle, or a medium of it, or approves it."""
        name = hashlib.sha256(person.encode()).hexdigest()
        content = json.dumps({"by": person}).encode()
        await self._driver.put(layout.bundle_received(bundle, deed, name), content)

    async def people(self, bundle: str, deed: Deed) -> list[str]:
        """Who has done so."""
        found = []
        for name in await self._driver.children(layout.bundle_received(bundle, deed)):
            with suppress(NotFound):
                key = layout.bundle_received(bundle, deed, name)
                found.append(str(json.loads(await self._driver.get(key, limit=_LIMIT))["by"]))
        return sorted(found)

    async def may_roll_back(self, bundle: str) -> bool:
        """Whether it was approved though it may be an older state."""
        return await exists(self._driver, layout.bundle_received(bundle, "rollback"))

    async def brought_by(self, head: Head) -> set[str]:
        """Who has imported a bundle, or what it supplements, or what supplements it."""
        found: set[str] = set()
        for bundle in await self.ids():
            other = await self.head(bundle)
            if (other.source, other.stream, other.number) == (head.source, head.stream, head.number):
                found.update(await self.people(bundle, "imports"))
        return found

    async def note_moved(self, bundle: str, places: range) -> None:
        """Note that tags of the journal were moved, so that who goes on leaves them alone."""
        name = f"{places.start:08d}-{places.stop:08d}"
        await self._driver.put(layout.bundle_received(bundle, "moved", name), b"", durable=False)

    async def moved(self, bundle: str) -> set[int]:
        """The tags of the journal that were moved, by their places in it."""
        names = await self._driver.children(layout.bundle_received(bundle, "moved"))
        return {place for one in names for place in range(*map(int, one.split("-")))}

    async def keep(self, bundle: str, digests: Iterable[Digest]) -> None:
        """Note that data came in a bundle that is not staged yet; a power cut may take that."""
        key = layout.bundle_received(bundle, "kept", self._effects.unique())
        await self._driver.put(key, "\n".join(map(str, digests)).encode(), durable=False)

    async def kept(self, bundle: str) -> AsyncIterator[Digest]:
        """What data came in a bundle that is not staged yet."""
        folder = layout.bundle_received(bundle, "kept")
        for name in await self._driver.children(folder):
            with suppress(NotFound):
                for line in (await self._driver.get(f"{folder}/{name}", limit=_LIMIT)).decode().split():
                    yield Digest.parse(line)

    async def forget_kept(self, bundle: str) -> None:
        """Forget what came in a bundle, which is staged now."""
        await self._forget(bundle, "kept")

    async def clear(self, bundle: str) -> None:
        """Let go of what nobody needs of a bundle that was decided about."""
        for part in ("kept", "pieces", "moved"):
            await self._forget(bundle, part)
        await self._driver.delete([layout.bundle_received(bundle, "contents")], durable=False)

    async def _forget(self, bundle: str, part: str) -> None:
        # A list of all would be as long as the bundle is large.
        async for some in handfuls_of(self._driver.walk(layout.bundle_received(bundle, part)), _KEYS_AT_ONCE):
            await self._driver.delete(some, durable=False)

    async def _is_settled(self, bundle: str) -> bool:
        """Whether nothing is left to be finished: it is decided and done, and undone if that was asked."""
        keys = [layout.bundle_received(bundle, part) for part in ("decision", "done", "undo", "undone")]
        decided, done, undo, undone = [await exists(self._driver, key) for key in keys]
        return decided and done and (not undo or undone)

    async def applied(self) -> AsyncIterator[tuple[Head, Staged, Done]]:
        """Those that were approved and applied, and not undone."""
        for bundle in await self.ids():
            decision = await self.decision(bundle)
            if decision is None or decision.verb != "approve" or await self.undo(bundle) is not None:
                continue
            staged, done = await self.staged(bundle), await self.done(bundle)
            if staged is not None and done is not None:
                yield await self.head(bundle), staged, done

    async def newer(self, head: Head, *, is_standing: bool = False) -> Head | None:
        """A bundle of the same stream that was approved and has a higher number, or the same one.

        With `is_standing` not one that was undone since.
        """
        found: Head | None = None
        for bundle in await self.ids():
            decision = await self.decision(bundle)
            if bundle == head.id or decision is None or decision.verb != "approve":
                continue
            other = await self.head(bundle)
            if (other.source, other.stream) == (head.source, head.stream) and other.number >= head.number:
                if is_standing and await self.undo(bundle) is not None:
                    continue
                found = other if found is None or found.number < other.number else found
        return found

    async def _read(self, bundle: str, part: str, form: type[T]) -> T | None:
        try:
            content = await self._driver.get(layout.bundle_received(bundle, part), limit=_LIMIT)
        except NotFound:
            return None
        found: Any = read_plain(form, json.loads(content))
        assert isinstance(found, form)
        return found
